package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// unreachableRoutes finds routes that an earlier one leaves nothing to. All that
// one route hides are one finding, at the first of them.
func (l *linter) unreachableRoutes() {
	for i := range l.Listeners {
		routes := l.Listeners[i].Routes
		hidden := map[int][]string{} // by who hides them
		first := map[int]int{}
		shadowed := l.Listeners[i].Shadowed()
		for _, k := range slices.Sorted(maps.Keys(shadowed)) {
			by := shadowed[k]
			if hidden[by] == nil {
				first[by] = k
			}
			hidden[by] = append(hidden[by], routes[k].Name)
		}
		for _, by := range slices.Sorted(maps.Keys(hidden)) {
			name := routes[by].Name
			what := "whatever this route matches"
			if n := len(hidden[by]); n > 1 {
				what = fmt.Sprintf("whatever %s match", quoted(hidden[by]))
			}
			l.warn(routeAt(l.Config, i, first[by]),
				fmt.Sprintf("move %q behind, or narrow its match", name),
				"never used: route %q comes first and matches %s", name, what)
		}
	}
}

func (l *linter) regexUnanchored(w where, r *Route) {
	expr := r.Match.PathRegex
	if strings.HasPrefix(expr, "/") {
		l.warn(w.key("match.path_regex"), fmt.Sprintf("write ^%s; or .*%s if anywhere is meant", expr, expr),
			"%q is not anchored: it matches anywhere in a path, as in /other%s", expr, strings.TrimSuffix(expr, "$"))
	}
}

// tryTime is how long an attempt may be waited for, as far as retries go on after it.
func tryTime(r *Route) time.Duration {
	t := r.Timeouts.Response
	if per := r.Retries.PerTryTimeout; per > 0 && (t == 0 || per < t) {
		t = per
	}
	return t
}

func (l *linter) retriesOutlastRequest(w where, r *Route) {
	tries := time.Duration(r.Retries.Attempts + 1)
	t, all := tryTime(r), r.Timeouts.Request
	if r.Pool == "" || tries == 1 || t == 0 || all == 0 || !slices.Contains(r.Retries.On, "timeout") || t*tries <= all {
		return
	}
	l.warn(w.key("retries.attempts"), "make per_try_timeout shorter, or the attempts fewer",
		"%d attempts of %v each take longer than timeouts.request, %v: the last ones are cut short or never made", tries, t, all)
}

func (l *linter) retriesExceedBackends(w where, r *Route) {
	p := l.Pool(r.Pool)
	if p == nil || len(p.Backends) == 0 || r.Retries.Attempts < 2 || r.Retries.Attempts < len(p.Backends) {
		return
	}
	if w = w.key("retries.attempts"); l.given(w) {
		l.warn(w, "", "%d retries, and pool %q has %s: a retry goes to a backend that was not tried yet",
			r.Retries.Attempts, p.Name, countOf(len(p.Backends), "backend"))
	}
}

func (l *linter) perTryUnused(w where, r *Route) {
	per := r.Retries.PerTryTimeout
	w = w.key("retries.per_try_timeout")
	switch t := r.Timeouts; {
	case per == 0 || r.Pool == "":
	case t.Response > 0 && per >= t.Response:
		l.warn(w, "make it shorter", "%v has no effect: timeouts.response ends an attempt after %v", per, t.Response)
	case t.Request > 0 && per >= t.Request:
		l.warn(w, "make it shorter", "%v has no effect: timeouts.request ends the whole request after %v", per, t.Request)
	}
}

func (l *linter) hedgeNever(w where, r *Route) {
	if r.Hedge.After == "" || r.Pool == "" {
		return
	}
	w = w.key("hedge.after")
	after, _ := time.ParseDuration(r.Hedge.After) // 0 for a percentile
	switch t := r.Timeouts; {
	case len(l.Pool(r.Pool).Backends) == 1:
		l.warn(w, "remove hedge, or add a backend", "nothing is hedged: pool %q has one backend, and the second copy goes to another one", r.Pool)
	case t.Response > 0 && after >= t.Response:
		l.warn(w, "make it shorter", "nothing is hedged: timeouts.response gives up after %v", t.Response)
	case t.Request > 0 && after >= t.Request:
		l.warn(w, "make it shorter", "nothing is hedged: timeouts.request ends the request after %v", t.Request)
	}
}

// breakerOff finds a breaker with settings and without the one that switches it on.
func (l *linter) breakerOff(w where, r *Route) {
	w = w.key("circuit_breaker")
	if r.CircuitBreaker.ErrorShare > 0 || r.CircuitBreaker == defaultRoute(Defaults{}).CircuitBreaker || l.given(w.key("error_share")) {
		return
	}
	for _, k := range []string{"min_requests", "window", "open"} {
		if l.given(w.key(k)) {
			l.warn(w, "set error_share, such as 50", "it is off: without error_share nothing opens it")
			return
		}
	}
}

// contradictingNetworks finds networks that are allowed and denied, and routes
// that let nobody in whom they match.
func (l *linter) contradictingNetworks(w where, r *Route) {
	denied := func(p netip.Prefix) bool { return anyContains(r.Deny, p) }
	var both []string
	for _, p := range r.Allow {
		if denied(p) {
			both = append(both, p.String())
		}
	}
	switch clients := r.Match.ClientIPs; {
	case len(both) > 0:
		l.warn(w.key("allow"), "remove it from one of them", "%s can never come in: deny has it too, and wins", strings.Join(both, ", "))
	case len(clients) == 0:
	case !slices.ContainsFunc(clients, func(p netip.Prefix) bool { return !denied(p) }):
		l.warn(w.key("deny"), "", "everybody that match.client_ips names is denied: this route answers 403 only")
	case len(r.Allow) > 0 && !slices.ContainsFunc(clients, func(p netip.Prefix) bool { return slices.ContainsFunc(r.Allow, p.Overlaps) }):
		l.warn(w.key("allow"), "", "nobody that match.client_ips names is allowed: this route answers 403 only")
	}
}

// forwardedNames are the headers in which proxies tell a client's address.
var forwardedNames = []string{"x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip"}

func (l *linter) rateLimitByForwarded(w where, r *Route) {
	name, ok := strings.CutPrefix(r.RateLimit.Key, "header:")
	if ok && r.RateLimit.RequestsPerSecond > 0 && slices.Contains(forwardedNames, strings.ToLower(name)) {
		l.warn(w.key("rate_limit.key"), "use client_ip, and name the proxies in front in trusted_proxies",
			"a client can write anything into %s, and so is not limited by it", name)
	}
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
