package config_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/internal/config"
)

// lint is what is found in src.
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

const both = "    backends:\n" + `      - {address: "127.0.0.1:9001"}` + "\n" + alone

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
	{"pool-empty", both, "    backends: []\n", "pools.app.backends", `every request of "web/one", "web/rest" is answered 503`, ""},
	{"queue-outlasts-request", "    balance:", "    queue: {size: 5, timeout: 9s}\n    timeouts: {request: 5s}\n    balance:", "pools.app.queue.timeout", "after 5s", "    queue: {size: 5, timeout: 2s}\n    timeouts: {request: 5s}\n    balance:"},
	{"queue-never-used", both, "    queue: {size: 5}\n    backends: [{address: '127.0.0.1:1', max_requests: 0}, {address: '127.0.0.1:2', max_requests: 0}]\n",
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

// Each code has a case above and a section in docs/lint.md, which has no others
// but those of weir plan.
func TestLintCodes(t *testing.T) {
	page, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(page), "\n## What weir plan finds")
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^### (.*)$").FindAllStringSubmatch(text, -1) {
		documented = append(documented, m[1])
	}
	for _, code := range config.LintCodes() {
		if !slices.ContainsFunc(lintCases, func(c lintCase) bool { return c.code == code }) {
			t.Errorf("%s has no test", code)
		}
		if !slices.Contains(documented, code) {
			t.Errorf("%s is not in docs/lint.md", code)
		}
	}
	for _, code := range documented {
		if !slices.Contains(config.LintCodes(), code) {
			t.Errorf("docs/lint.md has %s, which is no code", code)
		}
	}
}

// The example of a configuration is an example of one without warnings.
func TestLintFindsNothingInTheExample(t *testing.T) {
	src, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if found := lint(t, string(src)); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	if found := lint(t, smallest); len(found) > 0 {
		t.Errorf("in the smallest: %v", found)
	}
}

// One cause is one finding: all routes behind a catch-all, and what several take
// over from one place.
func TestLintTellsACauseOnce(t *testing.T) {
	routes := "      - {name: all, pool: app}\n"
	for i := range 7 {
		routes += fmt.Sprintf("      - {name: r%d, match: {path: /%d}, pool: app}\n", i, i)
	}
	found := lint(t, strings.Replace(lintBase, "      - {name: rest, pool: app}\n", routes, 1))
	if len(found) != 1 || !strings.Contains(found[0].Message, `"r3", "r4" and 2 more match`) || found[0].Line != 8 {
		t.Errorf("behind a catch-all: %v", found)
	}
	found = lint(t, strings.Replace(lintBase, "      - "+one+"\n      - {name: rest, pool: app}\n",
		"      - {name: one, match: {path: /one}, pool: app, retries: &r {per_try_timeout: 90s}}\n      - {name: rest, pool: app, retries: *r}\n", 1))
	if len(found) != 1 || found[0].Code != "per-try-timeout-unused" || found[0].Line != 6 {
		t.Errorf("through an alias: %v", found)
	}
}

// A change is told of what it brings, not of what was there, wherever that is now.
func TestIntroduced(t *testing.T) {
	old := strings.Replace(lintBase, "path: /one}", "path_regex: /one}", 1)
	new := strings.Replace(old, "      - {name: one", "      - {name: two, match: {path_regex: /two}, pool: app}\n      - {name: one", 1)
	found := config.Introduced("next.yaml", []byte(old), parse(t, old), []byte(new), parse(t, new))
	if len(found) != 1 || found[0].Path != "listeners[0].routes[0].match.path_regex" || found[0].Line != 6 || found[0].File != "next.yaml" {
		t.Errorf("found %v", found)
	}
	if found := config.Introduced("x", []byte(new), parse(t, new), []byte(old), parse(t, old)); len(found) > 0 {
		t.Errorf("on the way back: %v", found)
	}
}

// Names that are not secrets, and secrets that are not in the file.
func TestLintSecrets(t *testing.T) {
	f := func(header, value string, want int) {
		t.Helper()
		src := strings.Replace(lintBase, "path: /one}", fmt.Sprintf("path: /one}, request_headers: {add: {%s: %q}}", header, value), 1)
		found := lint(t, src)
		if len(found) != want {
			t.Errorf("%s: %s: found %v, want %d", header, value, found, want)
		}
		for _, x := range found {
			if strings.Contains(x.String(), value) {
				t.Errorf("the secret is told: %s", x)
			}
		}
	}
	f("Authorization", "Basic aHVudGVyMg==", 1)
	f("cookie", "session=hunter2", 1)
	f("X-Gitlab-Token", "hunter2", 1)
	f("X-Api-Key", "hun$${TER2", 1) // no variable: the characters themselves
	f("X-Api-Key", "pre-${WEIGHT}", 0)
	f("X-Api-Key", "", 0)
	f("X-Token-Type", "jwt", 0)
	f("Accept", "text/plain", 0)
}

// large is a configuration of 5,000 routes and 10,000 backends.
func large() string {
	var b strings.Builder
	b.WriteString("listeners:\n  - name: web\n    address: ':1'\n    routes:\n")
	for i := range 5000 {
		path := fmt.Sprintf("hosts: [h%d.example.com], path: /a/b%d", i%1000, i)
		if i%2 == 0 {
			path = fmt.Sprintf("path_regex: '^/a%d/x[0-9]'", i)
		}
		fmt.Fprintf(&b, "      - {name: r%d, match: {%s}, pool: p%d}\n", i, path, i%1000)
	}
	b.WriteString("pools:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  p%d:\n    backends:\n", i)
		for k := range 10 {
			fmt.Fprintf(&b, "      - {address: '10.%d.%d.%d:80'}\n", i/250, i%250, k)
		}
	}
	return b.String()
}

func BenchmarkLint(b *testing.B) {
	src := []byte(large())
	c, err := config.Parse("weir.yaml", src, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if found := config.Lint("weir.yaml", src, c); len(found) > 0 {
			b.Fatal(found)
		}
	}
}
