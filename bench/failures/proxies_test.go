package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/config"
)

// setups is all that the scenarios use.
func setups() []setup {
	o := options{response: time.Second}
	all := o.oneSetups()
	for _, c := range o.contestants() {
		all = append(all, c.setup)
	}
	return append(all, setup{Name: "policy", Response: response, Balance: byLoad})
}

// Weir takes each of its configurations.
func TestWeirConfigurations(t *testing.T) {
	weir := proxies[0]
	fill := strings.NewReplacer("LISTEN", "127.0.0.1:8080", "DIR", t.TempDir())
	parse := func(s setup) {
		t.Helper()
		text, err := weir.fill(s, []string{"127.0.0.1:1", "127.0.0.1:2"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse("weir.yaml", []byte(fill.Replace(text)), nil); err != nil {
			t.Errorf("%s: %v\n%s", s.Name, err, text)
		}
	}
	for _, s := range setups() {
		parse(s)
	}
	for _, p := range policies {
		if p.proxy == weir.name {
			parse(setup{Name: p.balance, Response: response, Balance: map[string]string{p.proxy: p.balance}})
		}
	}
}

// What is the same for all is there in everybody's words.
func TestSameForAll(t *testing.T) {
	f := func(s setup, want ...string) {
		t.Helper()
		for i, p := range proxies {
			text, err := p.fill(s, []string{"127.0.0.1:1", "127.0.0.1:2"})
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range strings.Split(want[i], "|") {
				if !strings.Contains(text, part) {
					t.Errorf("%s lacks %q:\n%s", p.name, part, text)
				}
			}
		}
	}
	f(setup{Response: response},
		"connect: 3000ms, response: 1m0s|127.0.0.1:2",
		"proxy_connect_timeout 3000ms; proxy_read_timeout 60000ms;|server 127.0.0.1:2;",
		"timeout connect 3000ms|timeout server 60000ms|server b1 127.0.0.1:2")
	f(setup{Response: time.Second, Tuned: true, Checks: time.Second, Balance: byLoad},
		`response: 1s|on: [connect, reset, timeout, "500"]|balance: peak_ewma|interval: 1s`,
		"proxy_read_timeout 1000ms;|proxy_next_upstream error timeout http_500;|least_conn;",
		"timeout server 1000ms|response-timeout 500|balance leastconn|check inter 1000ms fastinter 1s fall 3 rise 2 observe layer7")
	f(setup{Response: response, Checks: time.Second, SlowStart: 5 * time.Second, Counted: true, Queue: 100, Most: 8},
		"slow_start: 5s|queue: {size: 100, timeout: 5s}|127.0.0.1:2\", max_requests: 8}",
		"access_log DIR/attempts attempts;",
		"slowstart 5000ms")
}

// The policies are spread over all proxies, and the slow one's rate is what the
// comment says.
func TestPolicies(t *testing.T) {
	for _, p := range proxies {
		if !slices.ContainsFunc(policies, func(q struct{ proxy, balance string }) bool { return q.proxy == p.name }) {
			t.Errorf("no policy of %s", p.name)
		}
	}
	// nine with 200/s and one with 20/s
	if rate := slowRate(); rate != 0.7*1820 {
		t.Errorf("%g/s, want 1274", rate)
	}
}
