package route_test

import (
	"net/netip"
	"strings"
	"testing"

	"weir/internal/route"
)

// headers are name, value, name, value …
type headers []string

func (h headers) Get(name string, i int) ([]byte, bool) {
	for k := 0; k < len(h); k += 2 {
		if strings.EqualFold(h[k], name) {
			if i == 0 {
				return []byte(h[k+1]), true
			}
			i--
		}
	}
	return nil, false
}

// request is a GET of host and path; what follows "?" is the query.
func request(host, target string) *route.Request {
	path, query, _ := strings.Cut(target, "?")
	return &route.Request{
		Method: []byte("GET"), Host: []byte(host), Path: []byte(path), Query: []byte(query),
		Client: netip.MustParseAddr("192.0.2.1"),
	}
}

type rule = route.Rule[string]

func compile(t testing.TB, rules ...rule) *route.Table[string] {
	t.Helper()
	table, err := route.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// matches tells whether a request meets a rule.
func matches(t *testing.T, r rule, req *route.Request) bool {
	t.Helper()
	_, ok := compile(t, r).Lookup(req)
	return ok
}

func TestHosts(t *testing.T) {
	f := func(pattern, host string, want bool) {
		t.Helper()
		if got := matches(t, rule{Hosts: []string{pattern}}, request(host, "/")); got != want {
			t.Errorf("%s against %s: %v, want %v", host, pattern, got, want)
		}
	}
	f("example.com", "example.com", true)
	f("example.com", "example.org", false)
	f("example.com", "www.example.com", false)
	f("www.example.com", "example.com", false)
	f("example.com", "", false)

	// case, port and the dot of the root say nothing about who is meant
	f("Example.COM", "eXample.com", true)
	f("example.com", "example.com:8080", true)
	f("example.com", "example.com:", true)
	f("example.com", "example.com.", true)
	f("example.com", "example.com.:443", true)
	f("example.com.", "example.com", true)
	f("example.com", "example.com..", false)

	// a star is any number of labels, but one at least
	f("*.example.com", "a.example.com", true)
	f("*.example.com", "a.b.c.example.com", true)
	f("*.example.com", "A.Example.Com.:80", true)
	f("*.example.com", "example.com", false)
	f("*.example.com", ".example.com", false)
	f("*.example.com", "badexample.com", false)
	f("*.example.com", "a.example.com.evil", false)
	f("*.com", "a.example.com", true)

	// addresses; IPv6 stands in brackets
	f("192.0.2.7", "192.0.2.7:80", true)
	f("[::1]", "[::1]", true)
	f("[::1]", "[::1]:8080", true)
	f("::1", "[::1]:8080", true)
	f("[2001:DB8:0::1]", "[2001:db8::1]", true)
	f("[2001:db8::a]", "[2001:DB8::A]:80", true)
	f("[::1]", "::1", false)
	f("[::1]", "[::1", false)
	f("[::1]", "[::1]x", false)
	f("[::1]", "[::2]", false)

	// the longest name there is, and one that is too long to be one
	long := strings.Repeat("a23456789.", 25) + "com"
	f(long, long+".:80", true)
	f("*.com", long, true)
	f("*.com", "a"+long, false)
}

func TestSeveralHosts(t *testing.T) {
	r := rule{Hosts: []string{"a.example", "*.b.example", "a.example"}}
	for host, want := range map[string]bool{"a.example": true, "x.b.example": true, "b.example": false} {
		if got := matches(t, r, request(host, "/")); got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	f := func(r rule, path string, want bool) {
		t.Helper()
		if got := matches(t, r, request("h", path)); got != want {
			t.Errorf("%s against %q %q %q: %v, want %v", path, r.Path, r.PathExact, r.PathRegex, got, want)
		}
	}
	// a prefix ends where a segment ends, whether it is written with a slash or not
	for _, prefix := range []string{"/v1", "/v1/"} {
		f(rule{Path: prefix}, "/v1", true)
		f(rule{Path: prefix}, "/v1/", true)
		f(rule{Path: prefix}, "/v1/x", true)
		f(rule{Path: prefix}, "/v1//x", true)
		f(rule{Path: prefix}, "/v1x", false)
		f(rule{Path: prefix}, "/v", false)
		f(rule{Path: prefix}, "/", false)
		f(rule{Path: prefix}, "/x/v1", false)
		f(rule{Path: prefix}, "//v1", false)
		f(rule{Path: prefix}, "/V1", false)
	}
	f(rule{Path: "/a/b/c"}, "/a/b/c/d", true)
	f(rule{Path: "/a/b/c"}, "/a/b", false)
	f(rule{Path: "/a//b"}, "/a//b/c", true)
	f(rule{Path: "/a//b"}, "/a/b/c", false)

	// everything, the star of OPTIONS too
	f(rule{Path: "/"}, "/", true)
	f(rule{Path: "/"}, "/x/y", true)
	f(rule{Path: "/"}, "*", true)
	f(rule{}, "*", true)
	f(rule{}, "", true)

	f(rule{PathExact: "/v1"}, "/v1", true)
	f(rule{PathExact: "/v1"}, "/v1/", false)
	f(rule{PathExact: "/v1/"}, "/v1/", true)
	f(rule{PathExact: "/v1"}, "/v1/x", false)
	f(rule{PathExact: "/"}, "/", true)
	f(rule{PathExact: "/"}, "/x", false)

	// a regular expression is anchored by whoever writes it
	f(rule{PathRegex: `\.php$`}, "/a/b.php", true)
	f(rule{PathRegex: `\.php$`}, "/a/b.php5", false)
	f(rule{PathRegex: `^/u/[0-9]+$`}, "/u/17", true)
	f(rule{PathRegex: `^/u/[0-9]+$`}, "/x/u/17", false)
}

func TestMethods(t *testing.T) {
	f := func(methods []string, method string, want bool) {
		t.Helper()
		req := request("h", "/")
		req.Method = []byte(method)
		if got := matches(t, rule{Methods: methods}, req); got != want {
			t.Errorf("%s against %v: %v, want %v", method, methods, got, want)
		}
	}
	f(nil, "PURGE", true)
	f([]string{"GET"}, "GET", true)
	f([]string{"GET", "HEAD"}, "HEAD", true)
	f([]string{"GET"}, "HEAD", false)
	// methods have a case
	f([]string{"GET"}, "get", false)
}

func TestHeaders(t *testing.T) {
	f := func(conds []route.Cond, h headers, want bool) {
		t.Helper()
		req := request("h", "/")
		req.Header = h
		if got := matches(t, rule{Headers: conds}, req); got != want {
			t.Errorf("%q against %v: %v, want %v", h, conds, got, want)
		}
	}
	version := []route.Cond{{Name: "X-Version", Value: "2"}}
	f(version, headers{"X-Version", "2"}, true)
	f(version, headers{"x-vERSION", "2"}, true)
	f(version, headers{"X-Version", "3"}, false)
	f(version, headers{"X-Version", "2 "}, false)
	f(version, headers{"X-Versions", "2"}, false)
	f(version, nil, false)

	// of a repeated header any value will do
	f(version, headers{"X-Version", "1", "Other", "x", "x-version", "2"}, true)
	f(version, headers{"X-Version", "1", "X-Version", "3"}, false)

	// a star is any value, the empty one too
	present := []route.Cond{{Name: "Authorization", Value: "*"}}
	f(present, headers{"authorization", "Basic eA=="}, true)
	f(present, headers{"authorization", ""}, true)
	f(present, headers{"other", "x"}, false)

	// all conditions must hold
	both := []route.Cond{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}
	f(both, headers{"A", "1", "B", "2"}, true)
	f(both, headers{"A", "1"}, false)
	f(both, headers{"A", "1", "B", "1"}, false)
}

// A request may come without any header to look into.
func TestNoHeaders(t *testing.T) {
	if matches(t, rule{Headers: []route.Cond{{Name: "A", Value: "*"}}}, request("h", "/")) {
		t.Error("a header was found in a request that has none")
	}
}

func TestQuery(t *testing.T) {
	f := func(name, value, query string, want bool) {
		t.Helper()
		r := rule{Query: []route.Cond{{Name: name, Value: value}}}
		if got := matches(t, r, request("h", "/?"+query)); got != want {
			t.Errorf("%q against %s=%s: %v, want %v", query, name, value, got, want)
		}
	}
	f("a", "1", "a=1", true)
	f("a", "1", "b=2&a=1", true)
	f("a", "1", "a=1&b=2", true)
	f("a", "1", "a=12", false)
	f("a", "1", "aa=1", false)
	f("a", "1", "A=1", false)
	f("a", "1", "", false)
	f("a", "1", "b=a=1", false)
	f("a", "1=1", "a=1=1", true)

	// of a repeated parameter any value will do
	f("a", "1", "a=0&a=1", true)

	// what is compared is what was meant
	f("a", "x y", "a=x%20y", true)
	f("a", "x y", "a=x+y", true)
	f("a", "x+y", "a=x%2By", true)
	f("a", "x&y", "a=x%26y", true)
	f("näme", "ü", "n%c3%a4me=%C3%BC", true)
	f("a", "1", "%61=%31", true)
	f("a", "%31", "a=%31", false)

	// a percent sign that escapes nothing stands for itself
	f("a", "100%", "a=100%", true)
	f("a", "%zz", "a=%zz", true)
	f("a", "%4", "a=%4", true)
	f("a", "%%1", "a=%%1", true)

	// present, whatever the value
	f("debug", "*", "debug", true)
	f("debug", "*", "debug=", true)
	f("debug", "*", "x=1&debug=yes", true)
	f("debug", "*", "x=debug", false)
	f("debug", "", "debug", true)
	f("debug", "", "debug=1", false)
	f("debug", "", "&&", false)
}

func TestClients(t *testing.T) {
	f := func(network, client string, want bool) {
		t.Helper()
		req := request("h", "/")
		req.Client = netip.Addr{}
		if client != "" {
			req.Client = netip.MustParseAddr(client)
		}
		if got := matches(t, rule{Clients: []netip.Prefix{netip.MustParsePrefix(network)}}, req); got != want {
			t.Errorf("%s against %s: %v, want %v", client, network, got, want)
		}
	}
	f("10.0.0.0/8", "10.1.2.3", true)
	f("10.0.0.0/8", "11.1.2.3", false)
	f("10.1.2.3/8", "10.9.9.9", true)
	f("2001:db8::/32", "2001:db8::1", true)
	f("2001:db8::/32", "10.1.2.3", false)
	f("0.0.0.0/0", "2001:db8::1", false)

	// a listener on both families sees IPv4 clients as IPv6
	f("10.0.0.0/8", "::ffff:10.1.2.3", true)
	f("::ffff:10.0.0.0/104", "10.1.2.3", true)
	f("::/0", "2001:db8::1", true)

	f("fe80::/10", "fe80::1%eth0", true)

	// the client of a unix socket has no address
	f("0.0.0.0/0", "", false)
	f("::/0", "", false)
}

// The first rule in order wins, whatever the index finds first.
func TestOrder(t *testing.T) {
	f := func(want, host, path string, rules ...rule) {
		t.Helper()
		for i := range rules {
			rules[i].Value = string(rune('a' + i))
		}
		if got, _ := compile(t, rules...).Lookup(request(host, path)); got != want {
			t.Errorf("%s%s: rule %q, want %q", host, path, got, want)
		}
	}
	any, star, exact := rule{}, rule{Hosts: []string{"*.b.c"}}, rule{Hosts: []string{"a.b.c"}}
	f("a", "a.b.c", "/", any, star, exact)
	f("a", "a.b.c", "/", star, exact, any)
	f("a", "a.b.c", "/", exact, any, star)
	f("b", "x.b.c", "/", exact, star, any)
	f("c", "x.y.z", "/", exact, star, any)
	f("a", "a.b.c", "/", rule{Hosts: []string{"*.c"}}, star, exact)

	long, short := rule{Path: "/a/b"}, rule{Path: "/a"}
	f("a", "h", "/a/b", short, long)
	f("a", "h", "/a/b", long, short)
	f("b", "h", "/a/c", long, short)
	f("a", "h", "/a/b", rule{PathRegex: "b$"}, rule{PathExact: "/a/b"})
	f("b", "h", "/a/b", rule{PathRegex: "c$"}, rule{PathExact: "/a/b"}, any)

	// a rule whose last condition fails gives way to the next
	f("b", "h", "/a", rule{Path: "/a", Methods: []string{"POST"}}, short, any)
	f("", "h", "/x", long, short)
	f("", "h", "/x")
}

func TestCompileErrors(t *testing.T) {
	f := func(r rule, want string) {
		t.Helper()
		_, err := route.Compile([]rule{{}, r})
		if err == nil || !strings.Contains(err.Error(), "rule 1: "+want) {
			t.Errorf("%+v: error %v, want one with %q", r, err, "rule 1: "+want)
		}
	}
	f(rule{PathRegex: "("}, `path_regex "(": error parsing regexp`)
	f(rule{Path: "/a", PathExact: "/b"}, "only one of path")
	f(rule{Path: "a"}, `path "a" does not begin with a slash`)
	f(rule{PathExact: "a"}, `path_exact "a" does not begin with a slash`)
	f(rule{Hosts: []string{""}}, `host "" is empty`)
	f(rule{Hosts: []string{"*."}}, `host "*." is empty`)
	f(rule{Hosts: []string{"*"}}, `host "*" has a star`)
	f(rule{Hosts: []string{"a.*.b"}}, `host "a.*.b" has a star`)
	f(rule{Hosts: []string{"a:80"}}, `host "a:80" is not a host name`)
	f(rule{Hosts: []string{"http://a"}}, `host "http://a" is not a host name`)
	f(rule{Hosts: []string{".a.b"}}, `host ".a.b" begins with a dot; write "*.a.b"`)
	f(rule{Hosts: []string{strings.Repeat("a", 254)}}, "host")
	f(rule{Headers: []route.Cond{{Value: "1"}}}, "a header condition has no name")
	f(rule{Query: []route.Cond{{Value: "1"}}}, "a query condition has no name")
	f(rule{Clients: []netip.Prefix{{}}}, "a client network is not valid")

	// every bad rule is named, not only the first
	_, err := route.Compile([]rule{{Path: "a"}, {}, {PathRegex: "("}})
	if err == nil || !strings.Contains(err.Error(), "rule 0:") || !strings.Contains(err.Error(), "rule 2:") {
		t.Errorf("two bad rules: error %v", err)
	}
}

// Whoever compiled the table may go on changing what it was made of.
func TestTableKeepsNothing(t *testing.T) {
	methods, hosts := []string{"GET"}, []string{"a.b"}
	table := compile(t, rule{Hosts: hosts, Methods: methods})
	methods[0], hosts[0] = "POST", "c.d"
	if _, ok := table.Lookup(request("a.b", "/")); !ok {
		t.Error("the table changed after it was compiled")
	}
}

func TestAllocs(t *testing.T) {
	table := compile(t,
		rule{Hosts: []string{"no.example.com"}, PathExact: "/v1/x"},
		rule{Hosts: []string{"*.example.com"}, Path: "/v2", PathRegex: ""},
		rule{Hosts: []string{"*.example.com"}, PathRegex: "^/v[3-9]/"},
		rule{Path: "/v1", Methods: []string{"POST"}},
		rule{Path: "/v1/x", Headers: []route.Cond{{Name: "X-A", Value: "1"}}},
		rule{Path: "/v1/x", Query: []route.Cond{{Name: "a", Value: "x y"}}},
		rule{Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Value: "last"},
	)
	req := request("WWW.Example.com:8080", "/v1/x/y/z?b=1&a=x%20z")
	req.Header = &noHeader{}
	n := testing.AllocsPerRun(1000, func() {
		if v, ok := table.Lookup(req); !ok || v != "last" {
			t.Fatal("found", v)
		}
	})
	if n != 0 {
		t.Errorf("Lookup allocates %v times, want 0", n)
	}
}

// noHeader has headers, none of them wanted.
type noHeader struct{}

func (*noHeader) Get(_ string, i int) ([]byte, bool) { return nil, i == 0 }
