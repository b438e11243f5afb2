// Package compress encodes answers on their way through a proxy: which content
// coding the client wants (RFC 9110, section 12.5.3), whether a media type is
// worth one, and encoders that append to the caller's buffer.
//
// Everything runs on the event loop that calls it: nothing here starts a
// goroutine or waits for one. The package does not know requests, answers or
// connections.
package compress

import "bytes"

// Coding is a content coding (RFC 9110, section 8.4.1).
type Coding uint8

// The codings that this package can make.
const (
	None   Coding = iota // identity: the bytes as they are
	Gzip                 // RFC 1952
	Zstd                 // RFC 8878, with the window that RFC 9659 asks for
	Brotli               // RFC 7932
)

// String returns the token of Accept-Encoding and Content-Encoding.
func (c Coding) String() string {
	switch c {
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	case Brotli:
		return "br"
	}
	return "identity"
}

// maxType is the longest media type that is looked at.
const maxType = 128

// Compressible reports whether content of this type usually gets smaller.
// contentType is a Content-Type field value; its parameters do not matter.
//
// Streams of events are left alone though they are text: each event is flushed,
// which makes a coding poor, and delays what somebody waits for.
func Compressible(contentType []byte) bool {
	if i := bytes.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	contentType = trim(contentType)
	if len(contentType) > maxType {
		return false
	}
	var buf [maxType]byte
	t := lower(buf[:0], contentType)
	if bytes.HasPrefix(t, []byte("text/")) {
		return string(t) != "text/event-stream"
	}
	if bytes.HasPrefix(t, []byte("application/grpc")) || bytes.HasPrefix(t, []byte("multipart/")) {
		return false // frames and parts, each of which ends with a flush
	}
	return bytes.HasSuffix(t, []byte("+json")) || bytes.HasSuffix(t, []byte("+xml")) || isListed(t)
}

// isListed knows the types whose names do not tell that they are text, and
// binary ones whose formats leave much to gain.
func isListed(t []byte) bool {
	switch string(t) {
	case "application/json", "application/xml", "application/xml-dtd", "application/yaml", "application/x-yaml",
		"application/toml", "application/sql", "application/graphql", "application/rtf":
		return true
	case "application/javascript", "application/x-javascript", "application/ecmascript", "application/wasm":
		return true
	case "application/vnd.apple.mpegurl", "application/x-mpegurl": // playlists
		return true
	case "font/ttf", "font/otf", "font/sfnt", "font/collection", "application/x-font-ttf", "application/x-font-otf",
		"application/x-font-opentype", "application/font-sfnt", "application/vnd.ms-fontobject":
		return true // woff and woff2 are compressed as they are
	case "image/bmp", "image/x-bmp", "image/x-ms-bmp", "image/x-icon", "image/vnd.microsoft.icon":
		return true
	}
	return false
}

// lower appends src to dst with ASCII letters in lower case. Folding as Unicode
// does would take a long s for an s.
func lower(dst, src []byte) []byte {
	for _, c := range src {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// trim takes optional white space (RFC 9110, section 5.6.3) off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
