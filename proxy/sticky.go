package proxy

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"weir/internal/config"
	"weir/pool"
)

// sticky is how the clients of a pool keep their backend, compiled. The cookie
// is between the client and Weir: backends neither see it nor can set it. See
// docs/decisions/0010-sticky-cookie.md.
type sticky struct {
	cookie string // its name
	before []byte // the Set-Cookie line up to the value
	after  []byte // and behind it
	secure bool   // whatever the connection is: browsers take no other of that name
	silent bool   // the operator's rules leave no Set-Cookie

	ruled  caching // what the operator's own Cache-Control says
	passes bool    // the backend's goes on to the client
}

// newSticky compiles a pool's stickiness for a route with these rules for its
// answers; nil if there is none.
func newSticky(c config.Sticky, rules *headerRules) *sticky {
	if c.Cookie == "" {
		return nil
	}
	s := &sticky{
		cookie: c.Cookie,
		before: []byte("Set-Cookie: " + c.Cookie + "="),
		after:  []byte("; Path=/; HttpOnly; SameSite=Lax"),
		secure: strings.HasPrefix(c.Cookie, "__Secure-") || strings.HasPrefix(c.Cookie, "__Host-"),
		silent: !rules.leaves("set-cookie"),
		passes: rules.leaves("cache-control"),
	}
	if c.TTL > 0 {
		s.after = append(s.after, "; Max-Age="...)
		s.after = appendInt(s.after, int64((c.TTL+time.Second-1)/time.Second)) // 0 would delete it
	}
	var own head
	_ = own.parse(rules.lines, len(rules.lines)) // config has checked them
	s.ruled.note(&own)
	return s
}

// binding is what a client's cookie means for one request.
type binding struct {
	id    []byte // its value; nil: there is none
	found bool   // the request has a cookie of that name, which the backend is not to see
	busy  bool   // the client's own backend cannot have this request, and may have the next
	give  string // the value that comes with the answer; "": none
}

// readCookies finds the client's cookie. Where there are several of its name, as
// another host of the same domain can cause, one that names a backend counts.
func (ex *exchange) readCookies() {
	b := &ex.bound
	for i := range ex.head.lines {
		l := &ex.head.lines[i]
		if !isCookie(l) {
			continue
		}
		for rest := l.value; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, semicolon)
			id, ok := ex.site.sticky.own(pair)
			if !ok {
				continue
			}
			if !b.found || !ex.site.pool.Sticks(b.id) {
				b.id = id
			}
			b.found = true
		}
	}
}

// own reports whether a pair of a Cookie or Set-Cookie line is Weir's, and
// returns its value.
func (s *sticky) own(pair []byte) (value []byte, ok bool) {
	name, value, ok := bytes.Cut(pair, equals)
	return trim(value), ok && string(trim(name)) == s.cookie
}

func isCookie(l *line) bool { return len(l.name) == 6 && equalFold(l.name, "cookie") }

// appendCookies writes a Cookie line without Weir's cookie. The others stay as
// they are, to the byte; a line without any is left out.
func (s *sticky) appendCookies(dst []byte, l *line) []byte {
	mark, some, ours := len(dst), false, false
	dst = append(append(dst, l.name...), ": "...)
	for rest, more := l.value, true; more; {
		var pair []byte
		pair, rest, more = bytes.Cut(rest, semicolon)
		if _, own := s.own(pair); own {
			ours = true
			continue
		}
		if some {
			dst = append(dst, ';')
		} else {
			pair = trimLeft(pair)
		}
		dst = append(dst, pair...)
		some = some || len(pair) > 0
	}
	switch {
	case !ours:
		return append(dst[:mark], l.raw...)
	case !some:
		return dst[:mark]
	}
	return append(dst, crlf...)
}

// acquireBound takes a lease on the client's own backend, if that can have the
// request.
func (ex *exchange) acquireBound(tried pool.Tried) (l pool.Lease) {
	l, ex.bound.busy = ex.site.pool.AcquireSticky(ex.w.id, ex.bound.id, tried)
	return l
}

// bind decides whether the answer of a backend binds the client to it. It does
// not where the client's own backend was only busy, nor if the backend says that
// it cannot serve, nor with an answer that caches give to others: the client's
// next one will do.
func (ex *exchange) bind(to *pool.Backend) {
	s, b, h := ex.site.sticky, &ex.bound, &ex.answer
	s.claim(h)
	if b.busy || s.silent || cannotServe(h.status) || h.status == http.StatusNotModified {
		return
	}
	if id := ex.site.pool.StickyID(to); id != string(b.id) && !s.cachingOf(h).shared {
		b.give = id
	}
}

// claim makes cookies of Weir's name that the backend sets end here.
func (s *sticky) claim(h *responseHead) {
	for i := range h.lines {
		l := &h.lines[i]
		if len(l.name) != 10 || !equalFold(l.name, "set-cookie") {
			continue
		}
		if _, own := s.own(l.value); own {
			l.kind = fieldHop
		}
	}
}

// appendBinding writes the Set-Cookie line.
func (ex *exchange) appendBinding(dst []byte) []byte {
	s := ex.site.sticky
	dst = append(append(append(dst, s.before...), ex.bound.give...), s.after...)
	if s.secure || ex.overTLS() {
		dst = append(dst, "; Secure"...)
	}
	return append(dst, crlf...)
}

// appendPrivate keeps the answer with the cookie out of caches that many clients
// share: who gets it from there would be bound like the first.
func (ex *exchange) appendPrivate(dst []byte) []byte {
	if s := ex.site.sticky; !s.passes || s.cachingOf(&ex.answer).private {
		return dst
	}
	return append(dst, "Cache-Control: private\r\n"...)
}

// overTLS reports whether the client's connection is encrypted, as a trusted
// proxy says: Weir's own are not.
func (ex *exchange) overTLS() bool {
	if !ex.cc.peer.trusted {
		return false
	}
	for i := range ex.head.lines {
		if l := &ex.head.lines[i]; l.kind == fieldForwardedProto {
			first, _, _ := bytes.Cut(l.value, comma)
			return equalFold(trim(first), "https")
		}
	}
	return false
}

// caching is what an answer says of caches that many clients share.
type caching struct{ shared, private bool }

// cachingOf is what the client will be told.
func (s *sticky) cachingOf(h *responseHead) caching {
	c := s.ruled
	if s.passes {
		c.note(&h.head)
	}
	c.shared = c.shared && !c.private // the stricter word counts: RFC 9111, section 4.2.1
	return c
}

func (c *caching) note(h *head) {
	for i := range h.lines {
		if l := &h.lines[i]; l.kind == fieldCacheControl {
			for rest := l.value; len(rest) > 0; {
				var item []byte
				item, rest, _ = bytes.Cut(rest, comma)
				c.directive(trim(item))
			}
		}
	}
}

// directive takes one of RFC 9111, section 5.2.2.
func (c *caching) directive(d []byte) {
	name, _, _ := bytes.Cut(d, equals)
	switch {
	case equalFold(d, "private"), equalFold(d, "no-store"): // private="x" is about the field x alone
		c.private = true
	case equalFold(d, "public"), equalFold(trim(name), "s-maxage"):
		c.shared = true
	}
}
