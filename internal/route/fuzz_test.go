package route_test

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/internal/route"
)

// naive finds the first rule that a request meets in the simplest way: it tries
// one after the other, with the standard library's parsers.
func naive(rules []rule, r *route.Request) (string, bool) {
	for i := range rules {
		if meets(&rules[i], r) {
			return rules[i].Value, true
		}
	}
	return "", false
}

func meets(r *rule, req *route.Request) bool {
	path := string(req.Path)
	prefix := strings.TrimRight(r.Path, "/")
	return (len(r.Hosts) == 0 || slices.ContainsFunc(r.Hosts, func(h string) bool { return naiveHost(h, string(req.Host)) })) &&
		(prefix == "" || path == prefix || strings.HasPrefix(path, prefix+"/")) &&
		(r.PathExact == "" || path == r.PathExact) &&
		(r.PathRegex == "" || regexp.MustCompile(r.PathRegex).MatchString(path)) &&
		(len(r.Methods) == 0 || slices.Contains(r.Methods, string(req.Method))) &&
		(len(r.Clients) == 0 || slices.ContainsFunc(r.Clients, func(p netip.Prefix) bool { return p.Contains(req.Client) })) &&
		!slices.ContainsFunc(r.Headers, func(c route.Cond) bool { return !naiveHeader(c, req.Header.(headers)) }) &&
		!slices.ContainsFunc(r.Query, func(c route.Cond) bool { return !naiveQuery(c, string(req.Query)) })
}

func naiveHost(pattern, host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	pattern = strings.Trim(strings.ToLower(pattern), "[]")
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	return host == pattern
}

func naiveHeader(c route.Cond, h headers) bool {
	for i := 0; i < len(h); i += 2 {
		if strings.EqualFold(h[i], c.Name) && (c.Value == "*" || c.Value == h[i+1]) {
			return true
		}
	}
	return false
}

func naiveQuery(c route.Cond, query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if naiveDecode(name) == c.Name && (c.Value == "*" || naiveDecode(value) == c.Value) {
			return true
		}
	}
	return false
}

var badEscape = regexp.MustCompile(`%([^0-9a-fA-F]|[0-9a-fA-F][^0-9a-fA-F]|.?$)`)

// naiveDecode lets the standard library decode what it can: first every percent
// sign that begins no escape is made one that does.
func naiveDecode(s string) string {
	for {
		at := badEscape.FindStringIndex(s)
		if at == nil {
			break
		}
		s = s[:at[0]] + "%25" + s[at[0]+1:]
	}
	decoded, err := url.QueryUnescape(s)
	if err != nil {
		panic(err)
	}
	return decoded
}

// picker makes rules and requests of a few words, so that they often meet.
type picker struct{ bytes []byte }

func (p *picker) n(limit int) int {
	if len(p.bytes) == 0 {
		return 0
	}
	b := p.bytes[0]
	p.bytes = p.bytes[1:]
	return int(b) % limit
}

func (p *picker) one(words ...string) string { return words[p.n(len(words))] }

func (p *picker) rule(extraPath string) rule {
	var r rule
	for range p.n(3) {
		r.Hosts = append(r.Hosts, p.one("example.com", "*.example.com", "*.com", "a.b.example.com", "*.b.example.com", "EXAMPLE.com", "[::1]", "com"))
	}
	path := p.one("/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/a//", "//", extraPath)
	switch p.n(5) {
	case 1, 2:
		r.Path = path
	case 3:
		r.PathExact = path
	case 4:
		r.PathRegex = p.one("a", "^/a", "b$", "^/$")
	}
	if p.n(4) == 1 {
		r.Methods = []string{p.one("GET", "POST"), "HEAD"}
	}
	if p.n(4) == 1 {
		r.Headers = []route.Cond{{Name: p.one("X-A", "x-b"), Value: p.one("*", "1", "")}}
	}
	if p.n(4) == 1 {
		r.Query = []route.Cond{{Name: p.one("a", "b b"), Value: p.one("*", "1", "", "%", "x y")}}
	}
	if p.n(4) == 1 {
		r.Clients = []netip.Prefix{netip.MustParsePrefix(p.one("10.0.0.0/8", "10.1.0.0/16", "::/0"))}
	}
	return r
}

func (p *picker) request(host, path, query string) *route.Request {
	var h headers
	for range p.n(3) {
		h = append(h, p.one("x-a", "X-B", "other"), p.one("1", "2", ""))
	}
	return &route.Request{
		Method: []byte(p.one("GET", "POST", "HEAD")),
		Host: []byte(p.one("example.com", "a.example.com:80", "x.b.example.com.", "a.b.example.com", "b.example.com",
			"[::1]:80", "com", ".example.com", "", host)),
		Path:   []byte(p.one("/", "/a", "/a/", "/a/b", "/a/b/c/d/e", "/ab", "/a//b", "*", path)),
		Query:  []byte(p.one("", "a=1", "b+b=x%20y", "a&b%20b=%", "a=%25&a=1", query)),
		Header: h,
		Client: netip.MustParseAddr(p.one("10.0.0.1", "10.1.2.3", "2001:db8::1")),
	}
}

// check compares the table with the naive search.
func check(t *testing.T, picks []byte, host, path, query string) {
	t.Helper()
	p := &picker{picks}
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	rules := make([]rule, p.n(12))
	for i := range rules {
		rules[i] = p.rule(path)
		rules[i].Value = string(rune('a' + i))
	}
	table := compile(t, rules...)
	for range 4 {
		req := p.request(host, path, query)
		got, ok := table.Lookup(req)
		if want, found := naive(rules, req); got != want || ok != found {
			t.Fatalf("%s %s%s?%s from %v with %q: rule %q, want %q of\n%+v",
				req.Method, req.Host, req.Path, req.Query, req.Client, req.Header, got, want, rules)
		}
	}
}

func FuzzLookup(f *testing.F) {
	f.Add([]byte("\x05\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"), "a.example.com", "/a/b", "a=1")
	f.Add([]byte("\x0b\x02\x01\x01\x01\x01\x01\x01\x01\x01\x01\x02\x03"), "x.com:1", "/a//", "b+b=%")
	f.Fuzz(func(t *testing.T, picks []byte, host, path, query string) {
		if !plainHost(host) {
			host = "other.example.com"
		}
		check(t, picks, host, path, query)
	})
}

// plainHost keeps from the comparison what is no host: there the table and
// the standard library may differ. The table must only not panic.
func plainHost(host string) bool {
	_, _ = small.Lookup(&route.Request{Host: []byte(host)})
	ok := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-'
	}
	return len(host) < 200 && strings.IndexFunc(host, func(c rune) bool { return !ok(c) }) < 0
}

var small = func() *route.Table[int] {
	table, err := route.Compile([]route.Rule[int]{{Hosts: []string{"a.b", "*.c"}}})
	if err != nil {
		panic(err)
	}
	return table
}()

// The same without a fuzzer: enough tables to meet every kind of rule in every order.
func TestLookupAgainstNaive(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		picks := make([]byte, 20+random.IntN(200))
		for i := range picks {
			picks[i] = byte(random.Uint32())
		}
		check(t, picks, "b.a.example.com", "/a/b/", "a=1&a=2")
	}
}
