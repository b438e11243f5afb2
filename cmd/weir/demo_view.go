package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"weir/bench"
	"weir/internal/control"
	"weir/pool"
)

// demoView shows the demo once a second: a screen that is painted over on a
// terminal, lines for everything else.
type demoView struct {
	d        *demo
	out      io.Writer
	screen   bool
	samples  []sample // of the last few seconds, oldest first
	answers  int64
	failed   int64
	seen     uint64 // the last event that was printed as a line
	lastLine time.Duration
}

const (
	viewWindow  = 5               // samples that rates and percentiles are about
	viewEvents  = 6               // events on the screen
	viewLine    = 5 * time.Second // between lines where there is no screen
	clearScreen = "\x1b[2J"
	homeCursor  = "\x1b[H"
	eraseRest   = "\x1b[K" // of the line
	eraseBelow  = "\x1b[J"
)

func newDemoView(d *demo, out io.Writer) *demoView {
	v := &demoView{d: d, out: out, screen: isTerminal(out) && !d.o.once}
	v.samples = []sample{d.sample()}
	if v.screen {
		fmt.Fprint(out, clearScreen)
	} else {
		fmt.Fprint(out, v.head())
	}
	return v
}

// refresh is called with each second's load.
func (v *demoView) refresh(p bench.Progress) {
	v.answers += p.Answers
	v.failed += p.Failed
	v.samples = append(v.samples, v.d.sample())
	if len(v.samples) > viewWindow+1 {
		v.samples = v.samples[1:]
	}
	switch {
	case v.screen:
		v.paint(v.head() + v.body(p))
	case !v.d.o.once:
		v.lines(p)
	}
}

// paint overwrites the screen. Lines are erased one by one: clearing
// everything first would flicker.
func (v *demoView) paint(text string) {
	text = strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", eraseRest+"\n")
	fmt.Fprint(v.out, homeCursor+text+eraseRest+"\n"+eraseBelow)
}

// head says what this is and where its parts are.
func (v *demoView) head() string {
	d := v.d
	var b strings.Builder
	fmt.Fprintf(&b, "weir demo: %g requests/s through one proxy to three backends, all in this process\n\n", d.o.rate)
	fmt.Fprintf(&b, "  proxy   http://%s/\n", d.listen)
	fmt.Fprintf(&b, "  config  %s   edit it and save\n", d.config)
	fmt.Fprintf(&b, "  admin   http://%s   metrics: /metrics   from another terminal: weir status%s\n", d.admin, d.adminFlag())
	fmt.Fprintf(&b, "\nThe flaky backend fails now and then: see it taken out of rotation and brought back.\n")
	return b.String()
}

// adminFlag is what commands need to find the demo, if anything.
func (d *demo) adminFlag() string {
	if d.admin == defaultAdmin {
		return ""
	}
	return " --admin " + d.admin
}

// body is the part of the screen that changes.
func (v *demoView) body(p bench.Progress) string {
	var b strings.Builder
	b.WriteString("\n" + v.table())
	rate := float64(p.Answers) / max(p.Interval.Seconds(), 0.001)
	fmt.Fprintf(&b, "\nclients  %.0f requests/s   p50 %s   p99 %s   failed %d of %d\n",
		rate, bench.Short(p.P50), bench.Short(p.P99), v.failed, v.answers)
	s := v.d.weir.control.Status()
	fmt.Fprintf(&b, "config   version %d%s\n", s.Version, configNote(s))
	b.WriteString("\nwhat happened\n")
	events, _ := v.d.weir.control.Events()
	for _, e := range events[max(0, len(events)-viewEvents):] {
		b.WriteString("  " + v.eventText(e) + "\n")
	}
	fmt.Fprintf(&b, "\ntry: change a weight in the file · break the file · weir rollback%[1]s · weir drain%[1]s web/%[2]s\n",
		v.d.adminFlag(), v.d.backends[0].address)
	fmt.Fprintf(&b, "%s   Ctrl-C ends the demo\n", since(v.d.start))
	return b.String()
}

// configNote says what is special about what runs.
func configNote(s control.Status) string {
	switch {
	case len(s.File.Problems) > 0:
		p := s.File.Problems[0]
		return fmt.Sprintf(" runs on; the file was refused: line %d: %s: %s", p.Line, p.Path, p.Message)
	case s.Pinned != nil:
		return fmt.Sprintf(", pinned: %s", s.Pinned.Reason)
	default:
		return ""
	}
}

// table is one line a backend.
func (v *demoView) table() string {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "BACKEND\tSTATE\tWEIGHT\tREQ/S\tIN FLIGHT\tP50\tP99\tERRORS\t")
	old, now := v.samples[0], v.samples[len(v.samples)-1]
	seconds := max(now.at.Sub(old.at).Seconds(), 0.001)
	for _, p := range v.d.weir.control.Pools() {
		for _, k := range p.Backends {
			h := now.latency[k.Address].minus(old.latency[k.Address])
			fmt.Fprintf(tw, "%s\t%s\t%d\t%.0f\t%d\t%s\t%s\t%d\t%s\n", v.d.label(k.Address), k.State, k.EffectiveWeight,
				float64(h.count)/seconds, k.InFlight, h.quantile(0.5), h.quantile(0.99), k.Errors, v.note(k))
		}
	}
	_ = tw.Flush() // to a strings.Builder
	return b.String()
}

// note says what is the matter with a backend.
func (v *demoView) note(k pool.BackendStatus) string {
	ill := v.d.ill(k.Address)
	if k.State == pool.StateUp {
		return ill
	}
	if k.State == pool.StateEjected && ill == "" {
		return "well again; its time is not up"
	}
	return ill
}

// lines is the status for a pipe or a file: events as they come, a summary
// now and then.
func (v *demoView) lines(p bench.Progress) {
	events, _ := v.d.weir.control.Events()
	for _, e := range events {
		if e.ID > v.seen {
			v.seen = e.ID
			fmt.Fprintln(v.out, v.eventText(e))
		}
	}
	if p.Elapsed-v.lastLine < viewLine-time.Second/2 {
		return
	}
	v.lastLine = p.Elapsed
	var states []string
	for _, s := range v.d.weir.control.Pools() {
		for _, k := range s.Backends {
			states = append(states, fmt.Sprintf("%s %s", v.d.named(k.Address), k.State))
		}
	}
	fmt.Fprintf(v.out, "%s  %d answers, %d failed, p50 %s, p99 %s; %s\n", since(v.d.start), v.answers, v.failed,
		bench.Short(p.P50), bench.Short(p.P99), strings.Join(states, ", "))
}

// eventText is one event for people.
func (v *demoView) eventText(e control.Event) string {
	at := e.Time.Local().Format("15:04:05")
	if e.Kind == "backend" {
		return strings.TrimRight(fmt.Sprintf("%s  %-8s %-9s %s", at, v.d.named(e.Backend), e.What, v.d.named(e.Cause)), " ")
	}
	text := e.Kind
	if e.Version > 0 && e.Kind != "rejected" { // there the version is the one that goes on
		text = fmt.Sprintf("%s version %d", e.Kind, e.Version)
	}
	return strings.TrimRight(fmt.Sprintf("%s  %-8s %s  %s", at, "config", text, v.d.named(e.Cause)), " ")
}

// end leaves a last picture and the sum of it all.
func (v *demoView) end(r *bench.Report) {
	if !v.screen {
		fmt.Fprint(v.out, "\n"+v.table())
	}
	fmt.Fprintf(v.out, "\n%d requests, %d failed (%s); p50 %s, p99 %s. Nothing is left running.\n",
		r.Requests, r.Failed, orNone(r.Causes()), bench.Short(r.Latency.P50), bench.Short(r.Latency.P99))
}

// orNone is text, or "none".
func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// since is the time that has passed, as minutes and seconds.
func since(t time.Time) string {
	d := time.Since(t).Round(time.Second)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
