package config

import (
	"slices"
	"strings"
)

// headers reads a mapping of names to values, in the order of the file.
func (t *table) headers(key string, check func(name value, s string)) []Header {
	var hs []Header
	pairs, _ := t.get(key).pairs()
	for _, p := range pairs {
		name := p.value
		name.at = p.keyAt
		check(name, p.key)
		s, ok := p.scalar("text")
		if !p.given() {
			p.bad(`write "" for an empty value`, "%s has no value", p.key)
		}
		if ok && p.checkLine(s) {
			hs = append(hs, Header{Name: p.key, Value: s})
		}
	}
	return hs
}

// headerRules reads rules for a request's headers or a response's.
func (t *table) headerRules(r *HeaderRules, request bool) {
	defer t.done()
	check := func(name value, s string) { name.checkHeader(s, request) }
	r.Set = t.headers("set", check)
	r.Add = t.headers("add", check)
	for _, v := range t.get("remove").list() {
		if s, ok := v.scalar("a header name"); ok {
			check(v, s)
			r.Remove = append(r.Remove, s)
		}
	}
	// YAML's keys differ in case, headers do not: the later would win silently.
	seen := map[string]string{}
	for _, h := range r.Set {
		low := strings.ToLower(h.Name)
		if first, dup := seen[low]; dup {
			t.bad("use add for a second line", "set has both %s and %s, which are one header", first, h.Name)
		}
		seen[low] = h.Name
	}
}

// framing are the headers that say where a message ends, or that belong to one
// connection: Weir makes them itself, and a rule about them would let one
// message be read as two.
var framing = []string{
	"connection", "content-length", "expect", "http2-settings", "keep-alive", "proxy-connection",
	"te", "trailer", "transfer-encoding", "upgrade",
}

// checkHeader reports a name that a rule cannot be about.
func (v value) checkHeader(s string, request bool) {
	low := strings.ToLower(s)
	switch {
	case !v.checkToken("header name", s):
	case slices.Contains(framing, low):
		v.bad("remove it", "%s belongs to the connection or the framing of a message; rules cannot change it", s)
	case request && low == "host":
		v.bad("use rewrite.host", "the Host header is not changed by header rules")
	}
}

// checkToken reports what is no token of RFC 9110.
func (v value) checkToken(what, s string) bool {
	if s != "" && !strings.ContainsFunc(s, notInToken) {
		return true
	}
	v.bad("", "%q is not a %s", s, what)
	return false
}

func notInToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func (v value) checkMethod(s string) bool {
	known := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
	if !v.checkToken("method", s) {
		return false
	}
	if up := strings.ToUpper(s); up != s && slices.Contains(known, up) {
		v.bad("write "+up, "methods are case-sensitive and nobody sends %q", s)
		return false
	}
	return true
}

// checkLine reports control characters: none may reach a header line.
func (v value) checkLine(s string) bool {
	i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
	if i < 0 {
		return true
	}
	v.bad("", "%q has the control character %q", s, s[i])
	return false
}
