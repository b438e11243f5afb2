package metrics_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/metrics"
)

// scrape returns the lines of the exposition that begin with the prefix, sorted.
func scrape(t *testing.T, r *metrics.Registry, prefix string) []string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("scrape: status %d: %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	slices.Sort(lines)
	return lines
}

func wantLines(t *testing.T, r *metrics.Registry, prefix string, want ...string) {
	t.Helper()
	got := scrape(t, r, prefix)
	if !slices.Equal(got, want) {
		t.Errorf("series %s:\n%s\nwant\n%s", prefix, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRoute(t *testing.T) {
	r := metrics.New(3)
	m := r.Route("web", "api")
	m.Begin(0)
	m.Begin(1)
	m.Begin(2)
	m.Begin(2)
	m.End(0, 200, 3*time.Millisecond, 3*time.Millisecond, 10, 100)
	m.End(1, 200, 2*time.Second, 2*time.Second, 1, 0)
	m.End(2, 503, time.Minute, time.Minute, 0, 7)

	wantLines(t, r, "weir_requests_total{",
		`weir_requests_total{code="200",listener="web",route="api"} 2`,
		`weir_requests_total{code="503",listener="web",route="api"} 1`)
	wantLines(t, r, "weir_requests_in_flight{", `weir_requests_in_flight{listener="web",route="api"} 1`)
	wantLines(t, r, "weir_request_bytes_total{", `weir_request_bytes_total{listener="web",route="api"} 11`)
	wantLines(t, r, "weir_response_bytes_total{", `weir_response_bytes_total{listener="web",route="api"} 107`)
	wantLines(t, r, "weir_request_duration_seconds_sum{", `weir_request_duration_seconds_sum{listener="web",route="api"} 62.003`)
	wantLines(t, r, "weir_request_duration_seconds_count{", `weir_request_duration_seconds_count{listener="web",route="api"} 3`)
	if n := m.InFlight(); n != 1 {
		t.Errorf("in flight: %d, want 1", n)
	}
}

// A reload asks for its routes again and must find the counts of the last one.
func TestSameNamesSameCounters(t *testing.T) {
	r := metrics.New(1)
	route, pool, backend := r.Route("web", "api"), r.Pool("api"), r.Backend("api", "a:1")
	if r.Route("web", "api") != route {
		t.Error("the same route has two sets of counters")
	}
	if r.Route("web2", "api") == route {
		t.Error("two listeners share the counters of a route")
	}
	if r.Pool("api") != pool {
		t.Error("the same pool has two sets of counters")
	}
	if r.Backend("api", "a:1") != backend {
		t.Error("the same backend has two sets of counters")
	}
}

func TestBuckets(t *testing.T) {
	f := func(d time.Duration, firstBucket string) {
		t.Helper()
		r := metrics.New(1)
		m := r.Route("l", "r")
		m.End(0, 200, d, d, 0, 0)
		for _, line := range scrape(t, r, "weir_request_duration_seconds_bucket{") {
			_, le, _ := strings.Cut(line, `le="`)
			le, count, _ := strings.Cut(le, `"} `)
			if want := map[bool]string{true: "1", false: "0"}[reaches(le, firstBucket)]; count != want {
				t.Errorf("%v: bucket %s holds %s, want %s", d, le, count, want)
			}
		}
	}
	f(0, "0.001")
	// clocks that step back must not make a duration of 585 years
	f(-time.Second, "0.001")
	// a bound belongs to its bucket
	f(time.Millisecond, "0.001")
	f(time.Millisecond+1, "0.0025")
	f(2500*time.Microsecond, "0.0025")
	f(30*time.Second, "30")
	f(31*time.Second, "+Inf")
}

// reaches tells whether bucket le counts what first falls into the bucket first.
func reaches(le, first string) bool {
	order := []string{
		"0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
		"0.5", "1", "2.5", "5", "10", "30", "+Inf",
	}
	return slices.Index(order, le) >= slices.Index(order, first)
}

func TestCodes(t *testing.T) {
	f := func(status int, label string) {
		t.Helper()
		r := metrics.New(1)
		r.Route("l", "r").End(0, status, 0, 0, 0, 0)
		wantLines(t, r, "weir_requests_total{", `weir_requests_total{code="`+label+`",listener="l",route="r"} 1`)
	}
	f(101, "101")
	f(200, "200")
	f(418, "418")
	f(499, "499")
	f(511, "511")

	// a backend that makes numbers up makes no series
	f(299, "2xx")
	f(599, "5xx")
	f(0, "other")
	f(99, "other")
	f(600, "other")
	f(-1, "other")
}

func TestBackend(t *testing.T) {
	r := metrics.New(2)
	b := r.Backend("api", "127.0.0.1:80")
	b.Observe(0, 200, 4*time.Millisecond)
	b.Observe(1, 200, 4*time.Millisecond)
	b.Observe(1, 404, time.Millisecond)
	b.Connected(1, time.Millisecond)
	b.Error(0, metrics.ConnectRefused)
	b.Error(1, metrics.ConnectRefused)
	b.Conns(0, 0, 1)
	b.Conns(1, 0, 1)
	b.Conns(1, 1, -1)
	b.Probe(true, time.Millisecond)
	b.Probe(false, time.Second)
	b.Ejected("consecutive_errors")
	b.WouldEject("success_rate")

	wantLines(t, r, "weir_upstream_requests_total{",
		`weir_upstream_requests_total{backend="127.0.0.1:80",code="200",pool="api"} 2`,
		`weir_upstream_requests_total{backend="127.0.0.1:80",code="404",pool="api"} 1`)
	wantLines(t, r, "weir_upstream_duration_seconds_count{", `weir_upstream_duration_seconds_count{backend="127.0.0.1:80",pool="api"} 3`)
	wantLines(t, r, "weir_upstream_connect_duration_seconds_sum{", `weir_upstream_connect_duration_seconds_sum{backend="127.0.0.1:80",pool="api"} 0.001`)
	wantLines(t, r, "weir_upstream_errors_total{", `weir_upstream_errors_total{backend="127.0.0.1:80",pool="api",reason="connect_refused"} 2`)
	wantLines(t, r, "weir_upstream_connections{",
		`weir_upstream_connections{backend="127.0.0.1:80",pool="api",state="active"} 1`,
		`weir_upstream_connections{backend="127.0.0.1:80",pool="api",state="idle"} 1`)
	wantLines(t, r, "weir_health_checks_total{",
		`weir_health_checks_total{backend="127.0.0.1:80",pool="api",result="failure"} 1`,
		`weir_health_checks_total{backend="127.0.0.1:80",pool="api",result="success"} 1`)
	wantLines(t, r, "weir_health_check_duration_seconds_sum{", `weir_health_check_duration_seconds_sum{backend="127.0.0.1:80",pool="api"} 1.001`)
	wantLines(t, r, "weir_ejections_total{", `weir_ejections_total{backend="127.0.0.1:80",pool="api",reason="consecutive_errors"} 1`)
	wantLines(t, r, "weir_would_eject_total{", `weir_would_eject_total{backend="127.0.0.1:80",pool="api",reason="success_rate"} 1`)
}

// A backend that is not probed must not look like one that never failed a probe.
func TestBackendWithoutProbes(t *testing.T) {
	r := metrics.New(1)
	r.Backend("api", "a:1")
	wantLines(t, r, "weir_health_check")
}

func TestRemoveBackend(t *testing.T) {
	r := metrics.New(1)
	first := r.Backend("api", "a:1")
	first.Observe(0, 200, 0)
	r.Backend("api", "b:1").Observe(0, 200, 0)

	r.RemoveBackend("api", "a:1")
	wantLines(t, r, "weir_upstream_requests_total{", `weir_upstream_requests_total{backend="b:1",code="200",pool="api"} 1`)

	// its last request may end after it has gone
	first.Observe(0, 200, 0)

	// a later one of the same name starts from nothing
	r.Backend("api", "a:1").Observe(0, 500, 0)
	wantLines(t, r, "weir_upstream_requests_total{",
		`weir_upstream_requests_total{backend="a:1",code="500",pool="api"} 1`,
		`weir_upstream_requests_total{backend="b:1",code="200",pool="api"} 1`)

	// one that came back before the old one had gone keeps its series
	second := r.Backend("api", "a:1")
	r.RemoveBackend("api", "a:1")
	second.Observe(0, 500, 0)
	wantLines(t, r, `weir_upstream_requests_total{backend="a:1"`, `weir_upstream_requests_total{backend="a:1",code="500",pool="api"} 2`)

	// and nobody minds a name that is not there
	r.RemoveBackend("api", "c:1")
}

func TestTotals(t *testing.T) {
	r := metrics.New(2)
	r.Error(0, metrics.NoRoute)
	r.Error(1, metrics.NoRoute)
	r.Error(1, metrics.ClientClosed)
	r.Pool("api").Retry(0, metrics.ConnectRefused, true)
	r.Pool("api").Retry(1, metrics.ConnectRefused, false)
	r.Stream(0, metrics.WebSocket, 1)
	r.Stream(1, metrics.WebSocket, 1)
	r.Stream(0, metrics.SSE, 1)
	r.Stream(0, metrics.SSE, -1)
	r.Stall(300 * time.Millisecond)

	wantLines(t, r, "weir_errors_total{",
		`weir_errors_total{reason="client_closed"} 1`,
		`weir_errors_total{reason="no_route"} 2`)
	wantLines(t, r, "weir_retries_total{",
		`weir_retries_total{pool="api",reason="connect_refused",result="failure"} 1`,
		`weir_retries_total{pool="api",reason="connect_refused",result="success"} 1`)
	wantLines(t, r, "weir_streams_active{",
		`weir_streams_active{type="sse"} 0`,
		`weir_streams_active{type="tcp"} 0`,
		`weir_streams_active{type="ws"} 2`)
	wantLines(t, r, "weir_loop_stall_seconds_sum", "weir_loop_stall_seconds_sum 0.3")
	if len(scrape(t, r, "weir_build_info{")) != 1 || len(scrape(t, r, "go_goroutines")) != 1 {
		t.Error("the scrape names neither the build nor the Go runtime")
	}
}

func TestReasons(t *testing.T) {
	f := func(r metrics.Reason, text string, status int) {
		t.Helper()
		if r.String() != text || r.Status() != status {
			t.Errorf("%v is %q with status %d, want %q with %d", uint8(r), r, r.Status(), text, status)
		}
	}
	f(metrics.NoReason, "", 0)
	f(metrics.NoRoute, "no_route", 404)
	f(metrics.NoHealthy, "no_healthy", 503)
	f(metrics.PoolEmpty, "pool_empty", 503)
	f(metrics.AllFull, "all_full", 503)
	f(metrics.ConnectRefused, "connect_refused", 502)
	f(metrics.UpstreamReset, "upstream_reset", 502)
	f(metrics.BadResponse, "bad_response", 502)
	f(metrics.ConnectTimeout, "connect_timeout", 504)
	f(metrics.UpstreamTimeout, "upstream_timeout", 504)
	f(metrics.RequestTimeout, "request_timeout", 504)
	f(metrics.HeaderTooLarge, "header_too_large", 431)
	f(metrics.URITooLong, "uri_too_long", 414)
	f(metrics.BadRequest, "bad_request", 400)
	f(metrics.BodyTooLarge, "body_too_large", 413)
	f(metrics.ClientTimeout, "client_timeout", 408)
	f(metrics.ClientClosed, "client_closed", 499)
	f(metrics.RateLimited, "rate_limited", 429)
	f(metrics.Denied, "denied", 403)
	f(metrics.ShuttingDown, "shutting_down", 503)
	f(metrics.CircuitOpen, "circuit_open", 503)
	f(metrics.Stale, "stale", 502)
}

// Scrapes while every loop writes lose nothing and never show a negative gauge.
func TestScrapeUnderLoad(t *testing.T) {
	const loops, each = 4, 2000
	r := metrics.New(loops)
	m, b := r.Route("l", "r"), r.Backend("p", "a:1")
	var wg sync.WaitGroup
	for loop := range loops {
		wg.Go(func() {
			for range each {
				m.Begin(loop)
				b.Conns(loop, 0, 1)
				b.Observe(loop, 200, time.Millisecond)
				b.Conns(loop, 0, -1)
				m.End(loop, 200, time.Millisecond, time.Millisecond, 1, 1)
			}
		})
	}
	for range 20 {
		for _, line := range scrape(t, r, "weir_") {
			if strings.Contains(line, "} -") {
				t.Errorf("negative: %s", line)
			}
		}
		if n := m.InFlight(); n < 0 { // how much ended while it was read is up to the machine
			t.Errorf("%d requests in flight", n)
		}
	}
	wg.Wait()
	wantLines(t, r, "weir_requests_total{", `weir_requests_total{code="200",listener="l",route="r"} 8000`)
	wantLines(t, r, "weir_requests_in_flight{", `weir_requests_in_flight{listener="l",route="r"} 0`)
}

func TestAllocs(t *testing.T) {
	r := metrics.New(2)
	m, b, p := r.Route("l", "r"), r.Backend("p", "a:1"), r.Pool("p")
	n := testing.AllocsPerRun(1000, func() {
		m.Begin(1)
		b.Connected(1, time.Millisecond)
		b.Conns(1, -1, 1)
		b.Observe(1, 200, time.Millisecond)
		b.Conns(1, 1, -1)
		b.Error(1, metrics.UpstreamReset)
		p.Retry(1, metrics.UpstreamReset, true)
		r.Error(1, metrics.NoHealthy)
		r.Stream(1, metrics.WebSocket, 1)
		m.End(1, metrics.NoHealthy.Status(), time.Millisecond, time.Millisecond, 1, 1)
		_ = metrics.NoHealthy.String()
	})
	if n != 0 {
		t.Errorf("the calls of a request allocate %v times, want 0", n)
	}
}
