package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the result of a run. Its JSON form is what `weir bench --json`
// prints; durations in it are seconds.
type Report struct {
	URL         string  `json:"url"`
	Method      string  `json:"method"`
	Loop        string  `json:"loop"` // "open" or "closed"
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate,omitempty"` // asked for, a second

	Seconds     float64 `json:"seconds"`
	Requests    int64   `json:"requests"` // answered or failed
	Answers     int64   `json:"answers"`  // complete answers, whatever their status
	PerSecond   float64 `json:"answers_per_second"`
	BodyBytes   int64   `json:"body_bytes"`
	Connects    int64   `json:"connects"` // connections made; more than Connections: some were closed
	NotSent     int64   `json:"not_sent"` // open loop: due before the end, but every connection was busy
	Failed      int64   `json:"failed"`
	ErrorCounts Errors  `json:"errors"`

	Statuses map[int]int64 `json:"statuses"`
	Latency  Quantiles     `json:"latency"` // from the intended start: free of coordinated omission
	Service  Quantiles     `json:"service"` // from the first byte sent to the last byte read
}

// Errors is the number of failed requests by cause.
type Errors map[string]int64

// Quantiles sums up a distribution of durations.
type Quantiles struct {
	Mean, P50, P90, P99, P999, P9999, Max time.Duration
}

// MarshalJSON gives seconds.
func (q Quantiles) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Mean  float64 `json:"mean"`
		P50   float64 `json:"p50"`
		P90   float64 `json:"p90"`
		P99   float64 `json:"p99"`
		P999  float64 `json:"p99_9"`
		P9999 float64 `json:"p99_99"`
		Max   float64 `json:"max"`
	}{
		q.Mean.Seconds(), q.P50.Seconds(), q.P90.Seconds(), q.P99.Seconds(),
		q.P999.Seconds(), q.P9999.Seconds(), q.Max.Seconds(),
	})
}

// quantiles reads q out of h.
func quantiles(h *hdrhistogram.Histogram) Quantiles {
	if h.TotalCount() == 0 {
		return Quantiles{}
	}
	at := func(p float64) time.Duration { return time.Duration(h.ValueAtQuantile(p)) }
	return Quantiles{
		Mean: time.Duration(h.Mean()),
		P50:  at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99),
		Max: time.Duration(h.Max()),
	}
}

// report sums up a run that is over.
func (r *run) report(t *tally) *Report {
	p := &Report{
		URL: r.o.URL, Method: r.o.Method, Loop: "closed", Connections: r.o.Connections, Rate: r.o.Rate,
		Seconds:  time.Since(r.start).Seconds(),
		Answers:  t.answers,
		Requests: t.answers + t.failed() - t.errors[Status],
		Failed:   t.failed(), BodyBytes: t.bytes, Connects: t.connections,
		ErrorCounts: Errors{}, Statuses: t.statusCounts(),
		Latency: quantiles(t.latency), Service: quantiles(t.service),
	}
	if r.o.Rate > 0 {
		p.Loop = "open"
		p.NotSent = max(0, r.due()-t.begun)
	}
	if p.Seconds > 0 {
		p.PerSecond = float64(p.Answers) / p.Seconds
	}
	for c, n := range t.errors {
		if n > 0 {
			p.ErrorCounts[Cause(c).String()] = n
		}
	}
	return p
}

// AllFailed says whether not one request was answered well.
func (p *Report) AllFailed() bool { return p.Failed >= p.Requests }

// WriteText prints the report for people.
func (p *Report) WriteText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	loop := "closed loop"
	if p.Loop == "open" {
		loop = fmt.Sprintf("open loop at %g/s", p.Rate)
	}
	fmt.Fprintf(tw, "%s %s\n%d connections, %s, %.2f s\n\n", p.Method, p.URL, p.Connections, loop, p.Seconds)
	fmt.Fprintf(tw, "answers\t%d\t%.1f/s\t%s\n", p.Answers, p.PerSecond, Bytes(p.BodyBytes))
	fmt.Fprintf(tw, "failed\t%d\t%s\n", p.Failed, p.Causes())
	fmt.Fprintf(tw, "status\t%s\n", p.statusText())
	fmt.Fprintf(tw, "connects\t%d\n", p.Connects)
	if p.NotSent > 0 {
		fmt.Fprintf(tw, "not sent\t%d\tdue, but every connection was busy: the target is slower than the rate\n", p.NotSent)
	}
	fmt.Fprintf(tw, "\n\tp50\tp90\tp99\tp99.9\tp99.99\tmax\tmean\n")
	if p.Loop == "open" {
		p.Latency.row(tw, "latency")
		p.Service.row(tw, "service")
		fmt.Fprintf(tw, "\nlatency: from when the request was due; service: from when it was sent\n")
	} else {
		p.Latency.row(tw, "latency")
	}
	return tw.Flush()
}

// row prints q as one line of a table.
func (q Quantiles) row(w io.Writer, name string) {
	fmt.Fprintf(w, "%s", name)
	for _, d := range []time.Duration{q.P50, q.P90, q.P99, q.P999, q.P9999, q.Max, q.Mean} {
		fmt.Fprintf(w, "\t%s", Short(d))
	}
	fmt.Fprintln(w)
}

// Causes is the errors by cause, most frequent first.
func (p *Report) Causes() string {
	names := slices.SortedFunc(maps.Keys(p.ErrorCounts), func(a, b string) int {
		return int(p.ErrorCounts[b] - p.ErrorCounts[a])
	})
	for i, n := range names {
		names[i] = n + " " + strconv.FormatInt(p.ErrorCounts[n], 10)
	}
	return strings.Join(names, ", ")
}

// statusText is "200 × 120, 503 × 3".
func (p *Report) statusText() string {
	var parts []string
	for _, s := range slices.Sorted(maps.Keys(p.Statuses)) {
		parts = append(parts, fmt.Sprintf("%d × %d", s, p.Statuses[s]))
	}
	return strings.Join(parts, ", ")
}

// Short is d with three digits: 1.23ms, 45.6µs, 2.00s.
func Short(d time.Duration) string {
	v, unit := float64(d)/1e3, "µs"
	switch {
	case d >= time.Second:
		v, unit = d.Seconds(), "s"
	case d >= time.Millisecond:
		v, unit = float64(d)/1e6, "ms"
	}
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f%s", v, unit)
	case v >= 10:
		return fmt.Sprintf("%.1f%s", v, unit)
	default:
		return fmt.Sprintf("%.2f%s", v, unit)
	}
}

// Bytes is n with a binary unit.
func Bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.2f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%d B", n)
	}
}
