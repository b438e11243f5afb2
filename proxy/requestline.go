package proxy

import "bytes"

// requestLine is the first line of a request, taken apart: views of it.
type requestLine struct {
	method []byte
	target []byte
	http10 bool
}

// parse reads a line with its end (RFC 9112, section 3). It takes no liberties:
// single spaces, a token, a target without blanks or controls, and one of the
// two versions that Weir speaks.
func (l *requestLine) parse(b []byte) bool {
	*l = requestLine{}
	if len(b) < 2 || b[len(b)-1] != '\n' || b[len(b)-2] != '\r' {
		return false
	}
	b = b[:len(b)-2]
	sp := bytes.IndexByte(b, ' ')
	if sp < 1 || tokenLen(b) != sp {
		return false
	}
	l.method, b = b[:sp], b[sp+1:]
	sp = bytes.IndexByte(b, ' ')
	if sp < 1 {
		return false
	}
	l.target = b[:sp]
	switch string(b[sp+1:]) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		l.http10 = true
	default:
		return false
	}
	return !hasForeign(l.target)
}

// hasForeign looks for what no URI has: controls, blanks, and what is not ASCII.
func hasForeign(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return true
		}
	}
	return false
}

// beginsLine reports whether b, which has no line end yet, can be the beginning
// of a request line: a TLS handshake or a binary protocol cannot. The first seen
// bytes have been asked about before.
func beginsLine(b []byte, seen int) bool {
	fresh := b[seen:]
	if n := len(fresh); n > 0 && fresh[n-1] == '\r' {
		fresh = fresh[:n-1] // of a CRLF, perhaps
	}
	for _, c := range fresh {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	if seen > 0 || len(fresh) == 0 {
		return true
	}
	n := tokenLen(fresh)
	return n == len(fresh) || n > 0 && fresh[n] == ' '
}
