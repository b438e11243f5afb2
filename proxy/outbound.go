package proxy

import (
	"encoding/binary"
	"math/rand/v2"
)

// outbound builds the head that goes to a backend: the client's own lines in
// their order, less what ends here; then the forwarded lines; then the
// operator's rules. The order is security: a rule can remove what Weir added,
// a client cannot (design: strip → forwarded → rules).
func (ex *exchange) outbound() {
	dst := append(ex.out[:0], ex.method...)
	dst = append(dst, ' ')
	dst = ex.appendTarget(dst)
	dst = append(dst, " HTTP/1.1\r\n"...)
	if ex.head.hosts == 0 {
		dst = ex.appendHost(dst, hostName)
	}
	if ex.site.sticky != nil {
		ex.readCookies()
	}
	rules := &ex.site.request
	for i := range ex.head.lines {
		l := &ex.head.lines[i]
		switch {
		case len(rules.drop) > 0 && rules.drops(l.name):
		case l.kind != fieldOther:
			dst = ex.appendSpecial(dst, l)
		case ex.bound.found && isCookie(l):
			dst = ex.site.sticky.appendCookies(dst, l)
		case len(ex.head.hopNames) == 0 || !ex.head.named(l.name):
			dst = append(dst, l.raw...)
		}
	}
	dst = ex.appendOwnLines(dst, rules)
	dst = append(dst, rules.lines...)
	ex.out = append(dst, crlf...)
	ex.headLen = len(ex.out)
}

// appendSpecial writes what becomes of a line that means something to a proxy.
// Framing and host are written anew in their place: no framing byte of a client
// reaches a backend, and the order of the fields does not change.
func (ex *exchange) appendSpecial(dst []byte, l *line) []byte {
	switch l.kind {
	case fieldHost:
		return ex.appendHost(dst, l.name)
	case fieldContentLength:
		return append(appendInt(append(append(dst, l.name...), ": "...), ex.body.length), crlf...)
	case fieldTransferEncoding:
		return append(append(dst, l.name...), ": chunked\r\n"...)
	case fieldTrailer:
		if ex.body.kind != chunkedBody {
			return dst
		}
	case fieldConnection:
		if !ex.upgrade || !listsUpgrade(l.value) {
			return dst
		}
		return append(append(dst, l.name...), ": Upgrade\r\n"...)
	case fieldUpgrade:
		if !ex.upgrade {
			return dst
		}
	case fieldExpect:
		if !ex.expects {
			return dst
		}
	case fieldMaxForwards:
		return ex.appendMaxForwards(dst, l)
	case fieldForwardedProto, fieldForwardedHost, fieldForwardedPort, fieldForwardedMore, fieldWeir:
		if !ex.cc.peer.trusted {
			return dst
		}
	case fieldRequestID:
		if ex.madeID {
			return dst
		}
	case fieldHop, fieldForwarded, fieldForwardedFor, fieldDeadline:
		return dst // of this connection, or written anew by appendForwarded or for each attempt
	}
	return append(dst, l.raw...)
}

// appendHost writes the authority the backend sees.
func (ex *exchange) appendHost(dst, name []byte) []byte {
	dst = append(append(dst, name...), ": "...)
	switch {
	case ex.site.rewrite.host != "":
		dst = append(dst, ex.site.rewrite.host...)
	case len(ex.host) > 0 || ex.head.hosts > 0:
		dst = append(dst, ex.host...)
	default: // HTTP/1.0 without Host: the authority is where the client connected
		if local := ex.cc.LocalAddrPort(); local.IsValid() {
			dst = local.AppendTo(dst)
		}
	}
	return append(dst, crlf...)
}

var hostName = []byte("Host")

// listsUpgrade reports whether a Connection line names upgrade: of several such
// lines only that one goes on.
func listsUpgrade(value []byte) bool {
	var h head
	h.noteConnection(value)
	return h.wantsUpgrade
}

func (ex *exchange) appendTarget(dst []byte) []byte {
	rw := &ex.site.rewrite
	switch {
	case len(ex.target.path) == 1 && ex.target.path[0] == '*': // no path to rewrite
		return append(dst, '*')
	case ex.site.paths == pathRaw:
		dst = append(dst, ex.target.raw...)
	case rw.strip == "" && rw.add == "" && rw.regex == nil:
		dst = append(dst, ex.target.path...)
	default:
		dst = rw.path(dst, ex.target.path)
	}
	return append(dst, ex.target.query...)
}

// appendOwnLines adds what Weir says of the client. The operator's rules
// may drop these too: rarely, so the lines are made first and filtered then.
func (ex *exchange) appendOwnLines(dst []byte, rules *headerRules) []byte {
	mark := len(dst)
	dst = ex.appendForwarded(dst)
	if ex.madeID {
		dst = append(dst, "X-Request-Id: "...)
		dst = append(append(dst, ex.id...), crlf...)
	}
	if ex.http10 {
		dst = append(dst, "Via: 1.0 weir\r\n"...)
	} else {
		dst = append(dst, "Via: 1.1 weir\r\n"...)
	}
	if len(rules.drop) == 0 {
		return dst
	}
	var made head
	_ = made.parse(append([]byte(nil), dst[mark:]...), 16)
	dst = dst[:mark]
	for i := range made.lines {
		if l := &made.lines[i]; !rules.drops(l.name) {
			dst = append(dst, l.raw...)
		}
	}
	return dst
}

// idLen is the length of the request ids that Weir makes: 128 random bits in hex.
const idLen = 32

// nameRequest keeps the client's request id where it is printable and short,
// and makes one otherwise.
func (ex *exchange) nameRequest() {
	if id := ex.head.requestID; ex.head.requestIDs == 1 && len(id) <= 128 && len(id) > 0 && isToken(id) {
		ex.id = id
		return
	}
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], ex.w.random.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], ex.w.random.Uint64())
	const digits = "0123456789abcdef"
	for i, b := range raw {
		ex.idBuf[2*i], ex.idBuf[2*i+1] = digits[b>>4], digits[b&15]
	}
	ex.id, ex.madeID = ex.idBuf[:], true
}

func isToken(b []byte) bool {
	for _, c := range b {
		if tokenChar[c] == noTokenChar && c != ':' && c != '/' && c != '=' {
			return false
		}
	}
	return true
}

func newRandom() *rand.ChaCha8 {
	var seed [32]byte
	for i := 0; i < len(seed); i += 8 {
		binary.LittleEndian.PutUint64(seed[i:], rand.Uint64())
	}
	return rand.NewChaCha8(seed)
}
