package proxy

import (
	"bytes"
	"net/http"

	"weir/internal/compress"
)

// leastPacked is the size from which an answer is worth encoding: below, head
// and body leave in one packet anyway.
const leastPacked = 1 << 10

// chooseCoding decides whether the answer's body is encoded on its way, and how.
// An answer to HEAD gets the head that the answer to GET would have.
func (ex *exchange) chooseCoding() {
	if ex.mayPack = ex.site.compress && ex.isPackable(); !ex.mayPack {
		return
	}
	var accept compress.Accept
	for i := range ex.head.lines {
		if l := &ex.head.lines[i]; l.kind == fieldAcceptEncoding {
			accept.Add(l.value)
		}
	}
	c := accept.Best()
	if c == compress.None {
		return
	}
	if ex.answer.framing != frameNone {
		if ex.enc = ex.w.encoders.Take(c); ex.enc == nil {
			return // too many at once: this one goes as it is
		}
	}
	ex.coding = c
}

// isPackable reports whether the answer is one that a coding makes smaller, and
// that nobody minds being changed. HTTP/1.0 clients are left alone: the proxies
// among them do not know Vary.
func (ex *exchange) isPackable() bool {
	h := &ex.answer
	switch {
	case ex.http10, h.encoded, h.noTransform, ex.head.noTransform, h.status < 200, h.status == http.StatusPartialContent:
		return false
	case h.framing == frameNone && !ex.isHead, h.status == http.StatusNoContent, h.status == http.StatusNotModified:
		return false
	case h.contentLength != nil && number(h.contentLength) < leastPacked:
		return false
	}
	return compress.Compressible(h.contentType)
}

// appendCoding writes what caches and the client have to know.
func (ex *exchange) appendCoding(dst []byte) []byte {
	if ex.coding != compress.None {
		dst = append(append(append(dst, "Content-Encoding: "...), ex.coding.String()...), crlf...)
	}
	if (ex.mayPack || ex.revalidates()) && !ex.varies {
		dst = append(dst, "Vary: Accept-Encoding\r\n"...)
	}
	return dst
}

// revalidates reports whether the answer says that what a client has is still
// good, which may be an encoded answer.
func (ex *exchange) revalidates() bool {
	return ex.site.compress && ex.answer.status == http.StatusNotModified
}

// appendETag weakens a strong tag: the bytes are no longer those it stands for
// (RFC 9110, section 8.8.1). A client that asks by the weak tag is told by it.
func (ex *exchange) appendETag(dst []byte, l *line) []byte {
	asked, _ := ex.head.Get("if-none-match", 0)
	told := ex.revalidates() && bytes.Contains(asked, append(append(ex.extra[:0], weak...), l.value...))
	if ex.coding == compress.None && !told || bytes.HasPrefix(l.value, weak) {
		return append(dst, l.raw...)
	}
	dst = append(append(dst, l.name...), ": W/"...)
	return append(append(dst, l.value...), crlf...)
}

var weak = []byte("W/")

// isOfBytes names fields that are about the very bytes of a body, and wrong once
// it is encoded.
func isOfBytes(name []byte) bool {
	switch len(name) {
	case 6:
		return equalFold(name, "digest")
	case 11:
		return equalFold(name, "content-md5") || equalFold(name, "repr-digest")
	case 13:
		return equalFold(name, "accept-ranges")
	case 14:
		return equalFold(name, "content-digest")
	}
	return false
}
