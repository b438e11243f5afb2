//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/bench"
	"weir/internal/testkit"
)

// few is n, or a tenth of it with -short.
func few(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// load runs until stop is called, which returns its report.
func (w *weir) load(o bench.Options) (stop func() *bench.Report) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan *bench.Report, 1)
	o.URL = "http://" + w.listen + "/"
	go func() {
		r, err := bench.Run(ctx, o)
		if err != nil {
			w.t.Error(err)
		}
		done <- r
	}()
	w.t.Cleanup(cancel)
	return func() *bench.Report {
		cancel()
		return <-done
	}
}

// unharmed demands that nothing failed and no connection was closed.
func unharmed(t *testing.T, r *bench.Report) {
	t.Helper()
	unharmedBut(t, r, 0)
}

// unharmedBut allows for each connection to be closed so many times, in good order.
func unharmedBut(t *testing.T, r *bench.Report, closings int) {
	t.Helper()
	t.Logf("%d answers, p50 %v p99 %v max %v, %d connects, errors %v", r.Answers, r.Latency.P50, r.Latency.P99, r.Latency.Max, r.Connects, r.ErrorCounts)
	if r.Answers == 0 || r.Failed > 0 {
		t.Errorf("%d requests failed (%v), statuses %v; want none", r.Failed, r.ErrorCounts, r.Statuses)
	}
	if most := int64(r.Connections * (1 + closings)); r.Connects > most {
		t.Errorf("%d connections were made, want %d at most: some were closed", r.Connects, most)
	}
}

// edited is the k-th variation: weights, backends and routes change.
func edited(a, b, c *nginx, k int) string {
	backends := []string{
		fmt.Sprintf("      - {address: %s, weight: %d}\n", a.address, 1+k%5),
		fmt.Sprintf("      - {address: %s, weight: %d}\n", b.address, 1+k%3),
		fmt.Sprintf("      - {address: %s, weight: %d}\n", c.address, 1+k%2),
	}
	if k%4 == 3 { // one of them leaves
		backends = append(backends[:k%3], backends[k%3+1:]...)
	}
	return fmt.Sprintf(`
admin: {address: "ADMIN"}
log: {level: info, access: false}
history: {keep: 40}
listeners:
  - name: web
    address: LISTEN
    protocol: http
    routes:
      - {name: r%d, match: {path: /r%d/}, respond: {status: 200, body: "edit %d"}}
      - {name: all, pool: web, response_headers: {set: {X-Edit: "%d"}}}
pools:
  web:
    backends:
%s    health:
      active: {type: http, path: /healthz, interval: 1s, timeout: 500ms, fall: 2, rise: 1}
      passive: {ejection: 1s}
`, k%7, k%7, k, k, strings.Join(backends, ""))
}

// A backend dies and returns, the file is edited all the time, versions are
// rolled back: nobody in front notices.
func TestChangeUnderLoad(t *testing.T) {
	a, b, c := startThree(t)
	w := start(t, edited(a, b, c, 0))
	stop := w.load(bench.Options{Connections: 16, Rate: 500})

	b.kill()
	eventually(t, 10*time.Second, "the killed backend is out", func() bool { return w.backendState("web", b.address) != "up" })
	b.start()
	eventually(t, 10*time.Second, "the backend is back", func() bool { return w.backendState("web", b.address) == "up" })

	version := w.status().Version
	for k := 1; k <= few(200); k++ {
		w.write(edited(a, b, c, k))
		version = w.awaitVersion(version)
		if got := testkit.Get(t, w.listen, "/").Header("X-Edit"); got != fmt.Sprint(k) {
			t.Fatalf("edit %d is applied, but edit %q answers", k, got)
		}
		if k%4 == 0 {
			version = w.rollback(version, k)
		}
	}
	unharmed(t, stop())
}

// The same at full speed, seen by a load generator that others wrote: edits,
// and a backend that is killed and returns.
func TestWrkSeesNoChange(t *testing.T) {
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("wrk is not installed (apt-get install wrk)")
	}
	a, b, c := startThree(t)
	w := start(t, edited(a, b, c, 0))
	wrk := exec.Command("wrk", "-t1", "-c32", "-d5s", "http://"+w.listen+"/")
	var out bytes.Buffer
	wrk.Stdout, wrk.Stderr = &out, &out
	if err := wrk.Start(); err != nil {
		t.Fatal(err)
	}
	version := w.status().Version
	for k := 1; k <= 8; k++ {
		switch k {
		case 2:
			b.kill()
		case 4:
			b.start()
		}
		w.write(edited(a, b, c, k))
		version = w.awaitVersion(version)
	}
	if err := wrk.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", &out)
	if text := out.String(); strings.Contains(text, "Socket errors") || strings.Contains(text, "Non-2xx") || !strings.Contains(text, "requests in") {
		t.Error("wrk has seen errors")
	}
}

// rollback undoes edit k, by command or by API, and returns the new version.
func (w *weir) rollback(version, k int) int {
	w.t.Helper()
	if k%8 == 0 {
		if code, out, errs := w.cli("rollback"); code != 0 {
			w.t.Fatalf("weir rollback: exit %d\n%s%s", code, out, errs)
		}
	} else if code, answer, err := w.call("POST", "/v1/rollback", fmt.Sprintf(`{"to":%d}`, version-1)); err != nil || code != 200 {
		w.t.Fatalf("POST /v1/rollback: %d %s, %v", code, answer, err)
	}
	s := w.status()
	if s.Version != version+1 || s.File.State != "ignored" {
		w.t.Fatalf("after the rollback of %d: version %d, file %s; want %d and ignored", version, s.Version, s.File.State, version+1)
	}
	if got := testkit.Get(w.t, w.listen, "/").Header("X-Edit"); got != fmt.Sprint(k-1) {
		w.t.Fatalf("edit %d is rolled back, but edit %q answers", k, got)
	}
	return s.Version
}

// A broken edit is explained and changes nothing; starting with it runs the
// newest good version.
func TestBrokenEdit(t *testing.T) {
	a, b, c := startThree(t)
	good := edited(a, b, c, 1)
	w := start(t, good)
	stop := w.load(bench.Options{Connections: 8, Rate: 300})
	version := w.status().Version

	broken := strings.Replace(good, "pool: web,", "pool: wbe,", 1)
	line := 1 + strings.Count(broken[:strings.Index(broken, "wbe")], "\n")
	w.write(broken)
	eventually(t, 10*time.Second, "the broken edit is reported", func() bool { return w.status().File.State == "rejected" })

	s := w.status()
	if s.Version != version || len(s.File.Problems) != 1 {
		t.Fatalf("version %d with problems %v; want %d with one", s.Version, s.File.Problems, version)
	}
	p := s.File.Problems[0]
	if p.Line != line || p.Path != "listeners[0].routes[1].pool" || !strings.Contains(p.Message+p.Fix, `"web"`) {
		t.Errorf("problem %+v; want line %d, the path and the suggestion of \"web\"", p, line)
	}
	if code, out, _ := w.cli("status", "--json"); code != 0 || !strings.Contains(out, "wbe") {
		t.Errorf("weir status --json: exit %d, without the problem:\n%s", code, out)
	}
	logged := fmt.Sprintf(`"line":%d,"column":27,"path":"listeners[0].routes[1].pool","problem":"no pool named \"wbe\""`, line)
	if !strings.Contains(w.output(), logged) {
		t.Errorf("the log lacks %s:\n%s", logged, w.tail(5))
	}
	place := fmt.Sprintf("%s:%d:", w.config, line)
	if out, err := exec.Command(binary, "check", w.config).CombinedOutput(); err == nil || !strings.Contains(string(out), place) {
		t.Errorf("weir check: %v\n%s", err, out)
	}
	unharmed(t, stop())

	w.terminate()
	w.run()
	w.awaitReady()
	if got := testkit.Get(t, w.listen, "/").Header("X-Edit"); got != "1" {
		t.Errorf("started with a broken file, edit %q answers, want 1", got)
	}
	if s := w.status(); s.File.State != "rejected" || len(s.File.Problems) != 1 {
		t.Errorf("started with a broken file: state %q, problems %v", s.File.State, s.File.Problems)
	}
	// once the file is right again, it counts
	w.write(edited(a, b, c, 2))
	w.awaitVersion(version)
	if got := testkit.Get(t, w.listen, "/").Header("X-Edit"); got != "2" {
		t.Errorf("after the repair edit %q answers, want 2", got)
	}
}
