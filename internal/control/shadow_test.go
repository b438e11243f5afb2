package control

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/internal/config"
	"weir/internal/route"
)

// oneHeader is a request with one header line.
type oneHeader struct{ name, value string }

func (h oneHeader) Get(name string, i int) ([]byte, bool) {
	return []byte(h.value), i == 0 && strings.EqualFold(name, h.name)
}

// What is said to be shadowed never gets a request, whatever that asks: the routes
// of random listeners, as the proxy compiles them, are asked for random requests.
func TestShadowedRoutesGetNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	part := func() string {
		var parts []string
		if rnd.IntN(2) == 0 {
			parts = append(parts, "hosts: ["+pick("a.com", "'*.com'", "'*.a.com'", "x.a.com", "a.com, '*.a.com'")+"]")
		}
		if rnd.IntN(4) > 0 {
			parts = append(parts, pick("path: /", "path: /a", "path: /a/", "path: /a/b", "path: //", "path_exact: /a", "path_exact: /a/b", "path_exact: /a/",
				"path_regex: ^/a", "path_regex: ^/a/b$", "path_regex: .*", "path_regex: /b", "path_regex: ^/a/.*", "path_regex: '^/(a|)'", "path_regex: ^/a*"))
		}
		if rnd.IntN(4) == 0 {
			parts = append(parts, pick("methods: [GET]", "methods: [GET, POST]", "headers: {X-A: '*'}", "headers: {x-a: b}", "query: {q: '*'}", "query: {q: b}",
				"client_ips: [10.0.0.0/8]", "client_ips: [10.1.0.0/16, 11.0.0.0/8]"))
		}
		return strings.Join(parts, ", ")
	}
	claims := 0
	for range 300 {
		var src strings.Builder
		src.WriteString("listeners:\n  - name: web\n    address: ':1'\n    routes:\n")
		for range 8 {
			fmt.Fprintf(&src, "      - {match: {%s}, respond: {status: 200}}\n", part())
		}
		l := &mustParse(t, src.String()).Listeners[0]
		shadowed := l.Shadowed()
		claims += len(shadowed)
		table := compileMatches(t, l)
		for range 200 {
			req := route.Request{
				Method: []byte(pick("GET", "POST")), Host: []byte(pick("a.com", "x.a.com", "y.x.a.com", "com", "b.com", "A.com:80", "")),
				Path:  []byte(pick("/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/x/b", "/a//b", "*")),
				Query: []byte(pick("", "q=b", "q=c")), Client: netip.MustParseAddr(pick("10.1.0.1", "10.2.0.1", "11.0.0.1")),
				Header: oneHeader{pick("X-A", "X-B"), pick("b", "c")},
			}
			if i, ok := table.Lookup(&req); ok {
				if by, hidden := shadowed[i]; hidden {
					t.Fatalf("route %d serves %s %s%s, and is said to be shadowed by %d:\n%s", i, req.Method, req.Host, req.Path, by, src.String())
				}
			}
		}
	}
	if claims < 300 {
		t.Errorf("only %d routes were said to be shadowed", claims)
	}
}

// compileMatches makes a table of the routes' numbers.
func compileMatches(t *testing.T, l *config.Listener) *route.Table[int] {
	t.Helper()
	conds := func(hs []config.Header) (out []route.Cond) {
		for _, h := range hs {
			out = append(out, route.Cond(h))
		}
		return out
	}
	var rules []route.Rule[int]
	for i := range l.Routes {
		m := &l.Routes[i].Match
		rules = append(rules, route.Rule[int]{
			Hosts: m.Hosts, Path: m.Path, PathExact: m.PathExact, PathRegex: m.PathRegex, Methods: m.Methods,
			Headers: conds(m.Headers), Query: conds(m.Query), Clients: m.ClientIPs, Value: i,
		})
	}
	table, err := route.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// What was shadowed before is not told again, and what a new listener shadows is.
func TestPlanOfShadows(t *testing.T) {
	const hidden = `
listeners:
  - name: web
    address: ":1"
    routes: [{name: all, respond: {status: 200}}, {name: lost, respond: {status: 200}}]
`
	more := strings.Replace(hidden, "{name: lost", "{name: too, match: {path: /x}, respond: {status: 200}}, {name: lost", 1)
	f := func(old, new string, want ...string) {
		t.Helper()
		var before *config.Config
		if old != "" {
			before = mustParse(t, old)
		}
		if got := lines(plan(before, mustParse(t, new))); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	const because = " shadowed: it gets no requests, route all comes first and matches all of them"
	f("", hidden, "listener web added: :1, 2 routes", "listener web: route lost"+because)
	f(hidden, more, "listener web: route too added: respond 200", "listener web: route too"+because)
	f(more, hidden, "listener web: route too removed")
}
