package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/internal/testkit"
)

// Every field of the access log.
func TestAccessLog(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(201, "hello"))
	w := testkit.StartOn(t, setup{backends: at(b), routes: `
    {name: api, match: {path: /api}, pool: web}, {name: fixed, match: {path: /fixed}, respond: {body: "0123456789"}}`}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	if r := c.Post("/api/x?secret=1", "four", "Host: h.example", "User-Agent: agent/1", "Referer: http://from", "X-Request-Id: id-1"); r.Status != 400 {
		t.Fatal(r) // two Host lines: Post has its own
	}
	c = testkit.Dial(t, w.Addr("web"))
	c.Send("POST /api/../api/x?secret=1 HTTP/1.1\r\nHost: h.example\r\nUser-Agent: agent/1\r\nReferer: http://from\r\nX-Request-Id: id-1\r\nContent-Length: 4\r\n\r\nfour")
	if r := c.Read("POST"); r.Status != 201 {
		t.Fatal(r)
	}
	c.Get("/fixed")
	c.Get("/nowhere")
	c.Send("GET /api HTTP/1.0\r\n\r\n")
	c.Read("GET")
	log := records(t, w)
	if len(log) != 5 {
		t.Fatalf("%d records, want 5: %+v", len(log), log)
	}
	if r := log[0]; r.Status != 400 || r.Reason != "bad_request" || r.Detail != "there is more than one Host" || r.Method != "POST" || r.Route != "" || r.Listener != "web" {
		t.Errorf("%+v", r)
	}
	r := log[1]
	if len(r.Attempts) != 1 || r.Attempts[0].Backend != b.Addr() || r.Attempts[0].Code != 201 || r.Attempts[0].Error != "" || r.Attempts[0].Dur <= 0 {
		t.Errorf("attempts %+v", r.Attempts)
	}
	if r.Duration <= 0 || r.Connect <= 0 || r.TTFB <= 0 || r.Duration > 10 || r.Overhead < 0 || r.Overhead > r.Duration {
		t.Errorf("times %+v", r)
	}
	r.Attempts, r.Duration, r.Connect, r.TTFB, r.Overhead = nil, 0, 0, 0, 0
	want := record{ID: "id-1", ClientIP: "127.0.0.1", Method: "POST", Host: "h.example", Path: "/api/x", Proto: "HTTP/1.1", Status: 201, BytesIn: 4, BytesOut: 5,
		Backend: b.Addr(), Listener: "web", Route: "api", Pool: "web", ConfigVersion: 1, UserAgent: "agent/1", Referer: "http://from"}
	if fmt.Sprintf("%+v", r) != fmt.Sprintf("%+v", want) {
		t.Errorf("got\n%+v, want\n%+v", r, want)
	}
	if r := log[2]; r.Route != "fixed" || r.Pool != "" || r.Backend != "" || r.BytesOut != 10 || len(r.Attempts) != 0 {
		t.Errorf("%+v", r)
	}
	if r := log[3]; r.Route != "" || r.Reason != "no_route" || r.Status != 404 || r.Path != "/nowhere" {
		t.Errorf("%+v", r)
	}
	if r := log[4]; r.Proto != "HTTP/1.0" || r.Connect != 0 || r.Status != 201 {
		t.Errorf("%+v", r)
	}
	if strings.Contains(w.AccessLog(), "secret") {
		t.Error("the query is in the access log")
	}
}

// The log can be switched off and on again, and sampled.
func TestAccessLogSwitch(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	conf := func(log string) string { return before(b) + "log: {" + log + "}\n" }
	w := testkit.StartOn(t, conf("access: false"), single)
	c := testkit.Dial(t, w.Addr("web"))
	ask := func(n int, path string) {
		for range n {
			c.Get(path)
		}
	}
	ask(5, "/off")
	w.Apply(conf("access: true"))
	ask(5, "/on")
	w.Apply(conf("sample: 0.5"))
	ask(400, "/half")
	w.Apply(conf("sample: 0"))
	ask(5, "/none")
	count := map[string]int{}
	for _, r := range records(t, w) {
		count[r.Path]++
	}
	if count["/off"] != 0 || count["/on"] != 5 || count["/none"] != 0 || count["/half"] < 120 || count["/half"] > 280 {
		t.Errorf("logged %v", count)
	}
}

func TestMetrics(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "hello"))
	w := testkit.StartOn(t, before(b), single)
	c := testkit.Dial(t, w.Addr("web"))
	for range 7 {
		c.Get("/")
	}
	c.Post("/", "12345")
	b.Become(testkit.Answer(503, "sick"))
	c.Get("/")
	b.Become(testkit.Reset)
	c.Get("/")
	want := map[string]string{
		`weir_requests_total{code="200",listener="web",route="all"}`:                                "8",
		`weir_requests_total{code="502",listener="web",route="all"}`:                                "1",
		`weir_requests_total{code="503",listener="web",route="all"}`:                                "1",
		`weir_requests_in_flight{listener="web",route="all"}`:                                       "0",
		`weir_request_duration_seconds_count{listener="web",route="all"}`:                           "10",
		`weir_errors_total{reason="upstream_reset"}`:                                                "1",
		`weir_upstream_errors_total{backend="` + b.Addr() + `",pool="web",reason="upstream_reset"}`: "1",
		`weir_upstream_connections{backend="` + b.Addr() + `",pool="web",state="active"}`:           "0",
		`weir_upstream_requests_total{backend="` + b.Addr() + `",code="200",pool="web"}`:            "8",
		`weir_upstream_requests_total{backend="` + b.Addr() + `",code="503",pool="web"}`:            "1",
		`weir_upstream_connect_duration_seconds_count{backend="` + b.Addr() + `",pool="web"}`:       "2", // the reset was taken for a stale connection first
	}
	// A request is counted when its answer has gone.
	eventually(t, "all is counted", func() bool {
		return w.Metric(`weir_request_duration_seconds_count{listener="web",route="all"}`) == "10"
	})
	for series, n := range want {
		if got := w.Metric(series); got != n {
			name, _, _ := strings.Cut(series, "{")
			t.Errorf("%s is %q, want %s\n%s", series, got, n, grep(w.Metrics(), name+"{"))
		}
	}
}
