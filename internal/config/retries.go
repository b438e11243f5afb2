package config

import (
	"slices"
	"time"
)

// retries reads when a request is sent again.
func (t *table) retries(r *Retries) {
	const mostAttempts, mostBackOff = 10, 10 * time.Second
	defer t.done()
	t.integer("attempts", &r.Attempts, 0, mostAttempts)
	t.reasons(&r.On)
	t.integer("budget", &r.Budget, 0, 100)
	t.duration("per_try_timeout", &r.PerTryTimeout, orNone)
	if v, ok := t.duration("back_off", &r.BackOff, orNone); ok && r.BackOff > mostBackOff {
		v.bad("", "%v is longer than %v", r.BackOff, mostBackOff)
	}
}

// reasons reads what an attempt must have met for another one.
func (t *table) reasons(dst *[]string) {
	words := []string{"connect", "reset", "timeout"}
	list := t.get("on")
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
			v.bad(didYouMean(s, append(words, "a status from 500 to 599")), "%q is not known", s)
		}
	}
}
