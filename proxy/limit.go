package proxy

import (
	"bytes"
	"math"
	"strings"
	"time"

	"weir/internal/config"
	"weir/internal/metrics"
	"weir/internal/ratelimit"
)

// limit is a route's rate limit, compiled.
type limit struct {
	limiter *ratelimit.Limiter
	route   uint64 // of the limiter's keys: each route counts for itself
	rate    ratelimit.Rate
	header  string // counted by this header's value, in lower case
	cookie  string // or by this cookie's; neither: by the client's address
	name    string // of the policy, as the client is told
	policy  []byte // the RateLimit-Policy line
}

func newLimit(l *ratelimit.Limiter, listener, route string, r *config.RateLimit) *limit {
	out := &limit{limiter: l, route: l.KeyBytes([]byte(listener + "/" + route)), rate: ratelimit.NewRate(r.RequestsPerSecond, r.Burst), name: route}
	kind, name, _ := strings.Cut(r.Key, ":")
	switch kind {
	case "header":
		out.header = strings.ToLower(name)
	case "cookie":
		out.cookie = name
	}
	out.policy = append(out.policy, "RateLimit-Policy: \""+route+"\";q="...)
	out.policy = append(appendInt(out.policy, int64(r.Burst)), ";w="...)
	window := math.Ceil(float64(r.Burst) / r.RequestsPerSecond)
	out.policy = append(appendInt(out.policy, int64(max(1, window))), crlf...)
	return out
}

// underLimit takes a token for the request. Where it reports false the request
// has been refused. What it says of the client's quota goes out with the answer
// (draft-ietf-httpapi-ratelimit-headers-10).
func (ex *exchange) underLimit() bool {
	l := ex.site.limit
	if l == nil {
		return true
	}
	k := ex.w.s.keeper
	v := l.limiter.Take(ratelimit.Mix(l.route, l.key(ex)), l.rate, k.now(ex.w.loop.Now()))
	q := append(append(ex.quota[:0], l.policy...), "RateLimit: \""...)
	q = append(append(q, l.name...), "\";r="...)
	q = append(appendInt(q, int64(v.Remaining)), ";t="...)
	ex.quota = append(appendInt(q, seconds(v.Reset)), crlf...)
	if v.OK {
		return true
	}
	ex.retryAfter = max(1, seconds(v.Retry))
	ex.refuse(metrics.RateLimited)
	return false
}

// seconds rounds up: who comes back a moment too early is refused again.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// key is by what the request is counted. A client does not get out of the limit
// by leaving the header or the cookie out, nor by sending several: which of them
// the backend believes is not known here.
func (l *limit) key(ex *exchange) uint64 {
	byAddr := l.limiter.KeyAddr(ex.client)
	var value []byte
	times := 0
	switch {
	case l.header != "":
		value, times = ex.head.only(l.header)
	case l.cookie != "":
		value, times = ex.head.cookie(l.cookie)
	default:
		return byAddr
	}
	if times != 1 {
		return ratelimit.Mix(byAddr, byAddr)
	}
	return l.limiter.KeyBytes(value)
}

// only is the last value of a field, and how many there are.
func (h *head) only(name string) (value []byte, times int) {
	for {
		v, ok := h.Get(name, times)
		if !ok {
			return value, times
		}
		value = v
		times++
	}
}

// cookie is the value of the last cookie of that name (RFC 6265, section 4.2),
// and how many there are.
func (h *head) cookie(name string) (value []byte, times int) {
	for i := 0; ; i++ {
		rest, ok := h.Get("cookie", i)
		if !ok {
			return value, times
		}
		for len(rest) > 0 {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, semicolon)
			if n, v, ok := bytes.Cut(trim(pair), equals); ok && string(n) == name {
				value = v
				times++
			}
		}
	}
}

var (
	semicolon = []byte{';'}
	equals    = []byte{'='}
)
