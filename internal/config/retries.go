package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// retries reads when a request is sent again.
func (t *table) retries(r *Retries) {
	const mostAttempts, mostBackOff = 10, 10 * time.Second
	defer t.done()
	t.integer("attempts", &r.Attempts, 0, mostAttempts)
	t.errorKinds("on", []string{"connect", "reset", "timeout"}, &r.On)
	t.integer("budget", &r.Budget, 0, 100)
	t.duration("per_try_timeout", &r.PerTryTimeout, orNone)
	if v, ok := t.duration("back_off", &r.BackOff, orNone); ok && r.BackOff > mostBackOff {
		v.bad("", "%v is longer than %v", r.BackOff, mostBackOff)
	}
}

// errorKinds reads a list of words and of statuses from 500 to 599.
func (t *table) errorKinds(key string, words []string, dst *[]string) {
	list := t.get(key)
	if !list.given() {
		return
	}
	*dst = nil
	for _, v := range list.list() {
		s, ok := v.scalar("a word or a status")
		n := status(s)
		switch {
		case !ok:
		case slices.Contains(*dst, s):
		case slices.Contains(words, s), isDigits(s) && 500 <= n && n <= 599:
			*dst = append(*dst, s)
		case isDigits(s):
			v.bad("", "%s is not a status between 500 and 599", s)
		default:
			v.bad(didYouMean(s, append(slices.Clone(words), "a status from 500 to 599")), "%q is not known", s)
		}
	}
}

// hedge reads when a request is sent twice.
func (t *table) hedge(h *Hedge) {
	defer t.done()
	v, ok := t.text("after", &h.After)
	if ok && h.After != "" {
		v.checkAfter(h.After)
	}
	if budget, ok := t.integer("budget", &h.Budget, 0, 100); ok && !v.given() {
		budget.bad("such as after: p95", "there is no after: nothing is hedged")
	}
}

// checkAfter reports what is neither a percentile nor a duration.
func (v value) checkAfter(s string) {
	const least = time.Millisecond // what is sooner is just two requests
	if digits, ok := strings.CutPrefix(s, "p"); ok && isDigits(digits) {
		if n, err := strconv.Atoi(digits); err != nil || n < 50 || n > 99 {
			v.bad("such as p95", "%q is not a percentile between p50 and p99", s)
		}
		return
	}
	switch d, err := time.ParseDuration(s); {
	case err != nil:
		v.bad("such as p95, the 95th percentile of the route's answers, or 50ms", "%q is neither a percentile nor a duration", s)
	case d < least:
		v.bad("", "%v is shorter than %v", d, least)
	}
}

// circuitBreaker reads when a route is given a rest.
func (t *table) circuitBreaker(c *CircuitBreaker) {
	const leastWindow, mostWindow = time.Second, 5 * time.Minute
	const leastOpen, mostOpen = 100 * time.Millisecond, time.Hour
	defer t.done()
	t.integer("error_share", &c.ErrorShare, 0, 100)
	t.integer("min_requests", &c.MinRequests, 1, noMost)
	t.span("window", &c.Window, leastWindow, mostWindow)
	t.span("open", &c.Open, leastOpen, mostOpen)
}
