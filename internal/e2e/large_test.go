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
	largeArgs    = flag.String("large-args", "", "more arguments of weir run in it")
	profile      = flag.String("profile", "", "write the CPU profile of its changes to this file")
)

// Changes of a configuration with very many backends and routes, one after
// another, under load: memory stays what it was, and so does the latency, more
// or less.
func TestLargeConfiguration(t *testing.T) {
	a, b := startNginx(t, "a"), startNginx(t, "b")
	everywhere := startNginxAt(t, "everywhere", "0.0.0.0:"+port(freeAddress(t)))
	config := func(k int) string { return largeConfig(a, b, port(everywhere.address), k) }
	w := start(t, config(0), strings.Fields(*largeArgs)...)

	if *profile != "" {
		defer w.profile(*profile)()
	}
	m := measuring{weir: w, load: bench.Options{Connections: 16, Rate: 500}, config: config}
	for range largeRounds {
		m.round(*largeApplies / largeRounds)
	}
	m.log(len(config(0)))
	// The last ten that ran stay compiled: until then memory grows.
	settled := min(largeRounds-1, 19*largeRounds / *largeApplies)
	if early, late := m.resident[settled], m.resident[largeRounds-1]; late > early+early/5+16<<20 {
		t.Errorf("memory grows: %d MiB, then %d MiB", early>>20, late>>20)
	}
	m.commits = nil
	var back []float64
	for range 5 {
		back = append(back, m.timed("POST", "/v1/rollback", ""))
	}
	t.Logf("rollbacks: %.0f ms, of them %.2f for the commit", back, m.commits)
}

const largeRounds = 10

// measuring is a large configuration that is changed in rounds, each with a time
// in which it is not: what else the machine does is the same for both.
type measuring struct {
	*weir
	load   bench.Options
	config func(k int) string
	k      int // variations so far

	took, commits         []float64     // ms, of each apply
	cpu                   time.Duration // of all applies
	quiet, during, factor []float64     // 99th percentile of a round, ms, and by how much the latter is more
	resident, raw         []int64       // after each round, with and without a collection
}

func (m *measuring) round(applies int) {
	m.t.Helper()
	quiet, quietCPU := m.under(m.load, func() { time.Sleep(4 * time.Second) })
	during, cpu := m.under(m.load, func() {
		for range applies {
			m.k++
			m.took = append(m.took, m.timed("PUT", "/v1/config", m.fill(m.config(m.k))))
		}
	})
	m.cpu += cpu - time.Duration(float64(quietCPU)/quiet.Seconds*during.Seconds)
	if quiet.Failed+during.Failed > 0 {
		m.t.Errorf("failed: %v, %v; want none", quiet.ErrorCounts, during.ErrorCounts)
	}
	q, d := float64(quiet.Latency.P99.Microseconds())/1000, float64(during.Latency.P99.Microseconds())/1000
	m.quiet, m.during, m.factor = append(m.quiet, q), append(m.during, d), append(m.factor, d/q)
	m.raw = append(m.raw, m.rss())
	m.resident = append(m.resident, m.settledRSS())
}

func (m *measuring) log(size int) {
	n := len(m.took)
	slices.Sort(m.took)
	m.t.Logf("%d backends, %d routes, %d KiB of YAML, checked %v, everything %v", *backends, *backends/2, size>>10, *checked, *everything)
	m.t.Logf("%d applies: median %.0f ms, max %.0f ms, CPU of one %.0f ms, of its time %.2f ms for the commit, at least %.2f",
		n, m.took[n/2], m.took[n-1], m.cpu.Seconds()*1000/float64(n), middle(m.commits), slices.Min(m.commits))
	m.t.Logf("99th percentile, medians of %d rounds: %.1f ms quiet, %.1f ms during, factor %.2f of %.1f",
		len(m.quiet), middle(m.quiet), middle(m.during), middle(m.factor), m.factor)
	m.t.Logf("%s times a loop was away for 100 ms", m.metric("weir_loop_stall_seconds_count"))
	m.t.Logf("resident after each round, MiB: %d; collected %d", mebibytes(m.raw), mebibytes(m.resident))
}

func middle(f []float64) float64 { return slices.Sorted(slices.Values(f))[len(f)/2] }

func mebibytes(bytes []int64) (out []int64) {
	for _, b := range bytes {
		out = append(out, b>>20)
	}
	return out
}

// under runs do under load, and says how that went and what CPU Weir used.
func (w *weir) under(o bench.Options, do func()) (*bench.Report, time.Duration) {
	stop, before := w.load(o), w.cpu()
	do()
	used := w.cpu() - before
	return stop(), used
}

// timed makes a change and returns the milliseconds that it took, by the verdict.
func (m *measuring) timed(method, path, body string) float64 {
	m.t.Helper()
	code, answer, err := m.call(method, path, body)
	var v struct {
		TookMS   float64 `json:"took_ms"`
		CommitMS float64 `json:"commit_ms"`
	}
	if err != nil || code != 200 || json.Unmarshal(answer, &v) != nil {
		m.t.Fatalf("%s %s: %d %.300s, %v", method, path, code, answer, err)
	}
	m.commits = append(m.commits, v.CommitMS)
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
func (w *weir) profile(path string) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, answer, err := w.call("GET", "/debug/pprof/profile?seconds=25", ""); err == nil {
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
