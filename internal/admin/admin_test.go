package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/internal/admin"
	"weir/internal/control"
	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/internal/testkit"
	"weir/pool"
	"weir/proxy"
)

// first and second are two configurations that differ in a weight.
const (
	first = `# the first
history: {keep: 10}
listeners: [{name: web, address: "127.0.0.1:0", routes: [{name: all, pool: api}]}]
pools:
  api:
    backends: [{address: "127.0.0.1:1", weight: 1}, {address: "unix:/run/b.sock"}]
`
	second = `# the second
history: {keep: 10}
listeners: [{name: web, address: "127.0.0.1:0", routes: [{name: all, pool: api}]}]
pools:
  api:
    backends: [{address: "127.0.0.1:1", weight: 7}, {address: "unix:/run/b.sock"}]
`
	broken = "listeners: []\npols: {}\n"
)

// rig is a real controller with the admin API before it.
type rig struct {
	*testing.T
	url     string
	file    string
	control *control.Controller
	proxy   *proxy.Server
	logs    *observer.ObservedLogs
	start   func()
}

// newRig makes a rig that runs the first configuration. change adapts the
// options of the API.
func newRig(t *testing.T, change func(*admin.Options)) *rig {
	t.Helper()
	r := unstarted(t, change)
	r.start()
	return r
}

// unstarted makes a rig whose controller has not started yet.
func unstarted(t *testing.T, change func(*admin.Options)) *rig {
	t.Helper()
	testkit.NoLeaks(t)
	r := &rig{T: t, file: filepath.Join(t.TempDir(), "weir.yaml")}
	if err := os.WriteFile(r.file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.InfoLevel)
	r.logs = logs
	group, err := loop.New(loop.Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New(group.Len())
	data := proxy.New(proxy.Options{Group: group, Metrics: m})
	r.proxy = data
	r.control, err = control.New(control.Options{Path: r.file, Proxy: data, Group: group, Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	o := admin.Options{Control: r.control, Metrics: m, Log: zap.New(core), Ready: data.Ready}
	if change != nil {
		change(&o)
	}
	server := httptest.NewServer(admin.New(o))
	r.url = server.URL

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	r.start = func() {
		if err := r.control.Start(ctx); err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = r.control.Run(ctx) })
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
		_ = data.Shutdown(ctx)
		_ = r.control.Close(ctx)
		cancel()
		running.Wait()
		_ = group.Close()
	})
	return r
}

// answer is what came back.
type answer struct {
	*testing.T
	*http.Response
	body []byte
}

// do sends a request; header is pairs of names and values.
func (r *rig) do(method, path, body string, header ...string) answer {
	r.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return answer{r.T, resp, raw}
}

// is checks the status and returns the body as JSON.
func (a answer) is(status int) map[string]any {
	a.Helper()
	if a.StatusCode != status {
		a.Fatalf("%s %s: status %d, want %d; body %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
	}
	var v map[string]any
	if len(a.body) > 0 && strings.Contains(a.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(a.body, &v); err != nil {
			a.Fatalf("body %s: %v", a.body, err)
		}
	}
	return v
}

// problem checks that the answer is problem details of a type.
func (a answer) problem(status int, kind string) map[string]any {
	a.Helper()
	v := a.is(status)
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		a.Errorf("content type %q, want problem details", got)
	}
	if kind != "about:blank" {
		kind = "urn:weir:problem:" + kind
	}
	if v["type"] != kind || v["status"] != float64(status) || v["title"] == "" {
		a.Errorf("problem %s, want type %s and status %d", a.body, kind, status)
	}
	return v
}

func TestProbes(t *testing.T) {
	r := unstarted(t, nil)

	// the process is there before it serves, and that is all it says
	r.do("GET", "/livez", "").is(200)
	r.do("GET", "/readyz", "").is(503)
	r.do("GET", "/v1/status", "").problem(503, "starting")
	r.do("PUT", "/v1/config", second).problem(503, "starting")

	r.start()
	r.do("GET", "/readyz", "").is(200)
	if v := r.do("GET", "/v1/status", "").is(200); v["version"] != 1.0 || v["ready"] != true {
		t.Errorf("status %v, want version 1, ready", v)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	r := newRig(t, nil)
	f := func(method, path string, status int, allow string) {
		t.Helper()
		a := r.do(method, path, "")
		a.problem(status, "about:blank")
		if got := a.Header.Get("Allow"); got != allow {
			t.Errorf("%s %s: Allow %q, want %q", method, path, got, allow)
		}
	}
	f("GET", "/", 404, "")
	f("GET", "/v1", 404, "")
	f("POST", "/v1/nothing", 404, "")
	f("GET", "/metrics/more", 404, "")

	f("POST", "/v1/status", 405, "GET, HEAD")
	f("DELETE", "/v1/config", 405, "GET, HEAD, PUT")
	f("GET", "/v1/rollback", 405, "POST")
	f("OPTIONS", "/v1/config", 405, "GET, HEAD, PUT")
	f("PUT", "/livez", 405, "GET, HEAD")

	// HEAD is GET without a body
	if a := r.do("HEAD", "/v1/status", ""); a.StatusCode != 200 || len(a.body) != 0 {
		t.Errorf("HEAD: %d with %d bytes", a.StatusCode, len(a.body))
	}
}

func TestPools(t *testing.T) {
	r := newRig(t, nil)
	v := r.do("GET", "/v1/pools", "").is(200)
	if pools := v["pools"].([]any); len(pools) != 1 {
		t.Errorf("%d pools, want 1", len(pools))
	}
	if v := r.do("GET", "/v1/pools/api", "").is(200); v["name"] != "api" || len(v["backends"].([]any)) != 2 {
		t.Errorf("pool %v", v)
	}
	r.do("GET", "/v1/pools/nope", "").problem(404, "no-pool")

	// an address with slashes is one segment, escaped
	const unix = "/v1/pools/api/backends/unix:%2Frun%2Fb.sock"
	if v := r.do("GET", unix, "").is(200); v["address"] != "unix:/run/b.sock" {
		t.Errorf("backend %v", v)
	}
	r.do("GET", "/v1/pools/api/backends/1.2.3.4:5", "").problem(404, "no-backend")
}

func TestMark(t *testing.T) {
	r := newRig(t, nil)
	const path = "/v1/pools/api/backends/127.0.0.1:1"
	for _, state := range []string{"drain", "maintenance", "ready"} {
		if v := r.do("PUT", path, `{"admin":"`+state+`"}`).is(200); v["admin"] != state {
			t.Errorf("marked %s, the answer says %v", state, v["admin"])
		}
		if v := r.do("GET", path, "").is(200); v["admin"] != state {
			t.Errorf("marked %s, is %v", state, v["admin"])
		}
	}
	if v := r.do("PUT", path, `{"admin":"drain","weight":3}`).is(200); v["admin"] != "drain" || v["weight_override"] != 3.0 {
		t.Errorf("weighed: %v", v)
	}
	v := r.do("PUT", path, `{"admin":"ready","weight":-1}`).is(200)
	if _, ok := v["weight_override"]; ok || v["admin"] != "ready" {
		t.Errorf("weighed back: %v", v)
	}
	// what was done to it can be read, oldest first
	history, _ := v["history"].([]any)
	var what []string
	for _, e := range history {
		what = append(what, fmt.Sprint(e.(map[string]any)["what"]))
	}
	if got := strings.Join(what, " "); !strings.Contains(got, "drain maintenance ready weight drain weight ready") {
		t.Errorf("history: %s", got)
	}

	// how long it has is the pool's word, or the caller's
	lasts := func(body string) time.Duration {
		t.Helper()
		var b pool.BackendStatus
		a := r.do("PUT", path, body)
		a.is(200)
		if err := json.Unmarshal(a.body, &b); err != nil || b.Drain == nil {
			t.Fatalf("%s: %v in %s", body, err, a.body)
		}
		if b.Drain.Until.IsZero() {
			return 0
		}
		return b.Drain.Until.Sub(b.Drain.Since).Round(time.Second)
	}
	for body, want := range map[string]time.Duration{
		`{"admin":"drain"}`:                      5 * time.Minute,
		`{"admin":"drain","timeout":"2m"}`:       2 * time.Minute,
		`{"admin":"maintenance","timeout":"0s"}`: 0,
	} {
		r.do("PUT", path, `{"admin":"ready"}`).is(200)
		if got := lasts(body); got != want {
			t.Errorf("%s lasts %v, want %v", body, got, want)
		}
	}
	r.do("PUT", "/v1/pools/nope/backends/127.0.0.1:1", `{"admin":"drain"}`).problem(404, "no-pool")
	r.do("PUT", "/v1/pools/api/backends/9.9.9.9:9", `{"admin":"drain"}`).problem(404, "no-backend")

	f := func(body, want string) {
		t.Helper()
		if v := r.do("PUT", path, body).problem(400, "about:blank"); !strings.Contains(fmt.Sprint(v["detail"]), want) {
			t.Errorf("body %q: %v, want %q in it", body, v["detail"], want)
		}
	}
	f("", `{"admin":"drain"}`)
	f(`{}`, `{"admin":"drain"}`)
	f(`{"admin":"gone"}`, "maintenance")
	f(`{"weight":-2}`, "weight -2")
	f(`{"timeout":"2m"}`, "nothing to change")
	f(`{"weight":2,"timeout":"2m"}`, `{"admin":"drain"}`)
	f(`{"admin":"ready","timeout":"2m"}`, `{"admin":"drain"}`)
	f(`{"admin":"drain","timeout":"-2m"}`, "such as 2m")
	f(`{"admin":"drain","timeout":"soon"}`, `timeout "soon"`)
	f(`{"admin":"drain","timeout":120}`, "want")
	f(`{"weight":"x"}`, "want")
	f(`{"admin":"drain"} {"admin":"ready"}`, "more follows")
	f(`[1]`, "want")
}

func TestMetricsAndProfiles(t *testing.T) {
	r := newRig(t, nil)
	if a := r.do("GET", "/metrics", ""); a.StatusCode != 200 || !bytes.Contains(a.body, []byte("weir_config_version 1")) {
		t.Errorf("metrics: %d\n%s", a.StatusCode, a.body)
	}
	r.do("GET", "/debug/pprof/", "").is(200)
	if a := r.do("GET", "/debug/pprof/goroutine?debug=1", ""); !bytes.Contains(a.body, []byte("goroutine profile")) {
		t.Errorf("goroutine profile: %.100s", a.body)
	}
	r.do("GET", "/debug/pprof/cmdline", "").is(200)
	r.do("GET", "/debug/pprof/symbol", "").is(200)
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{"/livez", "/v1/status", "/nope"} {
		a := r.do("GET", path, "")
		for name, want := range map[string]string{"Server": "weir", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

// loopback is an address as a listener on this machine alone has it.
var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9900}
