package config_test

import (
	"strings"
	"testing"

	"weir/internal/config"
)

// lint is what is found in src, as "line:column code path" lines with the message
// behind them.
func lint(t *testing.T, src string) []config.Finding {
	t.Helper()
	return config.Lint("weir.yaml", []byte(src), parse(t, src))
}

// lintCase is a configuration with one thing in it that is hardly meant, and the
// same with that put right.
type lintCase struct {
	code      string
	old, with string // in lintBase
	at        string // path of the finding
	says      string // in its message or fix
	better    string // instead of with: then nothing is found
}

const lintBase = `
listeners:
  - name: web
    address: ":8080"
    routes:
      - {name: one, match: {path: /one}, pool: app}
      - {name: rest, pool: app}
pools:
  app:
    balance: weighted_round_robin
    backends:
      - {address: "127.0.0.1:9001"}
      - {address: "127.0.0.1:9002"}
`

const one = "{name: one, match: {path: /one}, pool: app}"

const alone = `      - {address: "127.0.0.1:9002"}` + "\n"

var lintCases = []lintCase{
	{"unreachable-route", one, "{name: one, pool: app}", "listeners[0].routes[1]", `route "one" comes first and matches whatever this route matches`, one},
	{"regex-unanchored", "path: /one", "path_regex: /one/.*", "listeners[0].routes[0].match.path_regex", "write ^/one/.*", "path_regex: ^/one/"},
	{"retries-outlast-request", "path: /one}", "path: /one}, retries: {attempts: 1, on: [timeout], per_try_timeout: 3s}, timeouts: {request: 5s}",
		"listeners[0].routes[0].retries.attempts", "2 attempts of 3s each take longer than timeouts.request, 5s",
		"path: /one}, retries: {attempts: 1, on: [timeout], per_try_timeout: 2s}, timeouts: {request: 5s}"},
	{"retries-exceed-backends", "path: /one}", "path: /one}, retries: {attempts: 3}", "listeners[0].routes[0].retries.attempts", "2 backends", "path: /one}, retries: {attempts: 1}"},
	{"per-try-timeout-unused", "path: /one}", "path: /one}, retries: {per_try_timeout: 60s}", "listeners[0].routes[0].retries.per_try_timeout", "timeouts.response", "path: /one}, retries: {per_try_timeout: 5s}"},
	{"per-try-timeout-unused", "path: /one}", "path: /one}, retries: {per_try_timeout: 5s}, timeouts: {request: 5s}", "listeners[0].routes[0].retries.per_try_timeout", "timeouts.request", "path: /one}, retries: {per_try_timeout: 5s}, timeouts: {request: 15s}"},
	{"hedge-never", "path: /one}", "path: /one}, hedge: {after: 5s}, timeouts: {request: 5s}", "listeners[0].routes[0].hedge.after", "timeouts.request", "path: /one}, hedge: {after: p95}, timeouts: {request: 5s}"},
	{"hedge-never", "path: /one}", "path: /one}, hedge: {after: 90s}", "listeners[0].routes[0].hedge.after", "timeouts.response", "path: /one}, hedge: {after: 50ms}"},
	{"circuit-breaker-off", "path: /one}", "path: /one}, circuit_breaker: {open: 9s}", "listeners[0].routes[0].circuit_breaker", "error_share", "path: /one}, circuit_breaker: {open: 9s, error_share: 50}"},
	{"circuit-breaker-off", "path: /one}", "path: /one}, circuit_breaker: {open: 9s}", "listeners[0].routes[0].circuit_breaker", "error_share", "path: /one}, circuit_breaker: {open: 9s, error_share: 0}"},
	{"contradicting-networks", "path: /one}", "path: /one}, allow: [10.1.0.0/16, 10.2.0.0/16], deny: [10.1.0.0/16]", "listeners[0].routes[0].allow", "10.1.0.0/16 can never come in", "path: /one}, allow: [10.0.0.0/8], deny: [10.1.0.0/16]"},
	{"contradicting-networks", "path: /one}", "path: /one, client_ips: [10.1.0.0/16]}, allow: [10.2.0.0/16]", "listeners[0].routes[0].allow", "nobody", "path: /one, client_ips: [10.0.0.0/8]}, allow: [10.2.0.0/16]"},
	{"contradicting-networks", "path: /one}", "path: /one, client_ips: [10.1.0.0/16]}, deny: [10.0.0.0/8]", "listeners[0].routes[0].deny", "everybody", "path: /one, client_ips: [10.0.0.0/8]}, deny: [10.1.0.0/16]"},
	{"rate-limit-by-forwarded", "path: /one}", "path: /one}, rate_limit: {requests_per_second: 5, key: 'header:X-Forwarded-For'}", "listeners[0].routes[0].rate_limit.key", "client_ip", "path: /one}, rate_limit: {requests_per_second: 5, key: 'header:X-Tenant'}"},
	{"pool-unused", "pools:\n", "pools:\n  spare: {backends: [{address: '127.0.0.1:1'}]}\n", "pools.spare", "no route leads to it", "pools:\n  spare: {backends: []}\n"},
	{"pool-empty", "pools:\n", "pools:\n  app: {backends: []}\n  was:\n    backends: [{address: '127.0.0.1:1'}]\n  ap2:\n", "pools.app.backends", "503", ""},
	{"queue-outlasts-request", "    balance:", "    queue: {size: 5, timeout: 9s}\n    timeouts: {request: 5s}\n    balance:", "pools.app.queue.timeout", "after 5s", "    queue: {size: 5, timeout: 2s}\n    timeouts: {request: 5s}\n    balance:"},
	{"queue-never-used", "    backends:\n" + `      - {address: "127.0.0.1:9001"}` + "\n" + alone, "    queue: {size: 5}\n    backends: [{address: '127.0.0.1:1', max_requests: 0}, {address: '127.0.0.1:2', max_requests: 0}]\n",
		"pools.app.queue", "max_requests", "    queue: {size: 5}\n    backends: [{address: '127.0.0.1:1', max_requests: 9}, {address: '127.0.0.1:2', max_requests: 0}]\n"},
	{"ejects-nobody", alone, "    health: {passive: {consecutive_errors: 3}}\n", "pools.app.health.passive", "one backend", ""},
	{"ejects-nobody", alone, alone + "    health: {passive: {max_ejected: 0}}\n", "pools.app.health.passive.max_ejected", "0 percent", alone + "    health: {passive: {enforce: false, max_ejected: 0}}\n"},
	{"success-rate-never", alone, alone + "    health: {passive: {success_rate: {enabled: true, min_backends: 3}}}\n", "pools.app.health.passive.success_rate.min_backends", "3 backends are wanted, and the pool has 2", alone},
	{"panic-of-one", alone, "    health: {active: {}, panic_threshold: 20}\n", "pools.app.health.panic_threshold", "set 0", "    health: {active: {}, panic_threshold: 0}\n"},
	{"weights-ignored", alone + "", `      - {address: "127.0.0.1:9002", weight: 5}` + "\n", "pools.app.balance", "round_robin does not look at weights", alone},
	{"slow-start-ignored", "    balance: weighted_round_robin", "    balance: first\n    slow_start: 9s", "pools.app.slow_start", "order", "    slow_start: 9s"},
	{"slow-start-ignored", alone, "    slow_start: 9s\n", "pools.app.slow_start", "one backend", ""},
	{"keepalive-too-long", "    balance:", "    keepalive: {idle_timeout: 60s}\n    balance:", "pools.app.keepalive.idle_timeout", "60s", "    keepalive: {idle_timeout: 50s}\n    balance:"},
	{"plaintext-secret", "path: /one}", "path: /one}, request_headers: {set: {X-Api-Key: hunter2}}", "listeners[0].routes[0].request_headers.set.X-Api-Key", "${API_KEY}", "path: /one}, request_headers: {set: {X-Api-Key: '${HOST}'}}"},
	{"plaintext-secret", "path: /one}", "path: /one, headers: {X_Auth_Token: hunter2}}", "listeners[0].routes[0].match.headers.X_Auth_Token", "${AUTH_TOKEN}", "path: /one, headers: {X_Auth_Token: '*'}}"},
	{"plaintext-secret", alone, alone + "    health: {active: {headers: {Authorization: Bearer hunter2}}}\n", "pools.app.health.active.headers.Authorization", "${AUTHORIZATION}", alone + "    health: {active: {headers: {Authorization: 'Bearer ${HOST}'}}}\n"},
	{"admin-exposed", "listeners:", "admin: {address: ':9900', token_file: t}\nlisteners:", "admin.address", "every address", "admin: {address: '10.0.0.1:9900', token_file: t}\nlisteners:"},
	{"trusts-everybody", `address: ":8080"`, `address: ":8080"` + "\n    trusted_proxies: [10.0.0.0/8, '::/0']", "listeners[0].trusted_proxies", "::/0 is everybody", `address: "127.0.0.1:8080"` + "\n    trusted_proxies: ['::/0']"},
	{"proxy-protocol-from-nobody", `address: ":8080"`, `address: ":8080"` + "\n    proxy_protocol: require", "listeners[0].proxy_protocol", "every connection is refused", `address: ":8080"` + "\n    proxy_protocol: require\n    trusted_proxies: [10.0.0.0/8]"},
}

// source is the base with one thing put in place of another.
func (c lintCase) source(t *testing.T, with string) string {
	t.Helper()
	base := lintBase
	if c.code == "weights-ignored" {
		base = strings.Replace(base, "weighted_round_robin", "round_robin", 1)
	}
	if !strings.Contains(base, c.old) {
		t.Fatalf("%s: %q is not in the base", c.code, c.old)
	}
	return strings.Replace(base, c.old, with, 1)
}

func TestLint(t *testing.T) {
	if found := lint(t, lintBase); len(found) > 0 {
		t.Fatalf("in the base: %v", found)
	}
	for _, c := range lintCases {
		if c.code == "pool-empty" {
			continue // its own test
		}
		found := lint(t, c.source(t, c.with))
		if len(found) != 1 || found[0].Code != c.code || found[0].Path != c.at || found[0].Severity != "warning" ||
			!strings.Contains(found[0].Message+found[0].Fix, c.says) {
			t.Errorf("%s: found %v, want one at %s that says %q", c.code, found, c.at, c.says)
			continue
		}
		if f := found[0]; f.Line < 2 || !strings.HasSuffix(f.String(), "["+c.code+"]") {
			t.Errorf("%s: %s", c.code, f)
		}
		if c.better == "" {
			continue
		}
		if found := lint(t, c.source(t, c.better)); len(found) > 0 {
			t.Errorf("%s, put right: found %v", c.code, found)
		}
	}
}
