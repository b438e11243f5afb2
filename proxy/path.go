package proxy

import (
	"bytes"
	"net/netip"
)

// target is a request target taken apart. Views of the request line, but for
// what had to be rewritten.
type target struct {
	authority []byte  // of an absolute-form target; nil otherwise
	raw       []byte  // the path as it came
	path      []byte  // in normal form, starting with '/'; or "*"
	query     []byte  // with its '?'; nil if none
	normal    bool    // raw is path
	doubts    liberty // with which some backends read another path in it: see reading.go
	scratch   []byte  // what is rewritten is built in it
}

// parse takes uri apart (RFC 9112, section 3.2). It reports false for a target
// that is none, or whose path has no normal form. It is ASCII without blanks and
// controls.
func (t *target) parse(uri []byte, options bool) bool {
	*t = target{scratch: t.scratch[:0]}
	if len(uri) == 1 && uri[0] == '*' {
		t.raw, t.path, t.normal = uri, uri, true
		return options
	}
	if len(uri) > 0 && uri[0] != '/' && !t.cutAuthority(&uri) {
		return false
	}
	if bytes.IndexByte(uri, '#') >= 0 {
		return false
	}
	if i := bytes.IndexByte(uri, '?'); i >= 0 {
		uri, t.query = uri[:i], uri[i:]
	}
	if len(uri) == 0 && options && t.query == nil {
		t.raw, t.path, t.normal = star, star, true // of the server as a whole: RFC 9112, section 3.2.4
		return true
	}
	if len(uri) == 0 {
		uri = slash // absolute-form without a path
	}
	t.raw = uri
	return t.normalise() && t.cleanQuery()
}

// normalise finds the path's normal form.
func (t *target) normalise() bool {
	if t.normal = isNormal(t.raw); t.normal {
		t.path = t.raw
		if bytes.IndexByte(t.path, ';') >= 0 {
			t.doubts = readParams
		}
		return true
	}
	var ok bool
	t.scratch, ok = normalise(t.scratch, t.raw)
	t.path = t.scratch
	t.normal = bytes.Equal(t.path, t.raw)
	if ok {
		t.doubts = doubts(t.path)
	}
	return ok
}

// cleanQuery escapes what may not stand in a query as it is and what every
// client escapes: the rest is the backend's business and goes on untouched.
func (t *target) cleanQuery() bool {
	dirty := false
	for _, c := range t.query {
		dirty = dirty || isDirty(c)
	}
	if !dirty {
		return true
	}
	mark := len(t.scratch)
	for _, c := range t.query {
		if isDirty(c) {
			t.scratch = appendEscape(t.scratch, c)
		} else {
			t.scratch = append(t.scratch, c)
		}
	}
	if mark > 0 {
		t.path = t.scratch[:mark:mark] // the scratch may have moved
	}
	t.query = t.scratch[mark:]
	return true
}

func isDirty(c byte) bool { return c == '"' || c == '<' || c == '>' }

// cutAuthority takes "http://host" off an absolute-form target.
func (t *target) cutAuthority(uri *[]byte) bool {
	u := *uri
	if len(u) < 8 || !equalFold(u[:7], "http://") {
		return false
	}
	u = u[7:]
	end := bytes.IndexAny(u, "/?#")
	if end < 0 {
		end = len(u)
	}
	t.authority, *uri = u[:end], u[end:]
	return end > 0 && bytes.IndexByte(t.authority, '@') < 0
}

// isNormal reports whether a path is its own normal form and has no escapes.
// Nearly every path is.
func isNormal(p []byte) bool {
	if p[0] != '/' {
		return false
	}
	for i, c := range p {
		if !pathChar[c] || c == '/' && i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.') {
			return false
		}
	}
	return true
}

// pathChar is what may stand in a path as it is: RFC 3986's pchar, without the
// percent sign, and the slash.
var pathChar = func() (t [256]bool) {
	for c := range t {
		t[c] = isUnreserved(byte(c))
	}
	for _, c := range "!$&'()*+,;=:@/" {
		t[c] = true
	}
	return t
}()

// normalise appends the normal form of path to dst: escapes of unreserved
// characters decoded and the others in upper case (RFC 3986, section 6.2.2),
// what may not stand in a path escaped, empty segments merged, dot segments
// removed. It reports false for invalid escapes, an escaped NUL, overlong
// UTF-8, and a path that climbs above its root.
func normalise(dst, path []byte) ([]byte, bool) {
	if path[0] != '/' {
		return dst, false
	}
	dst, ok := unescape(dst, path)
	if !ok || isOverlong(dst) {
		return dst, false
	}
	return removeDots(dst)
}

func unescape(dst, path []byte) ([]byte, bool) {
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '%':
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return dst, false
			}
			v := unhex(path[i+1])<<4 | unhex(path[i+2])
			switch {
			case v == 0:
				return dst, false
			case isUnreserved(v):
				dst = append(dst, v)
			default:
				dst = appendEscape(dst, v)
			}
			i += 2
		case pathChar[c]:
			dst = append(dst, c)
		case c <= ' ' || c == 0x7f:
			return dst, false
		default:
			dst = appendEscape(dst, c)
		}
	}
	return dst, true
}

func appendEscape(dst []byte, c byte) []byte {
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}

// isOverlong looks for UTF-8 that says in more bytes what fits in fewer: careless
// decoders have found dots and slashes in it.
func isOverlong(path []byte) bool {
	var last byte
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			last = 0
			continue
		}
		v := unhex(path[i+1])<<4 | unhex(path[i+2])
		i += 2
		if v&0xc0 == 0x80 && (last == 0xc0 || last == 0xc1 || last == 0xe0 && v < 0xa0 || last == 0xf0 && v < 0x90) {
			return true
		}
		last = v
	}
	return false
}

// removeDots merges empty segments and resolves "." and ".." in place.
func removeDots(p []byte) ([]byte, bool) {
	out := p[:0]
	for i := 0; i < len(p); {
		// p[i] is a slash: a segment runs to the next one.
		end := i + 1
		for end < len(p) && p[end] != '/' {
			end++
		}
		last := end == len(p)
		switch seg := p[i+1 : end]; {
		case len(seg) == 0 && !last, len(seg) == 1 && seg[0] == '.' && !last:
		case len(seg) == 2 && seg[0] == '.' && seg[1] == '.':
			cut := bytes.LastIndexByte(out, '/')
			if cut < 0 {
				return p, false
			}
			out = out[:cut]
			if last {
				out = append(out, '/')
			}
		case len(seg) == 0, len(seg) == 1 && seg[0] == '.':
			out = append(out, '/')
		default:
			out = append(out, p[i:end]...)
		}
		i = end
	}
	return out, true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20 - 'a') + 10
}

func isUnreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

const upperHex = "0123456789ABCDEF"

var (
	slash = []byte{'/'}
	star  = []byte{'*'}
)

// validHost reports whether a Host value or an authority is a host with an
// optional port: not empty, no userinfo, blanks, lists or paths (RFC 9112,
// section 3.2), and no escapes, which name the same host in many ways.
func validHost(h []byte) bool {
	if len(h) == 0 {
		return false
	}
	if h[0] == '[' {
		end := bytes.IndexByte(h, ']')
		return end > 1 && isIPv6(h[1:end]) && validPort(h[end+1:])
	}
	host, port := h, []byte(nil)
	if i := bytes.IndexByte(h, ':'); i >= 0 {
		host, port = h[:i], h[i:]
	}
	for _, c := range host {
		if !isUnreserved(c) && c != '!' && c != '$' && c != '&' && c != '\'' && c != '*' && c != '+' {
			return false
		}
	}
	return len(host) > 0 && validPort(port)
}

// isIPv6 asks the one who has to route by it. A zone means nothing to another
// machine, and could hold anything.
func isIPv6(b []byte) bool {
	if len(b) > 45 || bytes.IndexByte(b, '%') >= 0 {
		return false
	}
	a, err := netip.ParseAddr(string(b))
	return err == nil && a.Is6()
}

// validPort takes what follows a host: nothing, a bare colon, or a port.
func validPort(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	if p[0] != ':' || len(p) > 6 {
		return false
	}
	return len(p) == 1 || isNumber(p[1:]) && number(p[1:]) <= 65535
}
