package proxy

import (
	"bytes"
	"net/http"

	"weir/internal/basicauth"
	"weir/internal/config"
	"weir/internal/metrics"
)

// admit decides whether a request that has a route may go on. The order is from
// what costs nothing to what costs most. Where it reports false the request has
// been answered.
func (ex *exchange) admit() bool {
	reason := ex.forbidden()
	switch {
	case reason != metrics.NoReason:
		ex.closing = ex.closing || reason == metrics.MethodNotAllowed && ex.body.kind != noBody // TRACE has none
		ex.refuse(reason)
	case ex.isLastHop():
		ex.answerLastHop()
	case !ex.underLimit(), !ex.authorized():
	default:
		ex.upgrade = ex.mayUpgrade()
		return true
	}
	return false
}

// forbidden is why the route does not let the request through, whoever asks and
// however often.
func (ex *exchange) forbidden() metrics.Reason {
	s := ex.site
	switch {
	case s.deny.Contains(ex.client), !s.allow.Empty() && !s.allow.Contains(ex.client):
		return metrics.Denied
	case s.maxBody > 0 && ex.body.length > s.maxBody:
		return metrics.BodyTooLarge
	case string(ex.method) == http.MethodTrace && !s.trace:
		return metrics.MethodNotAllowed
	}
	return metrics.NoReason
}

// authorized asks for a name and a password where the route does. What was
// verified a while ago is known; the rest is hashed on a goroutine, for that
// takes longer than a loop may. Where it reports false the request has been
// refused.
func (ex *exchange) authorized() bool {
	g := ex.site.guard
	if g == nil {
		return true
	}
	header, ok := ex.head.Get("authorization", 0)
	if _, more := ex.head.Get("authorization", 1); !ok || more {
		ex.refuse(metrics.Unauthorized)
		return false
	}
	now := ex.w.loop.Now()
	allowed, known := g.Cached(header, now)
	if !known {
		var res basicauth.Result
		ex.w.loop.Task().Block(func() { res = g.Verify(header, now) })
		if res.Verdict == basicauth.Busy {
			ex.refuse(metrics.RateLimited)
			return false
		}
		allowed = res.Verdict == basicauth.Allowed
	}
	if !allowed {
		ex.refuse(metrics.Unauthorized)
	}
	return allowed
}

// mayUpgrade reports whether a request asks for another protocol, properly, and
// for one that its route lets through. Where it does not, it goes on as a plain
// request, which RFC 9110, section 7.8, allows.
func (ex *exchange) mayUpgrade() bool {
	h := &ex.head
	if !h.wantsUpgrade || len(h.upgrade) == 0 || h.upgrades != 1 || ex.http10 || ex.body.kind != noBody {
		return false
	}
	for rest := h.upgrade; len(rest) > 0; {
		var name []byte
		name, rest, _ = bytes.Cut(rest, comma)
		if !ex.site.upgradesTo(trim(name)) {
			return false
		}
	}
	return true
}

// upgradesTo reports whether a route lets a protocol through. HTTP/2 in clear
// never is: a tunnel would carry it past routes and header rules.
func (s *site) upgradesTo(protocol []byte) bool {
	if len(protocol) == 0 || equalFold(protocol, "h2c") {
		return false
	}
	for _, u := range s.upgrades {
		if u == "*" || equalFold(protocol, u) {
			return true
		}
	}
	return false
}

// isLastHop reports whether a request may go no further: TRACE and OPTIONS can
// say over how many hops they go (RFC 9110, section 7.6.2).
func (ex *exchange) isLastHop() bool {
	return ex.countsHops() && number(ex.head.maxForwards) == 0
}

func (ex *exchange) countsHops() bool {
	m := string(ex.method)
	return (m == http.MethodTrace || m == http.MethodOptions) && isNumber(ex.head.maxForwards)
}

// appendMaxForwards counts this hop. For other methods the field says nothing.
func (ex *exchange) appendMaxForwards(dst []byte, l *line) []byte {
	if !ex.countsHops() {
		return append(dst, l.raw...)
	}
	dst = append(append(dst, l.name...), ": "...)
	return append(appendInt(dst, number(l.value)-1), crlf...)
}

// lastHopStatus is the status that answerLastHop answers with.
func (ex *exchange) lastHopStatus() int {
	if string(ex.method) == http.MethodOptions {
		return http.StatusNoContent
	}
	return http.StatusOK
}

// answerLastHop answers as the one that was asked for: OPTIONS with what a proxy
// lets through, TRACE with the request, but for what nobody may read back.
func (ex *exchange) answerLastHop() {
	if string(ex.method) == http.MethodOptions {
		ex.say(ex.lastHopStatus(), "", []byte("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"), nil)
		return
	}
	b := append(ex.w.scratch[:0], "TRACE "...)
	b = append(append(b, ex.line.target...), " HTTP/1.1\r\n"...)
	for i := range ex.head.lines {
		l := &ex.head.lines[i]
		if !config.IsSecretName(l.name) {
			b = append(b, l.raw...)
		}
	}
	ex.w.scratch = append(b, crlf...)
	ex.say(ex.lastHopStatus(), "message/http", nil, ex.w.scratch)
}
