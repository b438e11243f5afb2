package config_test

import (
	"reflect"
	"testing"
	"time"

	"weir/internal/config"
)

// listener is a configuration with one listener of these further keys.
func listener(keys string) string {
	return "listeners: [{name: w, routes: [], " + keys + "}]"
}

// route is a configuration with one route of these keys, and a pool api.
func route(keys string) string {
	return "pools: {api: {backends: []}}\nlisteners: [{name: w, address: ':80', routes: [{" + keys + "}]}]"
}

func TestListenerAddress(t *testing.T) {
	good := func(address string) {
		t.Helper()
		if got := parse(t, listener("address: '"+address+"'")).Listeners[0].Address; got != address {
			t.Errorf("%q became %q", address, got)
		}
	}
	good("127.0.0.1:8080")
	good("0.0.0.0:0")
	good(":8080")
	good("[::1]:8080")
	good("[::]:8080")
	good("unix:/run/weir.sock")

	f := func(address, want string) {
		t.Helper()
		wantProblems(t, listener("address: '"+address+"'"), "listeners[0].address: ", want)
	}
	f("127.0.0.1", `"127.0.0.1" has no port; write 127.0.0.1:PORT`)
	f("127.0.0.1:http", `"127.0.0.1:http" has no port between 0 and 65535 after its last colon`)
	f("127.0.0.1:70000", `"127.0.0.1:70000" has no port between 0 and 65535 after its last colon`)
	f("127.0.0.1:+80", `"127.0.0.1:+80" has no port between 0 and 65535 after its last colon`)
	f("::1:80", `"::1:80": an IPv6 address goes in brackets, such as [::1]:8080`)
	f("[127.0.0.1]:80", `"[127.0.0.1]:80" has no IPv6 address in its brackets`)
	f("300.0.0.1:80", `"300.0.0.1" is neither a host name nor an IP address`)
	f("localhost:80", `"localhost:80": a listener needs an address of this machine, not a name; such as 127.0.0.1:80, or :80 for all addresses`)
	f("unix:run/x", `"unix:run/x" is not unix: and a path from the root, such as unix:/run/weir.sock`)
	f("unix:/"+longName(104), `the socket path has 105 bytes; at most 103 fit`)
	wantProblems(t, listener("protocol: http"), "\x00",
		`weir.yaml:1:13: listeners[0].address: missing; such as 127.0.0.1:8080, or :8080 for all addresses`)
}

func longName(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a'
	}
	return string(b)
}

func TestListenerAddressesOnce(t *testing.T) {
	two := func(a, b string) string {
		return "listeners: [{name: a, address: '" + a + "', routes: []},\n {name: b, address: '" + b + "', routes: []}]"
	}
	good := func(a, b string) { t.Helper(); parse(t, two(a, b)) }
	good("127.0.0.1:80", "127.0.0.1:81")
	good("127.0.0.1:80", "127.0.0.2:80")
	good("127.0.0.1:80", "[::1]:80")
	good("127.0.0.1:0", "127.0.0.1:0") // two free ports
	good("unix:/a", "unix:/b")

	f := func(a, b string) {
		t.Helper()
		wantProblems(t, two(a, b), "listeners[1].address: ", `listener "a" has `+b+` already; use another port`)
	}
	f("127.0.0.1:80", "127.0.0.1:80")
	f("unix:/a", "unix:/a")
	f("[::1]:80", "[0:0::1]:80")

	// all addresses include each
	f(":80", "127.0.0.1:80")
	f("[::1]:80", ":80")
	f("0.0.0.0:80", "127.0.0.1:80")
	f("[::1]:80", "[::]:80")

	wantProblems(t, listener("address: '127.0.0.1:9900'"), "address: ", `the admin API has 127.0.0.1:9900 already; use another port`)
}

func TestListenerNames(t *testing.T) {
	f := func(keys, want string) {
		t.Helper()
		wantProblems(t, "listeners: [{address: ':1', routes: []"+keys+"}]", "listeners[0].name: ", want)
	}
	f("", "missing; metrics and commands call the listener by it")
	f(", name: ''", "a name cannot be empty")
	f(", name: a/b", `"a/b" is not a name; use letters, digits, - _ and . and begin with a letter, a digit or _`)
	f(", name: -a", `"-a" is not a name; use letters, digits, - _ and . and begin with a letter, a digit or _`)
	f(", name: "+longName(101), `a name of 101 bytes; at most 100 are possible`)
	wantProblems(t, "listeners:\n- {name: a, address: ':1', routes: []}\n- {name: a, address: ':2', routes: []}\n", "name: ",
		`the listener "a" is here twice; first on line 2; give one of them another name`)
}

func TestListenerOther(t *testing.T) {
	f := func(keys, want string) {
		t.Helper()
		wantProblems(t, listener("address: ':1', "+keys), "listeners[0].", want)
	}
	f("protocol: tcp", `protocol: "tcp" is not known; known here: http`)
	f("protocol: htp", `protocol: "htp" is not known; did you mean "http"?`)
	f("trusted_proxies: [10.0.0.0/40]", `trusted_proxies[0]: "10.0.0.0/40" is neither an address nor a network such as 10.0.0.0/8`)
	f("timeouts: {}", `timeouts: unknown key "timeouts"; known here: name, address, protocol, proxy_protocol, trusted_proxies, path_handling, routes`)
	f("proxy_protocol: v2", `proxy_protocol: "v2" is not known; known here: off, accept, require`)
	f("proxy_protocol: requires", `proxy_protocol: "requires" is not known; did you mean "require"?`)
	f("path_handling: strict", `path_handling: "strict" is not known; known here: normalize, reject, raw`)
	wantProblems(t, "listeners: [{name: a, address: ':1'}]", "listeners[0].",
		"routes: missing; write routes: [] for a listener that answers 404 to everything")
}

// off is a boolean in older YAML and a word here, with quotes and without.
func TestProxyProtocol(t *testing.T) {
	f := func(word, want string) {
		t.Helper()
		c := parse(t, "listeners: [{name: w, address: ':1', proxy_protocol: "+word+", routes: []}]")
		if got := c.Listeners[0].ProxyProtocol; got != want {
			t.Errorf("%s became %q, want %q", word, got, want)
		}
	}
	f("off", "off")
	f("'off'", "off")
	f("accept", "accept")
	f("require", "require") // of nobody: without trusted_proxies all are strangers
}

func TestRouteNames(t *testing.T) {
	c := parse(t, `listeners: [{name: w, address: ":1", routes: [{respond: {}}, {name: x, respond: {}}, {respond: {}}]}]`)
	var got []string
	for _, r := range c.Listeners[0].Routes {
		got = append(got, r.Name)
	}
	if want := []string{"w-0", "x", "w-2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	wantProblems(t, "listeners: [{name: w, address: ':1', routes: [{name: w-1, respond: {}},\n {respond: {}}]}]", "name: ",
		`the route "w-1" is here twice; first on line 1; give one of them another name`)
	wantProblems(t, route("name: 'a b', pool: api"), "name: ",
		`"a b" is not a name; use letters, digits, - _ and . and begin with a letter, a digit or _`)
}

func TestRouteAction(t *testing.T) {
	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route(keys), "routes[0]", want...)
	}
	f("name: x", `: this route does nothing with a request; give it a pool, a redirect or a respond`)
	f("pool: ''", `: this route does nothing with a request; give it a pool, a redirect or a respond`)
	f("pool: api, redirect: {to: /x}", `: this route has pool and redirect; a request can only go one way; keep one`)
	f("pool: api, redirect: {to: /x}, respond: {}", `: this route has pool and redirect and respond; a request can only go one way; keep one`)

	f("pool: apu", `.pool: no pool named "apu"; did you mean "api"?`)
	f("pool: zzzzzz", `.pool: no pool named "zzzzzz"; known here: api`)
	wantProblems(t, "listeners: [{name: w, address: ':1', routes: [{pool: x}]}]", "pool: ", `no pool named "x"; there are no pools`)

	f("redirect: {}", `.redirect.to: missing; such as https://www.example.com/`)
	f("redirect: {to: ''}", `.redirect.to: empty; such as https://www.example.com/`)
	f("redirect: {to: '/a b'}", `.redirect.to: "/a b" is not a URL; write %20 for a space`)
	f(`redirect: {to: "/a\r\nb"}`, `.redirect.to: "/a\r\nb" has the control character '\r'`)
	f("redirect: {to: 'https://{hots}{uri}/{}'}",
		`.redirect.to: {hots} is not a part of the request; did you mean "host"?`,
		`.redirect.to: {} is not a part of the request; known here: host, path, query, uri`)
	f("redirect: {to: /a, status: 200}", `.redirect.status: 200 is not between 300 and 399`)
	f("redirect: {to: /a, status: 304}", `.redirect.status: status 304 is not a redirect with a Location; one of 301, 302, 303, 307, 308`)
	f("redirect: /a", `.redirect: want a mapping (key: value), not the value "/a"`)

	f("respond: {status: 101}", `.respond.status: 101 is not between 200 and 599`)
	f("respond: {status: 204, body: x}", `.respond.body: an answer with status 204 has no body; use status 200, or remove the body`)
	f(`respond: {content_type: "a\nb"}`, `.respond.content_type: "a\nb" has the control character '\n'`)

	c := parse(t, "listeners: [{name: w, address: ':1', routes: [{redirect: {to: 'https://{host}{uri}'}}, {respond: {}}]}]")
	if got, want := *c.Listeners[0].Routes[0].Redirect, (config.Redirect{To: "https://{host}{uri}", Status: 308}); got != want {
		t.Errorf("redirect %+v, want %+v", got, want)
	}
	if got, want := *c.Listeners[0].Routes[1].Respond, (config.Respond{Status: 200, ContentType: "text/plain"}); got != want {
		t.Errorf("respond %+v, want %+v", got, want)
	}
}

func TestMatch(t *testing.T) {
	c := parse(t, route(`pool: api, match: {
		hosts: [A.Example.com, "*.b.example.", 10.0.0.1, "[::1]", "::2"], path: /v1, methods: [TRACE, PURGE],
		headers: {X-B: "1", X-A: "*"}, query: {"a b": "", z: x}, client_ips: [10.0.0.0/8]}`))
	m := c.Listeners[0].Routes[0].Match
	if got, want := m.Hosts, []string{"a.example.com", "*.b.example", "10.0.0.1", "[::1]", "[::2]"}; !reflect.DeepEqual(got, want) {
		t.Errorf("hosts %q, want %q", got, want)
	}
	if got, want := m.Methods, []string{"TRACE", "PURGE"}; !reflect.DeepEqual(got, want) {
		t.Errorf("methods %q, want %q", got, want)
	}
	// the order of the file
	if got, want := m.Headers, []config.Header{{Name: "X-B", Value: "1"}, {Name: "X-A", Value: "*"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("headers %q, want %q", got, want)
	}
	if got, want := m.Query, []config.Header{{Name: "a b"}, {Name: "z", Value: "x"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("query %q, want %q", got, want)
	}

	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, match: {"+keys+"}"), "match", want...)
	}
	f("hosts: ['*']", `.hosts[0]: to match every host leave hosts out`)
	f("hosts: ['a.example:80']", `.hosts[0]: "a.example:80" has a port; hosts are matched without it: write a.example`)
	f("hosts: ['a.*.example']", `.hosts[0]: "a.*.example": a star can only stand for all labels in front, such as *.example.com`)
	f("hosts: ['https://a.example']", `.hosts[0]: "https://a.example" has a scheme; write the host alone`)
	f("hosts: [a..example]", `.hosts[0]: "a..example" is not a host name; one has letters, digits, hyphens and dots (others in their xn-- form)`)
	f("hosts: [bücher.example]", `.hosts[0]: "bücher.example" is not a host name; one has letters, digits, hyphens and dots (others in their xn-- form)`)
	f("hosts: ['']", `.hosts[0]: "" is not a host name; one has letters, digits, hyphens and dots (others in their xn-- form)`)
	f("hosts: a.example", `.hosts: want a list, not the value "a.example"; write [a.example]`)
	f("hosts: ["+longName(254)+"]", `.hosts[0]: a host name of 254 bytes; at most 253 are possible`)

	f("path: v1", `.path: "v1" does not begin with /; write /v1`)
	f("path: '/a?b=c'", `.path: "/a?b=c" is more than a path; for a query use match.query`)
	f("path_exact: '/a b'", `.path_exact: "/a b" is not a path; write %20 for a space`)
	f("path: /a/../b", `.path: "/a/../b" can never match: . and .. are resolved before paths are compared`)
	f("path: /a, path_exact: /a", `: path and path_exact are both set; they are three ways of saying which path; keep one`)
	f("path_regex: '('", ".path_regex: missing closing ): `(`; the syntax is RE2: no look-around, no back-references")

	f("methods: [get]", `.methods[0]: methods are case-sensitive and nobody sends "get"; write GET`)
	f("methods: ['G ET']", `.methods[0]: "G ET" is not a method`)
	f("methods: [GET, CONNECT]", `.methods[1]: Weir is no forward proxy: CONNECT is always refused; remove it`)
	f("methods: [connect]", `.methods[0]: Weir is no forward proxy: CONNECT is always refused; remove it`)
	f("headers: {'a b': x}", `.headers.a b: "a b" is not a header name`)
	f("headers: {a: }", `.headers.a: a has no value; write "" for an empty value`)
	f(`headers: {a: "x\ny"}`, `.headers.a: "x\ny" has the control character '\n'`)
	f("headers: {a: [x]}", `.headers.a: want text, not a list`)
	f("client_ips: [10.0.0]", `.client_ips[0]: "10.0.0" is neither an address nor a network such as 10.0.0.0/8`)
}

func TestRewrite(t *testing.T) {
	c := parse(t, route(`pool: api, rewrite: {strip_prefix: /a, path_regex: "^/(?P<x>.)(.)", path_replace: "/$x$2/$${1}$$", host: "b.example:80"}`))
	want := config.Rewrite{StripPrefix: "/a", PathRegex: "^/(?P<x>.)(.)", PathReplace: "/$x$2/${1}$$", Host: "b.example:80"}
	if got := c.Listeners[0].Routes[0].Rewrite; got != want {
		t.Errorf("rewrite %+v, want %+v", got, want)
	}

	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, rewrite: {"+keys+"}"), "rewrite.", want...)
	}
	f("strip_prefix: a", `strip_prefix: "a" does not begin with /; write /a`)
	f("add_prefix: /a#b", `add_prefix: "/a#b" is more than a path; for a query use match.query`)
	f("path_regex: 'a{2,1}'", "path_regex: invalid repeat count: `{2,1}`; the syntax is RE2: no look-around, no back-references")
	f("path_replace: /x", `path_replace: path_replace replaces what path_regex matches, and there is none; set path_regex`)
	f("path_regex: a, path_replace: /$1", `path_replace: path_regex has no group 1`)

	// $1x is the group 1x, which is hardly ever meant
	f("path_regex: (a), path_replace: /$1x", `path_replace: path_regex has no group 1x; write $${1}x`)
	f("host: 'a b'", `host: "a b" is not a host name; one has letters, digits, hyphens and dots (others in their xn-- form)`)
	f("host: ':80'", `host: ":80" is not a host`)
}

func TestHeaderRules(t *testing.T) {
	c := parse(t, route(`pool: api, request_headers: {set: {B: "1", A: "2"}, add: {C: ""}, remove: [D]}, response_headers: {set: {Host: x}}`))
	want := config.HeaderRules{
		Set: []config.Header{{Name: "B", Value: "1"}, {Name: "A", Value: "2"}}, Add: []config.Header{{Name: "C"}}, Remove: []string{"D"},
	}
	if got := c.Listeners[0].Routes[0].RequestHeaders; !reflect.DeepEqual(got, want) {
		t.Errorf("rules %+v, want %+v", got, want)
	}

	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, "+keys), "headers", want...)
	}
	const framing = " belongs to the connection or the framing of a message; rules cannot change it; remove it"
	f("request_headers: {set: {Content-Length: 1}}", ".set.Content-Length: Content-Length"+framing)
	f("request_headers: {add: {transfer-encoding: chunked}}", ".add.transfer-encoding: transfer-encoding"+framing)
	f("response_headers: {remove: [Connection]}", ".remove[0]: Connection"+framing)
	f("request_headers: {set: {Host: x}}", ".set.Host: the Host header is not changed by header rules; use rewrite.host")
	f(`response_headers: {set: {A: "b\r\nc: d"}}`, `.set.A: "b\r\nc: d" has the control character '\r'`)
	f(`response_headers: {set: {A: "b\0"}}`, `.set.A: "b\x00" has the control character '\x00'`)
	f("response_headers: {set: {'A:': b}}", `.set.A:: "A:" is not a header name`)
	f("response_headers: {set: {A: b, a: c}}", `: set has both A and a, which are one header; use add for a second line`)

	// the environment is no way around
	f("response_headers: {set: {A: '${LINES}'}}", `.set.A: "a\nb" has the control character '\n'`)
}

func TestRouteTimeoutsAndLimits(t *testing.T) {
	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, "+keys), "routes[0].", want...)
	}
	const late = " is decided before the route of a request is known; set it under defaults."
	f("timeouts: {client_header: 1s, client_idle: 1s, client_half_closed: 1s}",
		"timeouts.client_header: client_header"+late+"timeouts", "timeouts.client_idle: client_idle"+late+"timeouts",
		"timeouts.client_half_closed: client_half_closed"+late+"timeouts")
	f("limits: {header_bytes: 2KiB, headers: 1, connections: 1, connections_per_ip: 1}",
		"limits.header_bytes: header_bytes"+late+"limits", "limits.headers: headers"+late+"limits",
		"limits.connections: connections"+late+"limits", "limits.connections_per_ip: connections_per_ip"+late+"limits")
	f("retries: {attempts: -1}", "retries.attempts: -1 is not between 0 and 10")
	f("retries: 3", `retries: want a mapping (key: value), not the value "3"`)

	c := parse(t, route("pool: api, retries: {attempts: 0}, timeouts: {request: 1m30s}, limits: {min_rate: 0}"))
	r := c.Listeners[0].Routes[0]
	if r.Retries.Attempts != 0 || r.Timeouts.Request != 90*time.Second || r.Limits.MinRate != 0 {
		t.Errorf("route %+v", r)
	}
}
