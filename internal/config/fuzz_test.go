package config_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/internal/config"
)

// Whatever the text, Parse comes back, and what it accepts can be relied on.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte(smallest))
	f.Add([]byte(route("pool: api, match: {hosts: ['*.a.example'], headers: {A: b}, client_ips: [::1]}, rewrite: {path_regex: (a), path_replace: $1}")))
	f.Add([]byte(route("redirect: {to: /x}, request_headers: {set: {A: '${HOST}'}, remove: [B]}, timeouts: {request: 1s}")))
	f.Add([]byte(pool("backends: [{address: 'unix:/a', weight: 0}, {address: '[::1]:1'}], health: {active: {expect: '200,300-399'}}")))
	f.Add([]byte(route("pool: api, rate_limit: {requests_per_second: 0.5, key: 'header:A'}, basic_auth: {users_file: u}, upgrades: [websocket], allow: [::1]")))
	f.Add([]byte(route("pool: api, retries: {attempts: 2, on: [connect, timeout, 503], budget: 0, per_try_timeout: 1s, back_off: 0s}")))
	f.Add([]byte(pool("backends: [], balance: consistent_hash, hash_key: 'query:a', hash_balance: 0, health: {active: {type: exec, argv: [a]}}")))
	f.Add([]byte(pool("backends: [], slow_start: 1s, health: {panic_threshold: 0, active: {type: agent, port: 1, path: /}}")))
	f.Add([]byte("defaults: {path_handling: raw}\n" + listener("address: ':1', proxy_protocol: off, path_handling: reject")))
	f.Add([]byte("a: &a {<<: *a}\n---\nb: [*a"))
	f.Add([]byte("listeners:\n\t- 'x"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := config.Parse("f", src, env)
		if err != nil {
			var ps config.Problems
			if !errors.As(err, &ps) || len(ps) == 0 || c != nil {
				t.Fatalf("got %v, %v", c, err)
			}
			checkProblems(t, ps)
			return
		}
		if len(c.Listeners) == 0 || c.History.Keep < 2 {
			t.Errorf("accepted %+v", c)
		}
		for _, l := range c.Listeners {
			checkListener(t, c, l)
		}
		for _, p := range c.Pools {
			checkPool(t, c, p)
		}
	})
}

func checkProblems(t *testing.T, ps config.Problems) {
	t.Helper()
	for i, p := range ps {
		if p.File != "f" || p.Message == "" || p.Line < 0 {
			t.Errorf("problem %+v", p)
		}
		if i > 0 && p.Line != 0 && p.Line < ps[i-1].Line {
			t.Errorf("line %d after %d", p.Line, ps[i-1].Line)
		}
	}
}

func checkListener(t *testing.T, c *config.Config, l config.Listener) {
	t.Helper()
	if l.Name == "" || l.Address == "" || l.Protocol != "http" || !slices.Contains([]string{"off", "accept", "require"}, l.ProxyProtocol) {
		t.Errorf("listener %+v", l)
	}
	seen := map[string]bool{}
	for _, r := range l.Routes {
		if r.Name == "" || seen[r.Name] {
			t.Errorf("route name %q", r.Name)
		}
		seen[r.Name] = true
		actions := 0
		for _, set := range []bool{r.Pool != "", r.Redirect != nil, r.Respond != nil} {
			if set {
				actions++
			}
		}
		if actions != 1 || r.Pool != "" && c.Pool(r.Pool) == nil {
			t.Errorf("route %s: pool %q, redirect %v, respond %v", r.Name, r.Pool, r.Redirect, r.Respond)
		}
		if r.Limits.HeaderBytes != c.Defaults.Limits.HeaderBytes || r.Timeouts.ClientIdle != c.Defaults.Timeouts.ClientIdle {
			t.Errorf("route %s has its own early limits", r.Name)
		}
		checkAccess(t, r)
		if b := r.Retries; b.Attempts < 0 || b.Budget < 0 || b.Budget > 100 || b.BackOff < 0 || b.PerTryTimeout < 0 || slices.Contains(b.On, "") {
			t.Errorf("route %s: %+v", r.Name, b)
		}
		for _, re := range []string{r.Match.PathRegex, r.Rewrite.PathRegex} {
			regexp.MustCompile(re)
		}
		rules := slices.Concat(r.RequestHeaders.Set, r.RequestHeaders.Add, r.ResponseHeaders.Set, r.ResponseHeaders.Add, r.Match.Headers)
		for _, h := range rules {
			if h.Name == "" || strings.ContainsAny(h.Name+h.Value, "\r\n\x00") {
				t.Errorf("header %q", h)
			}
		}
	}
}

func checkAccess(t *testing.T, r config.Route) {
	t.Helper()
	if l := r.RateLimit; l.RequestsPerSecond != 0 && (!(l.RequestsPerSecond > 0 && l.RequestsPerSecond <= 1e6) || l.Burst < 1) ||
		l.RequestsPerSecond == 0 && l.Burst != 0 || l.Key == "" {
		t.Errorf("route %s: %+v", r.Name, l)
	}
	if a := r.BasicAuth; (a.UsersFile == "") != (a.Realm == "") || strings.ContainsAny(a.Realm, "\"\\\r\n\x00") {
		t.Errorf("route %s: %+v", r.Name, a)
	}
	if slices.Contains(r.Match.Methods, "CONNECT") || slices.Contains(r.Upgrades, "h2c") || slices.Contains(r.Upgrades, "") {
		t.Errorf("route %s: methods %q, upgrades %q", r.Name, r.Match.Methods, r.Upgrades)
	}
	rewritten := r.Rewrite.StripPrefix+r.Rewrite.AddPrefix+r.Rewrite.PathRegex != ""
	if !slices.Contains([]string{"normalize", "reject", "raw"}, r.PathHandling) || rewritten && r.PathHandling == "raw" {
		t.Errorf("route %s: path_handling %q, %+v", r.Name, r.PathHandling, r.Rewrite)
	}
}

func checkPool(t *testing.T, c *config.Config, p config.Pool) {
	t.Helper()
	if got := c.Pool(p.Name); got == nil || got.Name != p.Name {
		t.Errorf("pool %q is not found", p.Name)
	}
	weight := 0
	seen := map[string]bool{}
	for _, b := range p.Backends {
		weight += b.Weight
		if b.Address == "" || seen[b.Address] || b.Weight < 0 || b.Tier < 0 || b.MaxRequests < 0 {
			t.Errorf("backend %+v", b)
		}
		seen[b.Address] = true
	}
	if weight == 0 && len(p.Backends) > 0 {
		t.Errorf("pool %s: no weight", p.Name)
	}
	if h := p.Health.Passive; h.Ejection <= 0 || h.Ejection > h.MaxEjection || h.MaxEjected > 100 {
		t.Errorf("passive %+v", h)
	}
	if p.HashKey == "" || p.HashBalance != 0 && (p.HashBalance < 110 || p.HashBalance > 1000) || p.SlowStart < 0 || p.Health.PanicThreshold > 100 {
		t.Errorf("pool %+v", p)
	}
	if a := p.Health.Active; a != nil {
		checkActive(t, *a)
	}
}

func checkActive(t *testing.T, a config.Active) {
	t.Helper()
	if a.Timeout <= 0 || a.Timeout > a.Interval || a.Fall < 1 || a.Rise < 1 || a.DownInterval != 0 && a.DownInterval < a.Interval {
		t.Errorf("active %+v", a)
	}
	is := func(kind string, has bool) bool { return (a.Type == kind) == has }
	if !is("http", len(a.Expect) > 0) || !is("http", a.Method != "") || !is("exec", len(a.Argv) > 0) ||
		a.Type == "agent" && a.Port == 0 || a.Type == "exec" && (a.Port != 0 || a.Argv[0] == "") {
		t.Errorf("active %+v", a)
	}
	if a.Payload != "" && (a.Method == "GET" || a.Method == "HEAD") {
		t.Errorf("active %+v", a)
	}
}
