package config_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"weir/internal/config"
)

// first is the first route of a configuration that must be right.
func first(t *testing.T, src string) config.Route {
	t.Helper()
	return parse(t, src).Listeners[0].Routes[0]
}

func TestAllowAndDeny(t *testing.T) {
	r := first(t, route("pool: api, allow: [10.1.2.3/8, '::ffff:192.0.2.1'], deny: [10.9.0.0/16]"))
	if want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}; !reflect.DeepEqual(r.Allow, want) {
		t.Errorf("allow %v, want %v", r.Allow, want)
	}
	if want := []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}; !reflect.DeepEqual(r.Deny, want) {
		t.Errorf("deny %v, want %v", r.Deny, want)
	}
	if r := first(t, route("pool: api, allow: [], deny: []")); len(r.Allow)+len(r.Deny) != 0 {
		t.Errorf("empty lists became %v and %v", r.Allow, r.Deny)
	}

	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, "+keys), "routes[0].", want...)
	}
	f("allow: [intranet]", `allow[0]: "intranet" is neither an address nor a network such as 10.0.0.0/8`)
	f("deny: 10.0.0.0/8", `deny: want a list, not the value "10.0.0.0/8"; write [10.0.0.0/8]`)
}

func TestBasicAuth(t *testing.T) {
	good := func(keys string, want config.BasicAuth) {
		t.Helper()
		if got := first(t, route("pool: api, basic_auth: {"+keys+"}")).BasicAuth; got != want {
			t.Errorf("%s is %+v, want %+v", keys, got, want)
		}
	}
	good("", config.BasicAuth{})
	good("users_file: '', realm: ''", config.BasicAuth{})
	good("users_file: users", config.BasicAuth{UsersFile: "users", Realm: "Restricted"})
	good("users_file: /etc/weir/users, realm: ''", config.BasicAuth{UsersFile: "/etc/weir/users", Realm: "Restricted"})
	good("users_file: users, realm: Bücher & more", config.BasicAuth{UsersFile: "users", Realm: "Bücher & more"})

	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, basic_auth: {"+keys+"}"), "basic_auth.", want...)
	}
	f("realm: x", `realm: a realm without users_file asks nobody for a password; set users_file`)
	f("users_file: '', realm: x", `realm: a realm without users_file asks nobody for a password; set users_file`)
	f(`users_file: users, realm: 'a "b"'`, `realm: "a \"b\"" has a tab, a quote or a backslash`)
	f(`users_file: users, realm: 'a\b'`, `realm: "a\\b" has a tab, a quote or a backslash`)
	f(`users_file: users, realm: "a\tb"`, `realm: "a\tb" has a tab, a quote or a backslash`)
	f(`users_file: users, realm: "a\nb"`, `realm: "a\nb" has the control character '\n'`)
	f("file: users", `file: unknown key "file"; known here: users_file, realm`)

	// a variable that is missing or empty must not open the route, nor be told twice
	f("users_file: '${NO}', realm: x", `users_file: the environment variable NO is not set; set it, or write $${ for the characters ${ themselves`)
	f("users_file: '${EMPTY}', realm: x", `users_file: ${EMPTY} is empty, so nobody would be asked for a password; write "" to ask nobody`)
}

func TestRateLimit(t *testing.T) {
	good := func(keys string, want config.RateLimit) {
		t.Helper()
		if got := first(t, route("pool: api, rate_limit: {"+keys+"}")).RateLimit; got != want {
			t.Errorf("%s is %+v, want %+v", keys, got, want)
		}
	}
	good("", config.RateLimit{Key: "client_ip"})
	good("requests_per_second: 0, burst: 0, key: client_ip", config.RateLimit{Key: "client_ip"})
	good("requests_per_second: 1000000, burst: 1000000", config.RateLimit{RequestsPerSecond: 1e6, Burst: 1e6, Key: "client_ip"})
	good("requests_per_second: 10, burst: 3, key: header:X-Api-Key", config.RateLimit{RequestsPerSecond: 10, Burst: 3, Key: "header:X-Api-Key"})
	good("requests_per_second: 1, key: 'cookie:sid'", config.RateLimit{RequestsPerSecond: 1, Burst: 1, Key: "cookie:sid"})

	// without a burst: what fits a second, and never nothing
	good("requests_per_second: 100", config.RateLimit{RequestsPerSecond: 100, Burst: 100, Key: "client_ip"})
	good("requests_per_second: 2.5", config.RateLimit{RequestsPerSecond: 2.5, Burst: 3, Key: "client_ip"})
	good("requests_per_second: 0.5", config.RateLimit{RequestsPerSecond: 0.5, Burst: 1, Key: "client_ip"})
	good("requests_per_second: 0.00001", config.RateLimit{RequestsPerSecond: 0.00001, Burst: 1, Key: "client_ip"})

	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, rate_limit: {"+keys+"}"), "rate_limit.", want...)
	}
	const how = "; such as 100, or 0.5 for one every two seconds"
	f("requests_per_second: many", `requests_per_second: "many" is not a number`+how)
	f("requests_per_second: 10/s", `requests_per_second: "10/s" is not a number`+how)
	f("requests_per_second: .inf", `requests_per_second: ".inf" is not a number`+how)
	f("requests_per_second: nan", `requests_per_second: "nan" is not a number`+how)
	f("requests_per_second: 1e3", `requests_per_second: "1e3" is not a number`+how)
	f("requests_per_second: [1]", `requests_per_second: want a number, not a list`)
	f("requests_per_second: 1000000.1", `requests_per_second: 1000000.1 is not between 0.00001 and 1000000; 0 is no limit`)
	f("requests_per_second: -1", `requests_per_second: -1 is not between 0.00001 and 1000000; 0 is no limit`)
	f("requests_per_second: 0.000001", `requests_per_second: 0.000001 is not between 0.00001 and 1000000; 0 is no limit`)
	f("requests_per_second: 1, burst: 1000001", `burst: 1000001 is not between 0 and 1000000`)
	f("requests_per_second: 1, burst: 0.5", `burst: "0.5" is not a whole number`)

	f("burst: 5", `burst: burst without requests_per_second does nothing; set requests_per_second`)
	// what is wrong with the rate has been said
	f("requests_per_second: x, burst: 5", `requests_per_second: "x" is not a number`+how)

	f("key: ip", `key: "ip" is not known; known here: client_ip, header:NAME, cookie:NAME`)
	f("key: client_up", `key: "client_up" is not known; did you mean "client_ip"?`)
	f("key: header", `key: "header" is not known; did you mean "header:NAME"?`)
	f("key: headers:X-A", `key: "headers" is not known; did you mean "header"?`)
	f("key: query:a", `key: "query:a" is not known; known here: client_ip, header:NAME, cookie:NAME`)
	f("key: 'header:'", `key: "" is not a header name`)
	f("key: 'header:X A'", `key: "X A" is not a header name`)
	f("key: 'cookie:a=b'", `key: "a=b" is not a cookie name`)
}

func TestCompress(t *testing.T) {
	if !first(t, route("pool: api, compress: true")).Compress {
		t.Error("compress: true is false")
	}
	wantProblems(t, route("pool: api, compress: gzip"), "routes[0].",
		`compress: "gzip" is neither true nor false; write true or false`)
}

func TestUpgrades(t *testing.T) {
	good := func(list string, want ...string) {
		t.Helper()
		if got := first(t, route("pool: api, upgrades: "+list)).Upgrades; strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s is %q, want %q", list, got, want)
		}
	}
	good("", "*") // left out
	good("['*']", "*")
	good("[]")
	good("[WebSocket, websocket, x-proto]", "websocket", "x-proto")

	f := func(list string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, upgrades: "+list), "upgrades", want...)
	}
	f("[websocket, H2C]", `[1]: a tunnel of h2c would carry HTTP/2 past routes and header rules; remove it`)
	f("['web socket', '']", `[0]: "web socket" is not a protocol`, `[1]: "" is not a protocol`)
	f("websocket", `: want a list, not the value "websocket"; write [websocket]`)
}

func TestPathHandling(t *testing.T) {
	c := parse(t, `
defaults: {path_handling: reject}
listeners:
- {name: a, address: ":1", routes: [{respond: {}}, {respond: {}, path_handling: raw}]}
- {name: b, address: ":2", path_handling: raw, routes: [{respond: {}}, {respond: {}, path_handling: normalize}]}
`)
	f := func(listener int, want ...string) {
		t.Helper()
		l := c.Listeners[listener]
		got := []string{l.PathHandling}
		for _, r := range l.Routes {
			got = append(got, r.PathHandling)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("listener %s and its routes have %q, want %q", l.Name, got, want)
		}
	}
	// the route's own value, then its listener's, then the default
	f(0, "reject", "reject", "raw")
	f(1, "raw", "raw", "normalize")
}

// A path that is rewritten is in normal form, wherever raw was said.
func TestPathHandlingAndRewrite(t *testing.T) {
	good := func(keys string) { t.Helper(); parse(t, "defaults: {path_handling: raw}\n"+route("pool: api, "+keys)) }
	good("rewrite: {host: a.example}")
	good("rewrite: {strip_prefix: '', add_prefix: '', path_regex: ''}")
	good("rewrite: {strip_prefix: /a}, path_handling: normalize")
	good("rewrite: {add_prefix: /a}, path_handling: reject")

	const both = `: rewrite works on the normal form; with path_handling raw the client's path goes to the backend as it is; ` +
		`set path_handling: normalize on this route`
	f := func(src string, want ...string) {
		t.Helper()
		wantProblems(t, src, "weir.yaml:", want...)
	}
	f(route("pool: api, path_handling: raw, rewrite: {strip_prefix: /a}"), `2:80: listeners[0].routes[0].rewrite`+both)
	f(route("pool: api, path_handling: raw, rewrite: {path_regex: a}"), `2:80: listeners[0].routes[0].rewrite`+both)
	// it is enough to inherit it
	f("defaults: {path_handling: raw}\n"+route("pool: api,\n rewrite: {add_prefix: /a}"), `4:2: listeners[0].routes[0].rewrite`+both)
	f("listeners: [{name: w, address: ':80', path_handling: raw, routes: [\n{respond: {}, rewrite: {strip_prefix: /a}}]}]",
		`2:15: listeners[0].routes[0].rewrite`+both)

	// a word that is none may have been meant to be normalize
	f("defaults: {path_handling: raw}\n"+route("pool: api, path_handling: normal, rewrite: {add_prefix: /a}"),
		`3:75: listeners[0].routes[0].path_handling: "normal" is not known; did you mean "normalize"?`)
}
