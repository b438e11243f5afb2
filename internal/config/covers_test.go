package config_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/internal/config"
)

func TestCovers(t *testing.T) {
	match := func(s string) *config.Match {
		src := "listeners: [{name: web, address: ':1', routes: [{match: {" + s + "}, respond: {status: 200}}]}]"
		return &parse(t, src).Listeners[0].Routes[0].Match
	}
	yes := func(m, o string) {
		t.Helper()
		if !match(m).Covers(match(o)) {
			t.Errorf("{%s} covers {%s}, and it was not seen", m, o)
		}
	}
	no := func(m, o string) {
		t.Helper()
		if match(m).Covers(match(o)) {
			t.Errorf("{%s} does not cover {%s}", m, o)
		}
	}
	// everything
	yes("", "")
	yes("", "hosts: [a.com], path: /x, methods: [GET]")
	yes("path: /", "path_regex: .*")
	yes("path_regex: .*", "")
	yes("path_regex: ^", "path: /x")
	yes("path_regex: '^/?'", "")
	no("path_regex: '^.*$'", "") // a line's end is no text's end
	no("path_regex: '.'", "")

	// hosts
	yes("hosts: [a.com, b.com]", "hosts: [b.com]")
	yes("hosts: ['*.com']", "hosts: [a.com, '*.b.com', '*.com']")
	no("hosts: [a.com]", "hosts: [a.com, b.com]")
	no("hosts: ['*.a.com']", "hosts: [a.com]")
	no("hosts: ['*.a.com']", "hosts: [ba.com, '*.com']")
	no("hosts: [a.com]", "")

	// paths
	yes("path: /v1", "path: /v1/")
	yes("path: /v1/", "path: /v1/x, methods: [GET]")
	yes("path: /v1", "path_exact: /v1")
	yes("path: /v1", "path_exact: /v1/x/")
	yes("path: /v1", "path_regex: '^/v1/[0-9]+$'")
	yes("path_exact: /v1", "path_exact: /v1")
	no("path: /v1", "path: /v1x")
	no("path: /v1/x", "path: /v1")
	no("path: /v1", "path_regex: ^/v1")
	no("path: /v1", "path_regex: /v1/")
	no("path: /v1", "path_regex: '(?i)^/v1/x'")
	no("path: /v1", "path_regex: ^/v1/a|b")
	no("path_exact: /v1", "path: /v1")
	no("path_exact: /v1", "path_exact: /v1/")

	// expressions
	yes("path_regex: '[0-9]'", "path_regex: '[0-9]'")
	yes("path_regex: ^/v1", "path_exact: /v1x")
	yes("path_regex: ^/v1", "path: /v1/x")
	yes("path_regex: ^/v1.*", "path: /v1x")
	yes("path_regex: ^/v1", "path_regex: ^/v1/a")
	no("path_regex: ^/v1/", "path: /v1")
	no("path_regex: '[0-9]'", "path: /x1")
	no("path_regex: '[0-9]'", "path_exact: /x1") // it does; expressions are not run
	no("path_regex: ^/v1$", "path: /v1")

	// the rest
	yes("methods: [GET, POST]", "methods: [GET]")
	no("methods: [GET]", "methods: [GET, POST]")
	no("methods: [GET]", "")
	yes("headers: {X-A: '*'}", "headers: {x-a: b, x-c: d}")
	yes("query: {a: b}", "query: {a: b}")
	no("headers: {X-A: a}", "headers: {X-A: '*'}")
	no("query: {a: b}", "query: {A: b}")
	no("headers: {X-A: a}", "")
	yes("client_ips: [10.0.0.0/8, 11.0.0.0/8]", "client_ips: [10.1.0.0/16, 11.1.1.1]")
	no("client_ips: [10.1.0.0/16]", "client_ips: [10.0.0.0/8]")
	no("client_ips: [0.0.0.0/0, '::/0']", "")
}

// Shadowed finds what asking every earlier route finds.
func TestShadowed(t *testing.T) {
	matches := []string{
		"hosts: ['*.com'], path: /a", "path_regex: ^/b", "hosts: [x.a.com], path: /a/b/c", "path_exact: /a/b", "path: /b/c",
		"hosts: ['*.a.com'], path: /a/b", "path_regex: ^/b/x$", "hosts: [b.org]", "hosts: [b.org, x.com], path: /a", "hosts: [b.org], methods: [GET]",
		"path: /a, methods: [GET]", "path: /a/x, methods: [GET]", "hosts: [x.com], path_exact: /a", "path_regex: .*", "hosts: [late.com]",
	}
	var b strings.Builder
	b.WriteString("listeners:\n  - name: web\n    address: ':1'\n    routes:\n")
	for _, m := range matches {
		fmt.Fprintf(&b, "      - {match: {%s}, respond: {status: 200}}\n", m)
	}
	l := &parse(t, b.String()).Listeners[0]
	got := l.Shadowed()
	for i := range l.Routes {
		want, hidden := -1, false
		for k := 0; k < i && !hidden; k++ {
			if hidden = l.Routes[k].Match.Covers(&l.Routes[i].Match); hidden {
				want = k
			}
		}
		if by, ok := got[i]; ok != hidden || ok && by != want {
			t.Errorf("{%s}: shadowed %v by %d, want %v by %d", matches[i], ok, by, hidden, want)
		}
	}
	if len(got) < 7 {
		t.Errorf("only %v are shadowed", got)
	}
}
