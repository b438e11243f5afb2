package proxy

import "bytes"

// target is a request target taken apart. Views of the request line, but for
// path where it had to be normalised.
type target struct {
	authority []byte // of an absolute-form target; nil otherwise
	path      []byte // in normal form, starting with '/'; or "*"
	query     []byte // with its '?'; nil if none
	scratch   []byte // what a normalised path is built in
}

// parse takes uri apart (RFC 9112, section 3.2). It reports false for a target
// that is none, or whose path has no normal form.
func (t *target) parse(uri []byte, options bool) bool {
	*t = target{scratch: t.scratch[:0]}
	if len(uri) == 1 && uri[0] == '*' {
		t.path = uri
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
	if len(uri) == 0 {
		uri = slash // absolute-form without a path
	}
	if isNormal(uri) {
		t.path = uri
		return true
	}
	var ok bool
	t.scratch, ok = normalise(t.scratch, uri)
	t.path = t.scratch
	return ok
}

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

// isNormal reports whether a path is its own normal form: no escapes, no empty
// and no dot segments. Nearly every path is.
func isNormal(p []byte) bool {
	if p[0] != '/' {
		return false
	}
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '%' || c == '\\' || c <= ' ' || c >= 0x7f:
			return false
		case c == '/' && i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.'):
			return false
		}
	}
	return true
}

// normalise appends the normal form of path to dst: escapes of unreserved
// characters decoded and the others in upper case (RFC 3986, section 6.2.2),
// empty segments merged, dot segments removed. It reports false for invalid
// escapes, an escaped NUL, controls, and a path that climbs above its root.
func normalise(dst, path []byte) ([]byte, bool) {
	if path[0] != '/' {
		return dst, false
	}
	dst, ok := unescape(dst, path)
	if !ok {
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
				dst = append(dst, '%', upperHex[v>>4], upperHex[v&15])
			}
			i += 2
		case c <= ' ' || c == 0x7f:
			return dst, false
		case c == '\\' || c >= 0x80:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst, true
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

var slash = []byte{'/'}

// validHost reports whether a Host value or an authority is a host with an
// optional port: no userinfo, blanks, lists or paths (RFC 9112, section 3.2).
func validHost(h []byte) bool {
	if len(h) == 0 {
		return true // legal: a target that has no authority
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
		if !isUnreserved(c) && c != '%' && c != '!' && c != '$' && c != '&' && c != '\'' && c != '*' && c != '+' {
			return false
		}
	}
	return validPort(port)
}

// isIPv6 lets through what an address is written with. A zone means nothing to
// another machine, and could hold anything.
func isIPv6(b []byte) bool {
	for _, c := range b {
		if !isHex(c) && c != ':' && c != '.' {
			return false
		}
	}
	return true
}

func validPort(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	return p[0] == ':' && len(p) <= 6 && (len(p) == 1 || isNumber(p[1:]))
}
