//go:build e2e

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/bench"
)

// How large TestLargeConfiguration is; docs/changes.md has the run with 10,000
// backends.
var (
	backends     = flag.Int("backends", 1000, "backends in TestLargeConfiguration; half as many routes")
	largeApplies = flag.Int("large-applies", 40, "changes in it")
	checked      = flag.Bool("checked", false, "each backend in it has an HTTP check, every 30 s")
	everything   = flag.Bool("everything", false, "each change in it changes each backend; else one pool")
	profile      = flag.String("profile", "", "write the CPU profile of its changes to this file")
)

// Changes of a configuration with very many backends and routes, one after
// another, under load: memory stays what it was, and so does the latency, more
// or less.
func TestLargeConfiguration(t *testing.T) {
	a, b := startNginx(t, "a"), startNginx(t, "b")
	everywhere := startNginxAt(t, "everywhere", "0.0.0.0:"+port(freeAddress(t)))
	config := func(k int) string { return largeConfig(a, b, port(everywhere.address), k) }
	w := start(t, config(0))
	load := bench.Options{Connections: 16, Rate: 500}

	quiet, quietCPU := w.under(load, func() { time.Sleep(10 * time.Second) })
	n := *largeApplies
	var took []float64
	var early, late int64
	if *profile != "" {
		defer w.profile(*profile, time.Duration(n)*time.Second/10)()
	}
	during, cpu := w.under(load, func() {
		for k := 1; k <= n; k++ {
			took = append(took, w.timed("PUT", "/v1/config", w.fill(config(k))))
			if k == max(n/10, 1) {
				early = w.settledRSS()
			}
		}
	})
	late = w.settledRSS()
	var back []float64
	for range 3 {
		back = append(back, w.timed("POST", "/v1/rollback", ""))
	}
	slices.Sort(took)
	cpuOfTraffic := quietCPU.Seconds() / quiet.Seconds * during.Seconds
	t.Logf("%d backends, %d routes, %d KiB of YAML, checked %v, everything %v", *backends, *backends/2, len(config(0))>>10, *checked, *everything)
	t.Logf("apply: median %.0f ms, max %.0f ms; CPU each %.0f ms beyond the traffic's", took[n/2], took[n-1], (cpu.Seconds()-cpuOfTraffic)/float64(n)*1000)
	t.Logf("rollback: %v ms", back)
	t.Logf("quiet:  p50 %v p99 %v p99.9 %v max %v", quiet.Latency.P50, quiet.Latency.P99, quiet.Latency.P999, quiet.Latency.Max)
	t.Logf("during: p50 %v p99 %v p99.9 %v max %v", during.Latency.P50, during.Latency.P99, during.Latency.P999, during.Latency.Max)
	t.Logf("resident: %d MiB after %d applies, %d MiB after %d", early>>20, max(n/10, 1), late>>20, n)
	if quiet.Failed+during.Failed > 0 {
		t.Errorf("failed: %v, %v; want none", quiet.ErrorCounts, during.ErrorCounts)
	}
	if late > early+early/5+16<<20 {
		t.Errorf("memory grows: %d MiB, then %d MiB", early>>20, late>>20)
	}
}

// under runs do under load, and says how that went and what CPU Weir used.
func (w *weir) under(o bench.Options, do func()) (*bench.Report, time.Duration) {
	stop, before := w.load(o), w.cpu()
	do()
	used := w.cpu() - before
	return stop(), used
}

// timed makes a change and returns the milliseconds that it took, by the verdict.
func (w *weir) timed(method, path, body string) float64 {
	w.t.Helper()
	code, answer, err := w.call(method, path, body)
	var v struct {
		TookMS float64 `json:"took_ms"`
	}
	if err != nil || code != 200 || json.Unmarshal(answer, &v) != nil {
		w.t.Fatalf("%s %s: %d %.300s, %v", method, path, code, answer, err)
	}
	return v.TookMS
}

// cpu is the processor time that the process has used.
func (w *weir) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // of the clock ticks that Linux shows
}

// profile takes a CPU profile; the returned function waits for its end.
func (w *weir) profile(path string, d time.Duration) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		seconds := min(max(int(d.Seconds()), 5), 25)
		if _, answer, err := w.call("GET", fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds), ""); err == nil {
			_ = os.WriteFile(path, answer, 0o644)
		}
	}()
	return func() { <-done }
}

// largeConfig is the k-th variation: pools of twenty backends, which are all the
// same nginx on addresses of 127/8, ten routes to each, and one route that is asked.
func largeConfig(a, b *nginx, port string, k int) string {
	var y strings.Builder
	fmt.Fprintf(&y, "# %d\nadmin: {address: \"ADMIN\"}\nlog: {access: false}\nhistory: {keep: 20}\nlisteners:\n  - name: web\n    address: LISTEN\n    routes:\n", k)
	pools := *backends / 20
	for i := range *backends / 2 {
		fmt.Fprintf(&y, "      - {name: r%d, match: {hosts: [h%d.example.com], path: /v1/}, pool: p%d}\n", i, i, i%pools)
	}
	y.WriteString("      - {name: asked, pool: asked}\npools:\n")
	fmt.Fprintf(&y, "  asked: {backends: [{address: %q}, {address: %q}]}\n", a.address, b.address)
	for p := range pools {
		fmt.Fprintf(&y, "  p%d:\n    backends:\n", p)
		for i := range 20 {
			weight := 1
			if *everything || p == k%pools {
				weight += k % 7
			}
			fmt.Fprintf(&y, "      - {address: \"127.%d.%d.%d:%s\", weight: %d}\n", 1+p/250, p%250, 1+i, port, weight)
		}
		if *checked {
			y.WriteString("    health: {active: {interval: 30s, path: /healthz}}\n")
		}
	}
	return y.String()
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
