package config_test

import (
	"reflect"
	"testing"
	"time"

	"weir/internal/config"
)

// pool is a configuration with one pool p of these keys.
func pool(keys string) string {
	return "listeners: [{name: w, address: ':80', routes: []}]\npools: {p: {" + keys + "}}"
}

func TestPoolNames(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		wantProblems(t, "listeners: [{name: w, address: ':1', routes: []}]\npools: {"+name+": {backends: []}}", "pools.", want)
	}
	f("''", ": a name cannot be empty")
	f("a/b", `a/b: "a/b" is not a name; use letters, digits, - _ and . and begin with a letter, a digit or _`)
	f("a: {backends: []}, a", `a: the key "a" is here twice; first on line 2; keep one of them`)

	// a route to a pool that has problems is not one more
	wantProblems(t, "listeners: [{name: w, address: ':1', routes: [{pool: p}]}]\npools: {p: {}}", "pools.",
		"p.backends: missing; write backends: [] for a pool that is empty on purpose")
}

func TestPoolKeys(t *testing.T) {
	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, pool("backends: [], "+keys), "pools.p.", want...)
	}
	f("balance: roundrobin", `balance: "roundrobin" is not known; did you mean "round_robin"?`)
	f("balance: fastest", `balance: "fastest" is not known; known here: weighted_round_robin, round_robin`)
	f("send_proxy_protocol: v3", `send_proxy_protocol: "v3" is not known; did you mean "v1"?`)
	f("send_proxy_protocol: true", `send_proxy_protocol: "true" is not known; known here: off, v1, v2`)
	f("keepalive: {idle_per_backend: -1}", `keepalive.idle_per_backend: -1 is less than 0`)
	f("keepalive: {idle_timeout: 0s}", `keepalive.idle_timeout: it must be longer than 0s`)
	f("limits: {headers: 3}", `limits.headers: headers is decided before the route of a request is known; set it under defaults.limits`)
	f("slow_start: 3s", `slow_start: unknown key "slow_start"; known here: balance, backends, health, keepalive, send_proxy_protocol, timeouts, limits`)
}

func TestSendProxyProtocol(t *testing.T) {
	f := func(word string) {
		t.Helper()
		if got := parse(t, pool("backends: [], send_proxy_protocol: "+word)).Pools[0].SendProxyProtocol; got != word {
			t.Errorf("%s became %q", word, got)
		}
	}
	f("off")
	f("v1")
	f("v2")
}

func TestBackends(t *testing.T) {
	c := parse(t, pool(`backends: [{address: "app:80", weight: 0, tier: 2, max_requests: 0}, {address: "[::1]:80"}, {address: unix:/a}]`))
	want := []config.Backend{
		{Address: "app:80", Tier: 2},
		{Address: "[::1]:80", Weight: 1, MaxRequests: 1024},
		{Address: "unix:/a", Weight: 1, MaxRequests: 1024},
	}
	if got := c.Pools[0].Backends; !reflect.DeepEqual(got, want) {
		t.Errorf("backends %+v, want %+v", got, want)
	}

	f := func(backends string, want ...string) {
		t.Helper()
		wantProblems(t, pool("backends: ["+backends+"]"), "pools.p.backends", want...)
	}
	f("{weight: 1}", `[0].address: missing; such as 127.0.0.1:9001`)
	f("'127.0.0.1:80'", `[0]: want a mapping with an address, not the value "127.0.0.1:80"; write {address: 127.0.0.1:80}`)
	f("{address: app}", `[0].address: "app" has no port; write app:PORT`)
	f("{address: ':80'}", `[0].address: ":80" does not say which host; such as 127.0.0.1:9001`)
	f("{address: '0.0.0.0:80'}", `[0].address: "0.0.0.0:80" does not say which host; such as 127.0.0.1:9001`)
	f("{address: 'app:0'}", `[0].address: "app:0": nothing can be reached at port 0`)
	f("{address: 'http://app:80'}", `[0].address: "http://app:80" has a scheme; write host:port alone`)
	f("{address: 'a_b!:80'}", `[0].address: "a_b!" is not a host name; one has letters, digits, hyphens and dots (others in their xn-- form)`)

	f("{address: 'a:80', weight: 65536}", `[0].weight: 65536 is not between 0 and 65535`)
	f("{address: 'a:80', weight: -1}", `[0].weight: -1 is not between 0 and 65535`)
	f("{address: 'a:80', weight: 1.5}", `[0].weight: "1.5" is not a whole number`)
	f("{address: 'a:80', weight: 99999999999999999999}", `[0].weight: 99999999999999999999 is not between 0 and 65535`)
	f("{address: 'a:80', tier: -1, max_requests: -1}", `[0].tier: -1 is less than 0`, `[0].max_requests: -1 is less than 0`)
	f("{address: 'a:80', max_requests: 99999999999}", `[0].max_requests: 99999999999 is not between 0 and 2147483647`)

	// two spellings of one address
	f("{address: 'App:80'}, {address: 'app:80'}", `[1].address: the address "app:80" is here twice; first on line 2; remove one of them`)
	f("{address: '[::1]:80'}, {address: '[0::1]:80'}", `[1].address: the address "[::1]:80" is here twice; first on line 2; remove one of them`)

	f("{address: 'a:80', weight: 0}, {address: 'b:80', weight: 0}",
		`: every backend has weight 0, so none gets a request; give one of them a weight of 1 or more`)
}

func TestActive(t *testing.T) {
	active := func(keys string) config.Active {
		t.Helper()
		return *parse(t, pool("backends: [], health: {active: {"+keys+"}}")).Pools[0].Health.Active
	}
	want := config.Active{
		Type: "http", Path: "/", Method: "GET", Expect: []config.StatusRange{{From: 200, To: 399}},
		Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 2,
	}
	if got := active(""); !reflect.DeepEqual(got, want) {
		t.Errorf("active: {} is %+v, want %+v", got, want)
	}
	if got := active("interval: 1s").Timeout; got != time.Second {
		t.Errorf("timeout %v, want the interval's 1s", got)
	}
	if got := active("type: tcp, port: 81"); got.Type != "tcp" || got.Port != 81 {
		t.Errorf("got %+v", got)
	}
	if got := active("host: 'a.example:80', path: '/h?x=y'"); got.Host != "a.example:80" || got.Path != "/h?x=y" {
		t.Errorf("got %+v", got)
	}

	expect := func(text string, want ...config.StatusRange) {
		t.Helper()
		if got := active("expect: " + text).Expect; !reflect.DeepEqual(got, want) {
			t.Errorf("expect %s is %v, want %v", text, got, want)
		}
	}
	expect("200-399", config.StatusRange{From: 200, To: 399})
	expect("200", config.StatusRange{From: 200, To: 200})
	expect(`"200, 204,300-399"`, config.StatusRange{From: 200, To: 200}, config.StatusRange{From: 204, To: 204}, config.StatusRange{From: 300, To: 399})
	expect("[200, 204, 300-399]", config.StatusRange{From: 200, To: 200}, config.StatusRange{From: 204, To: 204}, config.StatusRange{From: 300, To: 399})

	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, pool("backends: [], health: {active: {"+keys+"}}"), "active", want...)
	}
	f("timeout: 9s", `.timeout: 9s is longer than the interval 5s; a probe must end before the next starts`)
	f("timeout: 0s, interval: 0s", `.timeout: it must be longer than 0s`, `.interval: it must be longer than 0s`)
	f("fall: 0, rise: 0", `.fall: 0 is less than 1`, `.rise: 0 is less than 1`)
	f("type: udp", `.type: "udp" is not known; known here: http, tcp`)
	f("path: healthz", `.path: "healthz" is not a path from /, with or without a query; such as /healthz`)
	f("path: ''", `.path: "" is not a path from /, with or without a query; such as /healthz`)
	f("method: get", `.method: methods are case-sensitive and nobody sends "get"; write GET`)
	f("method: HEAD, body: ok", `.body: an answer to HEAD has no body to look in; use method GET`)
	f("host: 'a b'", `.host: "a b" is not a host name; one has letters, digits, hyphens and dots (others in their xn-- form)`)
	f("port: 65536", `.port: 65536 is not between 0 and 65535`)
	f("expect: 2xx", `.expect: "2xx" is not a status between 100 and 599, or a range of them; such as 200-399, or 200,204`)
	f("expect: 399-200", `.expect: "399-200" is not a status between 100 and 599, or a range of them; such as 200-399, or 200,204`)
	f("expect: [200, 600]", `.expect[1]: "600" is not a status between 100 and 599, or a range of them; such as 200-399, or 200,204`)
	f("expect: []", `.expect: an empty list: no answer would pass; such as 200-399`)
	f("expect: {}", `.expect: want a status or a range such as 200-399, not a mapping`)
	f("type: tcp, path: /, expect: 200",
		`.path: a tcp check connects and sends nothing; it has no path; use type http, or remove it`,
		`.expect: a tcp check connects and sends nothing; it has no expect; use type http, or remove it`)
	wantProblems(t, pool("backends: [], health: {active: }"), "active", `: a check with nothing in it; write active: {} to probe with the defaults, or remove it`)
}

func TestPassive(t *testing.T) {
	passive := func(keys string) config.Passive {
		t.Helper()
		return parse(t, pool("backends: [], health: {passive: {"+keys+"}}")).Pools[0].Health.Passive
	}
	if got := passive("consecutive_errors: 0, max_ejected: 100"); got.ConsecutiveErrors != 0 || got.MaxEjected != 100 {
		t.Errorf("got %+v", got)
	}
	// one of the two given alone moves the other's default
	if got := passive("ejection: 10m"); got.MaxEjection != 10*time.Minute {
		t.Errorf("max_ejection %v, want 10m", got.MaxEjection)
	}
	if got := passive("max_ejection: 2s"); got.Ejection != 2*time.Second {
		t.Errorf("ejection %v, want 2s", got.Ejection)
	}

	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, pool("backends: [], health: {passive: {"+keys+"}}"), "passive.", want...)
	}
	f("ejection: 2s, max_ejection: 1s", `ejection: 2s is longer than max_ejection 1s; ejections grow from ejection to max_ejection`)
	f("ejection: 0s", `ejection: it must be longer than 0s`)
	f("consecutive_errors: -1", `consecutive_errors: -1 is less than 0`)
	f("max_ejected: 101", `max_ejected: 101 is not between 0 and 100`)
	f("max_ejected: 50%", `max_ejected: "50%" is not a whole number`)
	f("enforce: true", `enforce: unknown key "enforce"; known here: consecutive_errors, ejection, max_ejection, max_ejected`)
}
