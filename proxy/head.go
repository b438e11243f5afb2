package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// field says what a header line is to a proxy.
type field uint8

const (
	fieldOther field = iota
	fieldHop         // of this connection only: never forwarded
	fieldConnection
	fieldContentLength
	fieldTransferEncoding
	fieldUpgrade
	fieldTrailer
	fieldHost
	fieldForwardedFor
	fieldForwarded
	fieldForwardedMore // X-Real-Ip and the X-Forwarded-* that have no kind of their own
	fieldForwardedProto
	fieldForwardedHost
	fieldForwardedPort
	fieldRequestID
	fieldVia
	fieldDate
	fieldContentType
)

// line is one header line: views of the buffer it was read into.
type line struct {
	name, value []byte
	raw         []byte // name to CRLF, as it came
	kind        field
}

// head is the header section of one message, in the order it came.
type head struct {
	lines    []line
	hopNames []byte // lower-case names from Connection lines, comma-separated
	repeated bool   // a field that frames the message came twice

	contentLength []byte // nil: none
	chunked       bool
	upgrade       []byte
	upgrades      int
	wantsUpgrade  bool // Connection names upgrade
	wantsClose    bool // Connection names close
	keepAlive     bool // Connection names keep-alive
	trailer       []byte
	host          []byte
	hosts         int
	requestID     []byte
	date          bool
	eventStream   bool
}

var (
	errNoColon       = errors.New("a header line has no colon")
	errFieldName     = errors.New("a header name is not a token")
	errFieldValue    = errors.New("a header value has a control character")
	errBareLF        = errors.New("a line ends in LF without CR")
	errObsFold       = errors.New("a header line is folded")
	errTooMany       = errors.New("too many header lines")
	errFraming       = errors.New("the message has two framings")
	errContentLength = errors.New("Content-Length is not one number")
	errEncoding      = errors.New("Transfer-Encoding is not chunked")
)

// parse splits block (header lines, each ended by CRLF; an empty line or the
// end of block ends them) into h, which is reset first. It accepts exactly what
// RFC 9112, section 5 lets a sender send: tokens for names, no folding, no bare
// LF, no controls.
func (h *head) parse(block []byte, most int) error {
	*h = h.empty()
	for len(block) > 0 {
		end := bytes.IndexByte(block, '\n')
		if end < 1 || block[end-1] != '\r' {
			return errBareLF
		}
		if end == 1 {
			break
		}
		if len(h.lines) == most {
			return errTooMany
		}
		if err := h.add(block[:end+1]); err != nil {
			return err
		}
		block = block[end+1:]
	}
	if h.repeated || (h.chunked && h.contentLength != nil) {
		return errFraming
	}
	return nil
}

// empty is a head without lines that keeps the memory of h.
func (h *head) empty() head { return head{lines: h.lines[:0], hopNames: h.hopNames[:0]} }

func (h *head) add(raw []byte) error {
	if raw[0] == ' ' || raw[0] == '\t' {
		return errObsFold
	}
	n := 0
	for n < len(raw) && tokenChar[raw[n]] {
		n++
	}
	switch {
	case n == 0:
		return errFieldName
	case raw[n] != ':':
		if bytes.IndexByte(raw, ':') < 0 {
			return errNoColon
		}
		return errFieldName
	}
	value := trim(raw[n+1 : len(raw)-2])
	if hasControl(value) {
		return errFieldValue
	}
	l := line{name: raw[:n], value: value, raw: raw}
	l.kind = fieldOf(l.name)
	h.lines = append(h.lines, l)
	if l.kind != fieldOther {
		return h.note(&l)
	}
	return nil
}

// note takes from a line what Weir itself acts on.
func (h *head) note(l *line) error {
	switch l.kind {
	case fieldConnection:
		h.noteConnection(l.value)
	case fieldContentLength:
		h.repeated = h.repeated || h.contentLength != nil
		if !isNumber(l.value) {
			return errContentLength
		}
		h.contentLength = l.value
	case fieldTransferEncoding:
		h.repeated = h.repeated || h.chunked
		if !equalFold(l.value, "chunked") {
			return errEncoding
		}
		h.chunked = true
	case fieldUpgrade:
		h.upgrade = l.value
		h.upgrades++
	case fieldTrailer:
		h.trailer = l.value
	case fieldHost:
		h.hosts++
		h.host = l.value
	case fieldRequestID:
		h.requestID = l.value
	case fieldDate:
		h.date = true
	case fieldContentType:
		h.eventStream = len(l.value) >= 17 && equalFold(l.value[:17], "text/event-stream")
	}
	return nil
}

func (h *head) noteConnection(value []byte) {
	for len(value) > 0 {
		var name []byte
		name, value, _ = bytes.Cut(value, comma)
		name = trim(name)
		switch {
		case len(name) == 0:
		case equalFold(name, "close"):
			h.wantsClose = true
		case equalFold(name, "keep-alive"):
			h.keepAlive = true
		case equalFold(name, "upgrade"):
			h.wantsUpgrade = true
		default:
			h.hopNames = append(appendLower(h.hopNames, name), ',')
		}
	}
}

// named reports whether a Connection line names this field, which makes it one
// of this connection only (RFC 9110, section 7.6.1).
func (h *head) named(name []byte) bool {
	rest := h.hopNames
	for len(rest) > 0 {
		var n []byte
		n, rest, _ = bytes.Cut(rest, comma)
		if len(n) == len(name) && bytes.EqualFold(n, name) {
			return !isProtected(name)
		}
	}
	return false
}

// isProtected names the end-to-end fields that no Connection line may remove.
func isProtected(name []byte) bool {
	return equalFold(name, "cookie") || equalFold(name, "authorization") ||
		equalFold(name, "set-cookie") || equalFold(name, "cache-control")
}

// Get returns the i-th value of a field; it lets routes look at headers
// (route.Headers).
func (h *head) Get(name string, i int) ([]byte, bool) {
	for k := range h.lines {
		if l := &h.lines[k]; len(l.name) == len(name) && equalFold(l.name, name) {
			if i == 0 {
				return l.value, true
			}
			i--
		}
	}
	return nil, false
}

// fieldOf classifies a header name. The length decides most of it.
func fieldOf(name []byte) field {
	switch len(name) {
	case 2:
		return pick(name, "te", fieldHop)
	case 3:
		return pick(name, "via", fieldVia)
	case 4:
		if equalFold(name, "host") {
			return fieldHost
		}
		return pick(name, "date", fieldDate)
	case 6:
		return pick(name, "expect", fieldHop)
	case 7:
		if equalFold(name, "upgrade") {
			return fieldUpgrade
		}
		return pick(name, "trailer", fieldTrailer)
	case 9:
		if equalFold(name, "x-real-ip") {
			return fieldForwardedMore
		}
		return pick(name, "forwarded", fieldForwarded)
	case 10:
		if equalFold(name, "connection") {
			return fieldConnection
		}
		return pick(name, "keep-alive", fieldHop)
	case 12:
		if equalFold(name, "content-type") {
			return fieldContentType
		}
		return pick(name, "x-request-id", fieldRequestID)
	default:
		return longFieldOf(name)
	}
}

func longFieldOf(name []byte) field {
	switch len(name) {
	case 14:
		return pick(name, "content-length", fieldContentLength)
	case 15:
		return pick(name, "x-forwarded-for", fieldForwardedFor)
	case 16:
		switch {
		case equalFold(name, "x-forwarded-host"):
			return fieldForwardedHost
		case equalFold(name, "x-forwarded-port"):
			return fieldForwardedPort
		}
		return pick(name, "proxy-connection", fieldHop)
	case 17:
		if equalFold(name, "x-forwarded-proto") {
			return fieldForwardedProto
		}
		return pick(name, "transfer-encoding", fieldTransferEncoding)
	case 18:
		if equalFold(name, "proxy-authenticate") {
			return fieldHop
		}
	case 19:
		if equalFold(name, "proxy-authorization") {
			return fieldHop
		}
	}
	if len(name) > 12 && equalFold(name[:12], "x-forwarded-") {
		return fieldForwardedMore
	}
	return fieldOther
}

func pick(name []byte, want string, f field) field {
	if equalFold(name, want) {
		return f
	}
	return fieldOther
}

// equalFold compares a name with a lower-case ASCII string of any length.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		d := lower[i]
		if 'A' <= d && d <= 'Z' {
			d |= 0x20
		}
		if c != d {
			return false
		}
	}
	return true
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// hasControl looks for control characters other than tab, eight bytes at a
// time: a byte below 0x20 or equal to 0x7f sets the high bit of its lane.
func hasControl(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		low := (x - ones*0x20) &^ x
		del := x ^ ones*0x7f
		del = (del - ones) &^ del
		if (low|del)&highs != 0 && hasControlSlow(b[:8]) {
			return true
		}
		b = b[8:]
	}
	return hasControlSlow(b)
}

func hasControlSlow(b []byte) bool {
	for _, c := range b {
		if (c < 0x20 && c != '\t') || c == 0x7f {
			return true
		}
	}
	return false
}

func isNumber(b []byte) bool {
	if len(b) == 0 || len(b) > 18 { // 18 digits fit an int64
		return false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func number(b []byte) (n int64) {
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	return n
}

var comma = []byte{','}

// tokenChar is RFC 9110's tchar.
var tokenChar = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()
