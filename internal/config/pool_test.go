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
	f("balance: fastest", `balance: "fastest" is not known; known here: weighted_round_robin, round_robin, random, least_requests, peak_ewma, consistent_hash, first`)
	f("send_proxy_protocol: v3", `send_proxy_protocol: "v3" is not known; did you mean "v1"?`)
	f("send_proxy_protocol: true", `send_proxy_protocol: "true" is not known; known here: off, v1, v2`)
	f("keepalive: {idle_per_backend: -1}", `keepalive.idle_per_backend: -1 is less than 0`)
	f("keepalive: {idle_timeout: 0s}", `keepalive.idle_timeout: it must be longer than 0s`)
	f("limits: {headers: 3}", `limits.headers: headers is decided before the route of a request is known; set it under defaults.limits`)
	f("slow_start: 30", `slow_start: "30" has no unit; write 30s, or 30ms`)
	f("slow_start: -1s", `slow_start: -1s is less than nothing`)
	f("health: {panic_threshold: 101}", `health.panic_threshold: 101 is not between 0 and 100`)
	f("health: {panic: 5}", `health.panic: unknown key "panic"; did you mean "panic_threshold"?`)
	f("name: q", `name: unknown key "name"; known here: balance, hash_key, hash_balance, slow_start, backends, health, adaptive_concurrency, sticky, queue, drain, keepalive, send_proxy_protocol, timeouts, limits`)
}

func TestBalance(t *testing.T) {
	f := func(keys, balance, hashKey string, hashBalance int) {
		t.Helper()
		p := parse(t, pool("backends: [], "+keys)).Pools[0]
		if p.Balance != balance || p.HashKey != hashKey || p.HashBalance != hashBalance {
			t.Errorf("%s is %q by %q within %d", keys, p.Balance, p.HashKey, p.HashBalance)
		}
	}
	for _, balance := range []string{
		"weighted_round_robin", "round_robin", "random", "least_requests", "peak_ewma", "consistent_hash", "first",
	} {
		f("balance: "+balance, balance, "client_ip", 125)
	}
	f("balance: consistent_hash, hash_key: path, hash_balance: 0", "consistent_hash", "path", 0)
	f("balance: consistent_hash, hash_key: header:X-Tenant, hash_balance: 110", "consistent_hash", "header:X-Tenant", 110)
	f("balance: consistent_hash, hash_key: 'cookie:sid', hash_balance: 1000", "consistent_hash", "cookie:sid", 1000)
	f("balance: consistent_hash, hash_key: 'query:a b'", "consistent_hash", "query:a b", 125)
	f("balance: consistent_hash, hash_key: , hash_balance: ", "consistent_hash", "client_ip", 125) // left out

	g := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, pool("backends: [], "+keys), "pools.p.", want...)
	}
	g("balance: consistent_hash, hash_key: ip", `hash_key: "ip" is not known; known here: client_ip, path, header:NAME, cookie:NAME, query:NAME`)
	g("balance: consistent_hash, hash_key: header", `hash_key: "header" is not known; did you mean "header:NAME"?`)
	g("balance: consistent_hash, hash_key: 'cookies:a'", `hash_key: "cookies" is not known; did you mean "cookie"?`)
	g("balance: consistent_hash, hash_key: 'header:a b'", `hash_key: "a b" is not a header name`)
	g("balance: consistent_hash, hash_key: 'query:'", `hash_key: "" is not the name of a query parameter; such as query:id`)
	g("balance: consistent_hash, hash_balance: 109", `hash_balance: 109 is not between 110 and 1000; 0 is no bound`)
	g("balance: consistent_hash, hash_balance: 1001", `hash_balance: 1001 is not between 0 and 1000`)
	g("balance: consistent_hash, hash_balance: 1.25", `hash_balance: "1.25" is not a whole number`)

	// a key that nobody looks at
	g("hash_key: path", `hash_key: weighted_round_robin does not look at keys; it has no hash_key; use balance: consistent_hash, or remove it`)
	g("balance: random, hash_key: client_ip, hash_balance: 0",
		`hash_key: random does not look at keys; it has no hash_key; use balance: consistent_hash, or remove it`,
		`hash_balance: random does not look at keys; it has no hash_balance; use balance: consistent_hash, or remove it`)
	// unless the word may have been meant to be the one that does
	g("balance: consistent-hash, hash_key: path", `balance: "consistent-hash" is not known; did you mean "consistent_hash"?`)
}

func TestSlowStartAndPanic(t *testing.T) {
	p := parse(t, pool("backends: [], slow_start: 30s, health: {panic_threshold: 7}")).Pools[0]
	if p.SlowStart != 30*time.Second || p.Health.PanicThreshold != 7 {
		t.Errorf("pool %+v", p)
	}
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

func TestPassive(t *testing.T) {
	passive := func(keys string) config.Passive {
		t.Helper()
		return parse(t, pool("backends: [], health: {passive: {"+keys+"}}")).Pools[0].Health.Passive
	}
	if got := passive("consecutive_errors: 0, max_ejected: 100"); got.ConsecutiveErrors != 0 || got.MaxEjected != 100 {
		t.Errorf("got %+v", got)
	}
	if got := passive("enforce: false, half_open: false"); got.Enforce || got.HalfOpen {
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
	f("enforce: off", `enforce: "off" is neither true nor false; write true or false`)
	f("half_open: 1", `half_open: "1" is neither true nor false; write true or false`)
	f("count: [timeouts, 404]",
		`count[0]: "timeouts" is not known; did you mean "timeout"?`,
		`count[1]: 404 is not a status between 500 and 599`)
	f("success_rate: {enabled: yes, deviations: 0, min_backends: 2, min_requests: 0, interval: 1h}",
		`success_rate.enabled: "yes" is neither true nor false; write true or false`,
		`success_rate.deviations: 0 is not between 0.1 and 10`,
		`success_rate.min_backends: 2 is less than 3`,
		`success_rate.min_requests: 0 is less than 1`,
		`success_rate.interval: 1h0m0s is not between 1s and 5m0s`)
	f("success_rate: {deviations: NaN}", `success_rate.deviations: NaN is not between 0.1 and 10`)
	f("errors: 3", `errors: unknown key "errors"; known here: enforce, consecutive_errors, ejection, max_ejection, max_ejected, half_open, count, success_rate`)
}

func TestHeartbeatAndLoad(t *testing.T) {
	got := parse(t, pool("backends: [], health: {heartbeat: {ttl: 10s}, load_header: X-Load}")).Pools[0].Health
	if got.Heartbeat.TTL != 10*time.Second || got.LoadHeader != "X-Load" {
		t.Errorf("got %+v", got)
	}
	wantProblems(t, pool("backends: [], health: {heartbeat: {ttl: 10ms}, load_header: 'X Load'}"), "pools.p.health.",
		`heartbeat.ttl: 10ms is shorter than 1s; 0s is none`,
		`load_header: "X Load" is not a header name`)
}

func TestStickyQueueDrain(t *testing.T) {
	got := parse(t, pool("backends: [], adaptive_concurrency: true, sticky: {cookie: s, ttl: 1h, secret_file: key}, queue: {size: 1024, timeout: 1s}, drain: {timeout: 0s}")).Pools[0]
	if got.Sticky != (config.Sticky{Cookie: "s", TTL: time.Hour, SecretFile: "key"}) || got.Queue != (config.Queue{Size: 1024, Timeout: time.Second}) ||
		got.Drain.Timeout != 0 || !got.AdaptiveConcurrency {
		t.Errorf("got %+v", got)
	}
	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, pool("backends: [], "+keys), "pools.p.", want...)
	}
	f("sticky: {ttl: 1h}", `sticky.ttl: there is no cookie that it is for; name the cookie, such as cookie: weir`)
	f("sticky: {secret_file: key}", `sticky.secret_file: there is no cookie that it is for; name the cookie, such as cookie: weir`)
	f("sticky: {cookie: 'a;b'}", `sticky.cookie: "a;b" is not a cookie name`)
	f("queue: {size: 1000001, timeout: 0s}",
		`queue.size: 1000001 is not between 0 and 1000000`, `queue.timeout: it must be longer than 0s`)
	f("drain: {timeout: -1s}", `drain.timeout: -1s is less than nothing`)
}
