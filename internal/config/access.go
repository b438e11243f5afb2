package config

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// access reads who may use a route, and how often.
func (t *table) access(r *Route) {
	t.networks("allow", &r.Allow)
	t.networks("deny", &r.Deny)
	t.get("basic_auth").table().basicAuth(&r.BasicAuth)
	t.get("rate_limit").table().rateLimit(&r.RateLimit)
}

func (t *table) basicAuth(b *BasicAuth) {
	defer t.done()
	file, read := t.text("users_file", &b.UsersFile)
	realm, ok := t.text("realm", &b.Realm)
	switch {
	case read && b.UsersFile == "" && file.node.Value != "":
		// An empty variable must not open what was meant to be closed.
		file.bad(`write "" to ask nobody`, "%s is empty, so nobody would be asked for a password", file.node.Value)
	case ok && !realm.checkRealm(b.Realm):
	case b.Realm != "" && b.UsersFile == "" && (read || !file.given()):
		realm.bad("set users_file", "a realm without users_file asks nobody for a password")
	case b.UsersFile != "" && b.Realm == "":
		b.Realm = defaultRealm
	}
}

// checkRealm reports what a header could only hold with escapes, which not all
// clients undo.
func (v value) checkRealm(s string) bool {
	switch {
	case !v.checkLine(s):
	case strings.ContainsAny(s, "\"\\\t"):
		v.bad("", `%q has a tab, a quote or a backslash`, s)
	default:
		return true
	}
	return false
}

func (t *table) rateLimit(r *RateLimit) {
	const mostBurst = 1e6
	defer t.done()
	rate, ok := t.rate("requests_per_second", &r.RequestsPerSecond)
	burst, _ := t.integer("burst", &r.Burst, 0, mostBurst)
	t.requestKey("key", &r.Key, []string{"client_ip"}, []string{"header", "cookie"})
	switch {
	case r.RequestsPerSecond == 0 && r.Burst > 0 && (ok || !rate.given()):
		burst.bad("set requests_per_second", "burst without requests_per_second does nothing")
	case r.RequestsPerSecond > 0 && r.Burst == 0:
		r.Burst = max(1, int(math.Ceil(r.RequestsPerSecond)))
	}
}

// rate reads how many a second; 0 is no bound. Less than about one a day is
// more likely a slip, and its interval would not fit a duration.
func (t *table) rate(key string, dst *float64) (v value, ok bool) {
	const least, most = 0.00001, 1000000
	v = t.get(key)
	s, ok := v.scalar("a number")
	if !ok {
		return v, false
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !isDigits(strings.Replace(strings.TrimPrefix(s, "-"), ".", "", 1)): // nor inf and nan
		v.bad("such as 100, or 0.5 for one every two seconds", "%q is not a number", s)
	case f != 0 && (f < least || f > most):
		v.bad("0 is no limit", "%s is not between 0.00001 and 1000000", s)
	default:
		*dst = f
		return v, true
	}
	return v, false
}

// requestKey reads by what requests are told apart: one of words, or kind:NAME
// with one of kinds.
func (t *table) requestKey(key string, dst *string, words, kinds []string) {
	v, ok := t.text(key, dst)
	if !ok || slices.Contains(words, *dst) {
		return
	}
	kind, name, named := strings.Cut(*dst, ":")
	switch {
	case named && kind == "query" && slices.Contains(kinds, kind):
		if name == "" { // any other is one, once it is decoded
			v.bad("such as query:id", "%q is not the name of a query parameter", name)
		}
	case named && slices.Contains(kinds, kind):
		v.checkToken(kind+" name", name)
	case named && nearest(kind, kinds) != "":
		v.bad(didYouMean(kind, kinds), "%q is not known", kind)
	default:
		known := slices.Clone(words)
		for _, kind := range kinds {
			known = append(known, kind+":NAME")
		}
		v.bad(didYouMean(*dst, known), "%q is not known", *dst)
	}
}

// anyUpgrade among a route's upgrades lets every protocol through.
const anyUpgrade = "*"

// upgrades reads the protocols that a connection may change to.
func (t *table) upgrades(dst *[]string) {
	list := t.get("upgrades")
	if !list.given() {
		return
	}
	*dst = nil
	for _, v := range list.list() {
		s, ok := v.scalar("a protocol such as websocket")
		s = strings.ToLower(s)
		switch {
		case !ok:
		case s == "h2c":
			v.bad("remove it", "a tunnel of h2c would carry HTTP/2 past routes and header rules")
		case v.checkToken("protocol", s) && !slices.Contains(*dst, s):
			*dst = append(*dst, s)
		}
	}
}
