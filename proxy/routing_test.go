package proxy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"weir/internal/testkit"
)

// Each route says who it is; the first that matches answers.
func TestRouting(t *testing.T) {
	f := routed(t, `
    {name: a, match: {path_exact: /exact}, respond: {body: exact}},
    {name: b, match: {path_regex: "^/re/[0-9]+$"}, respond: {body: regex}},
    {name: c, match: {hosts: [one.example]}, respond: {body: host}},
    {name: d, match: {hosts: ["*.one.example"]}, respond: {body: wild}},
    {name: e, match: {path: /pre}, respond: {body: prefix}},
    {name: f, match: {path: /only, methods: [PUT, DELETE]}, respond: {body: methods}},
    {name: g, match: {path: /only, headers: {X-Kind: v, X-Any: "*"}}, respond: {body: headers}},
    {name: h, match: {path: /only, query: {k: v, any: "*"}}, respond: {body: query}},
    {name: i, match: {path: /only, client_ips: [10.0.0.0/8]}, respond: {body: elsewhere}},
    {name: j, match: {path: /only, client_ips: [127.0.0.0/8]}, respond: {body: here}}`)

	f("GET /exact", "exact")
	f("GET /exact?x", "exact")
	f("GET /exact/", "")
	f("GET /re/12", "regex")
	f("GET /re/x", "")
	f("GET /x", "host", "Host: one.example")
	f("GET /x", "host", "Host: ONE.example:8080")
	f("GET /x", "host", "Host: one.example.")
	f("GET /x", "wild", "Host: a.one.example")
	f("GET /x", "wild", "Host: b.a.one.example")
	f("GET /x", "", "Host: xone.example")
	f("GET http://one.example/x", "host", "Host: test")

	// prefixes end at segment borders, and match what a backend would see
	f("GET /pre", "prefix")
	f("GET /pre/x", "prefix")
	f("GET /prefix", "")
	f("GET /x/../pre", "prefix")
	f("GET //pre", "prefix")
	f("GET /%70re/x", "prefix")
	f("GET /pre/../x", "")
	f("GET /pre%2Fx", "")

	f("PUT /only", "methods")
	f("GET /only", "here")
	f("GET /only", "headers", "x-kind: v", "X-Any: whatever")
	f("GET /only", "headers", "X-Kind: w", "X-Kind: v", "X-Any:")
	f("GET /only", "here", "X-Kind: V", "X-Any: x")
	f("GET /only", "here", "X-Kind: v")
	f("GET /only?any=1&k=v", "query")
	f("GET /only?any&k=%76", "query")
	f("GET /only?k=v", "here")
	f("GET /only?k=w&any=1", "here")
}

// routed starts routes that need no backend, and gives a function that asks.
func routed(t *testing.T, routes string) func(line, body string, lines ...string) {
	w := testkit.Start(t, setup{routes: routes}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	return func(line, body string, lines ...string) {
		t.Helper()
		r := c.Do(line, lines...)
		if body == "" {
			refused(t, r, 404, "no_route")
		} else if r.Status != 200 || r.Body != body {
			t.Errorf("%s %q: %v, want %s", line, lines, r, body)
		}
	}
}

func TestRewrites(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, ""))
	w := testkit.Start(t, setup{backends: at(b), routes: `
    {name: s, match: {path: /strip}, rewrite: {strip_prefix: /strip}, pool: web},
    {name: t, match: {path: /slash}, rewrite: {strip_prefix: /slash/}, pool: web},
    {name: a, match: {path: /add}, rewrite: {add_prefix: /more/}, pool: web},
    {name: b, match: {path: /both}, rewrite: {strip_prefix: /both, add_prefix: /v2}, pool: web},
    {name: r, match: {path: /re}, rewrite: {path_regex: "^/re/([a-z]+)/(.*)$", path_replace: "/$2/$${1}x"}, pool: web},
    {name: e, match: {path: /empty}, rewrite: {path_regex: "^/empty/?", path_replace: ""}, pool: web},
    {name: h, match: {path: /host}, rewrite: {host: "inner.example:81"}, pool: web}`}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	f := func(target, want string) {
		t.Helper()
		if r := c.Get(target); r.Status != 200 || !strings.HasPrefix(b.Last(), "GET "+want+" HTTP/1.1\r\n") {
			t.Errorf("%s: %v, the backend got %.80q, want %s", target, r, b.Last(), want)
		}
	}
	f("/strip", "/")
	f("/strip/", "/")
	f("/strip/a/b?c=d", "/a/b?c=d")
	f("/strip?c", "/?c")
	f("/slash/a", "/a")
	f("/add/a", "/more/add/a")
	f("/both", "/v2/")
	f("/both/a?b", "/v2/a?b")
	f("/re/abc/d/e?q", "/d/e/abcx?q")
	f("/re/ABC/d", "/re/ABC/d")
	f("/empty", "/")
	f("/empty/a", "/a")
	f("/host", "/host")
	if got := values(strings.Split(b.Last(), "\r\n"), "Host"); len(got) != 1 || got[0] != "inner.example:81" {
		t.Errorf("Host: %q", got)
	}
	if got := values(strings.Split(b.Last(), "\r\n"), "X-Forwarded-Host"); got[0] != "test" {
		t.Errorf("X-Forwarded-Host: %q", got)
	}
}

func TestRedirects(t *testing.T) {
	w := testkit.Start(t, setup{routes: `
    {name: a, match: {path: /uri}, redirect: {to: "https://new.example{uri}"}},
    {name: b, match: {path: /parts}, redirect: {to: "https://{host}/x{path}?q={query}", status: 302}},
    {name: c, match: {path: /fixed}, redirect: {to: "/there", status: 301}, response_headers: {set: {Cache-Control: no-store}}}`}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	f := func(target string, status int, location string) {
		t.Helper()
		r := c.Get(target, "Host: old.example:80")
		if r.Status != status || r.Header("Location") != location || r.Body != "" || !r.Persists() || r.Header("X-Weir-Reason") != "" {
			t.Errorf("%s: %v, want %d %s", target, r, status, location)
		}
	}
	f("/uri/a?b=c", 308, "https://new.example/uri/a?b=c")
	f("/uri", 308, "https://new.example/uri")
	f("/parts/a?b=c", 302, "https://old.example:80/x/parts/a?q=b=c")
	f("/parts", 302, "https://old.example:80/x/parts?q=")
	f("/fixed", 301, "/there")
	if r := c.Get("/fixed"); r.Header("Cache-Control") != "no-store" {
		t.Error(r)
	}
	f("/uri/../uri/%41", 308, "https://new.example/uri/A")
}

func TestRespond(t *testing.T) {
	w := testkit.Start(t, setup{routes: `
    {name: a, match: {path: /json}, respond: {status: 418, body: '{"a":1}', content_type: application/json}},
    {name: b, match: {path: /empty}, respond: {status: 204}},
    {name: c, match: {path: /plain}, respond: {body: hi}, response_headers: {add: {X-A: b}}}`}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	if r := c.Get("/json"); r.Status != 418 || r.Body != `{"a":1}` || r.Header("Content-Type") != "application/json" || r.Header("Date") == "" {
		t.Error(r)
	}
	if r := c.Get("/empty"); r.Status != 204 || r.Header("Content-Length") != "" || !r.Persists() {
		t.Error(r)
	}
	if r := c.Get("/plain"); r.Status != 200 || r.Body != "hi" || r.Header("X-A") != "b" || !strings.HasPrefix(r.Header("Content-Type"), "text/plain") {
		t.Error(r)
	}
	if r := c.Do("HEAD /plain"); r.Body != "" || r.Header("Content-Length") != "2" {
		t.Error(r)
	}
	// a body nobody reads does not become a request
	if r := c.Post("/plain", "GET /json HTTP/1.1\r\nHost: a\r\n\r\n"); r.Body != "hi" || !r.Persists() {
		t.Error(r)
	}
	if r := c.Get("/plain"); r.Body != "hi" {
		t.Error(r)
	}
	if r := c.Post("/plain", noise(100_000)); r.Body != "hi" || r.Persists() {
		t.Error(r)
	}
	if !c.Closed() {
		t.Error("the connection goes on behind a body that was not read")
	}
}

// A refusal is text or JSON, whichever was asked for.
func TestRefusals(t *testing.T) {
	w := testkit.Start(t, setup{routes: `{name: a, match: {hosts: [a.example]}, respond: {body: a}}`}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	r := c.Get("/")
	refused(t, r, 404, "no_route")
	if !strings.HasPrefix(r.Header("Content-Type"), "text/plain") || !r.Persists() {
		t.Error(r)
	}
	r = c.Get("/", "Accept: application/json")
	refused(t, r, 404, "no_route")
	var body struct{ Reason, Message string }
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil || body.Reason != "no_route" || body.Message == "" || r.Header("Content-Type") != "application/json" {
		t.Error(r, err)
	}
	if r := c.Get("/", "Accept: text/html,application/xhtml+xml,application/json;q=0.9"); strings.HasPrefix(r.Body, "{") {
		t.Error(r)
	}
	if r := c.Do("HEAD /"); r.Status != 404 || r.Body != "" {
		t.Error(r)
	}
}
