package proxy

import (
	"bytes"
	"errors"
	"time"
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
	options  int    // how many those are
	repeated bool   // a field that can have one value came twice
	alias    bool   // a name pretends to be another; only requests have reason to

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
	expect        []byte // nil: none
	maxForwards   []byte // nil: none
	requestID     []byte
	requestIDs    int
	deadline      time.Duration // 0: none
	date          bool
	contentType   []byte
	eventStream   bool
	encoded       bool // Content-Encoding is there
	noTransform   bool // Cache-Control: no-transform
}

var (
	errNoColon       = errors.New("a header line has no colon")
	errFieldName     = errors.New("a header name is not a token")
	errLongName      = errors.New("a header name is longer than any")
	errFieldValue    = errors.New("a header value has a control character")
	errBareLF        = errors.New("a line ends in LF without CR")
	errObsFold       = errors.New("a header line is folded")
	errOptions       = errors.New("too many names in Connection")
	errTooMany       = errors.New("too many header lines")
	errFraming       = errors.New("the message has two framings")
	errRepeated      = errors.New("a field that can have one value comes twice")
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
	switch {
	case h.repeated:
		return errRepeated
	case h.chunked && h.contentLength != nil:
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
	n, class := 0, plainChar
	for n < len(raw) && tokenChar[raw[n]] != noTokenChar {
		class |= tokenChar[raw[n]]
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
	case n > maxName:
		return errLongName
	}
	value := trim(raw[n+1 : len(raw)-2])
	if hasControl(value) {
		return errFieldValue
	}
	l := line{name: raw[:n], value: value, raw: raw}
	l.kind = fieldOf(l.name)
	h.alias = h.alias || class != plainChar && isAlias(l.name)
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
		if h.noteConnection(l.value); h.options > maxOptions {
			return errOptions
		}
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
	case fieldExpect:
		h.repeated = h.repeated || h.expect != nil
		h.expect = l.value
	case fieldMaxForwards:
		h.repeated = h.repeated || h.maxForwards != nil
		h.maxForwards = l.value
	default:
		h.noteContent(l)
	}
	return nil
}

// noteContent takes what tells something of the body.
func (h *head) noteContent(l *line) {
	switch l.kind {
	case fieldRequestID:
		h.requestIDs++
		h.requestID = l.value
	case fieldDeadline:
		h.noteDeadline(l.value)
	case fieldDate:
		h.date = true
	case fieldContentType:
		h.contentType = l.value
		h.eventStream = len(l.value) >= 17 && equalFold(l.value[:17], "text/event-stream")
	case fieldContentEncoding:
		h.encoded = true
	case fieldCacheControl:
		h.noTransform = h.noTransform || hasToken(l.value, "no-transform")
	}
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
			if h.options++; h.options <= maxOptions {
				h.hopNames = append(appendLower(h.hopNames, name), ',')
			}
		}
	}
}

// maxOptions bounds the names in Connection lines: every other line is compared
// with each of them.
const maxOptions = 128

// named reports whether a Connection line names this field, which makes it one
// of this connection only (RFC 9110, section 7.6.1).
func (h *head) named(name []byte) bool {
	rest := h.hopNames
	for len(rest) > 0 {
		var n []byte
		n, rest, _ = bytes.Cut(rest, comma)
		if len(n) == len(name) && bytes.EqualFold(n, name) {
			return !isEndToEnd(name)
		}
	}
	return false
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

func (h *head) has(kind field) bool {
	for k := range h.lines {
		if h.lines[k].kind == kind {
			return true
		}
	}
	return false
}

var comma = []byte{','}
