package proxy

import "bytes"

// field says what a header line is to a proxy.
type field uint8

const (
	fieldOther field = iota
	fieldHop         // of this connection only, or meant for nobody behind: never forwarded
	fieldConnection
	fieldContentLength
	fieldTransferEncoding
	fieldUpgrade
	fieldTrailer
	fieldHost
	fieldExpect
	fieldMaxForwards
	fieldForwardedFor
	fieldForwarded
	fieldForwardedMore // X-Real-Ip and the X-Forwarded-* that have no kind of their own
	fieldForwardedProto
	fieldForwardedHost
	fieldForwardedPort
	fieldWeir // X-Weir-*: what one Weir tells another
	fieldRequestID
	fieldDeadline // X-Request-Deadline
	fieldVia
	fieldDate
	fieldContentType
	fieldContentEncoding
	fieldCacheControl
	fieldETag
	fieldVary
	fieldAcceptEncoding
)

// fieldOf classifies a header name: by its beginning where it is one of a
// family, else as a whole.
func fieldOf(name []byte) field {
	if len(name) > 8 && name[0]|0x20 == 'x' && name[1] == '-' {
		if f := familyOf(name); f != fieldOther {
			return f
		}
	}
	return shortFieldOf(name)
}

// shortFieldOf goes by the length, which decides most of it.
func shortFieldOf(name []byte) field {
	switch len(name) {
	case 2:
		return pick(name, "te", fieldHop)
	case 3:
		return pick(name, "via", fieldVia)
	case 4:
		switch {
		case equalFold(name, "host"):
			return fieldHost
		case equalFold(name, "vary"):
			return fieldVary
		case equalFold(name, "etag"):
			return fieldETag
		}
		return pick(name, "date", fieldDate)
	case 5:
		return pick(name, "proxy", fieldHop) // httpoxy: CGI backends make HTTP_PROXY of it
	case 6:
		return pick(name, "expect", fieldExpect)
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
		switch {
		case equalFold(name, "content-type"):
			return fieldContentType
		case equalFold(name, "max-forwards"):
			return fieldMaxForwards
		}
		return pick(name, "x-request-id", fieldRequestID)
	}
	return longFieldOf(name)
}

func longFieldOf(name []byte) field {
	switch len(name) {
	case 13:
		return pick(name, "cache-control", fieldCacheControl)
	case 14:
		if equalFold(name, "http2-settings") {
			return fieldHop // of an upgrade that is never offered
		}
		return pick(name, "content-length", fieldContentLength)
	case 15:
		return pick(name, "accept-encoding", fieldAcceptEncoding)
	case 16:
		if equalFold(name, "content-encoding") {
			return fieldContentEncoding
		}
		return pick(name, "proxy-connection", fieldHop)
	case 17:
		return pick(name, "transfer-encoding", fieldTransferEncoding)
	case 18:
		if equalFold(name, "x-request-deadline") {
			return fieldDeadline
		}
		return pick(name, "proxy-authenticate", fieldHop)
	case 19:
		return pick(name, "proxy-authorization", fieldHop)
	}
	return fieldOther
}

// familyOf knows X-Weir-* and X-Forwarded-*.
func familyOf(name []byte) field {
	switch {
	case equalFold(name[:7], "x-weir-"):
		return fieldWeir
	case len(name) <= 12 || !equalFold(name[:12], "x-forwarded-"):
		return fieldOther
	}
	switch rest := name[12:]; {
	case equalFold(rest, "for"):
		return fieldForwardedFor
	case equalFold(rest, "host"):
		return fieldForwardedHost
	case equalFold(rest, "port"):
		return fieldForwardedPort
	case equalFold(rest, "proto"):
		return fieldForwardedProto
	}
	return fieldForwardedMore
}

func pick(name []byte, want string, f field) field {
	if equalFold(name, want) {
		return f
	}
	return fieldOther
}

// maxName bounds a header's name. No registered one has a third of it, and
// programs that kept the length in a byte have been fooled by longer ones.
const maxName = 256

// isAlias reports whether a name that is not plain would be taken for one that
// means something to a proxy by backends that fold other characters into
// hyphens, as CGI does: X_Forwarded_For. Such a name is sent only to slip past.
func isAlias(name []byte) bool {
	var room [40]byte
	if len(name) > len(room) {
		return false
	}
	plain := room[:len(name)]
	for i, c := range name {
		if tokenChar[c] != plainChar {
			c = '-'
		}
		plain[i] = c
	}
	switch fieldOf(plain) {
	case fieldOther, fieldVia, fieldDate, fieldETag, fieldVary, fieldAcceptEncoding:
		return false
	}
	return true
}

// endToEnd are fields that a Connection line can name in vain: they are for the
// other end, and a hop that took them away would change what was asked.
var endToEnd = []string{
	"accept", "accept-charset", "accept-encoding", "accept-language", "authorization", "cache-control",
	"content-encoding", "content-language", "content-location", "content-range", "cookie", "etag", "expires",
	"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified",
	"location", "origin", "pragma", "range", "referer", "set-cookie", "user-agent", "vary", "www-authenticate",
}

func isEndToEnd(name []byte) bool {
	for _, n := range endToEnd {
		if equalFold(name, n) {
			return true
		}
	}
	return false
}

// notTrailing are fields that mean something before the body and nothing, or
// something else, after it: what frames, routes, authenticates or conditions
// (RFC 9110, section 6.5.1), beyond those that have a kind.
var notTrailing = []string{
	"authorization", "content-range", "cookie", "pragma", "range", "set-cookie", "www-authenticate",
	"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
	"age", "expires", "location", "retry-after", "warning",
}

// mayTrail reports whether a field may come behind a body.
func mayTrail(l *line) bool {
	if l.kind == fieldETag {
		return true // its reason to be there: a hash of the body
	}
	if l.kind != fieldOther {
		return false
	}
	for _, n := range notTrailing {
		if equalFold(l.name, n) {
			return false
		}
	}
	return true
}

// hasToken reports whether a list field's value has an element, in any case.
func hasToken(value []byte, lower string) bool {
	for len(value) > 0 {
		var item []byte
		item, value, _ = bytes.Cut(value, comma)
		if equalFold(trim(item), lower) {
			return true
		}
	}
	return false
}
