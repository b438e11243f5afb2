package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/admin"
	"weir/internal/control"
	"weir/pool"
)

// statusQuery is one call of weir status.
type statusQuery struct {
	admin adminFlags
	json  bool
}

// statusCommand shows what runs.
func statusCommand() *cobra.Command {
	q := &statusQuery{}
	cmd := &cobra.Command{
		Use:   "status [POOL | POOL/BACKEND]",
		Short: "Show what runs: version, file, listeners, backends",
		Long: `Shows the version that runs and whether the file is the same, the listeners, and
every backend with its state, since when and why. Exit code 0: ready. 1: not
ready (starting, or on its way out). 3: no Weir answers. So it serves as the
HEALTHCHECK of a container.

With POOL or POOL/BACKEND it shows only those; the exit code then is 1 when
there is none of that name.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: q.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := q.admin.client()
			switch {
			case err != nil:
				return err
			case len(args) == 0:
				return q.all(cmd, c)
			case strings.Contains(args[0], "/"):
				return q.backend(cmd, c, args[0])
			default:
				return q.pool(cmd, c, args[0])
			}
		},
	}
	q.admin.bind(cmd)
	cmd.Flags().BoolVar(&q.json, "json", false, "print JSON")
	return cmd
}

// all shows everything.
func (q *statusQuery) all(cmd *cobra.Command, c *client) error {
	var s control.Status
	if err := c.ask(cmd.Context(), question{method: http.MethodGet, path: "/v1/status"}, &s); err != nil {
		return err
	}
	var err error
	if q.json {
		err = printJSON(cmd.OutOrStdout(), s)
	} else {
		err = printStatus(cmd.OutOrStdout(), s, time.Now())
	}
	if err == nil && !s.Ready {
		err = silently(exitRefused)
	}
	return err
}

// pool shows one pool.
func (q *statusQuery) pool(cmd *cobra.Command, c *client, name string) error {
	var st pool.Status
	if err := c.ask(cmd.Context(), question{method: http.MethodGet, path: "/v1/pools/" + url.PathEscape(name)}, &st); err != nil {
		return err
	}
	if q.json {
		return printJSON(cmd.OutOrStdout(), st)
	}
	return printPools(cmd.OutOrStdout(), []pool.Status{st}, time.Now())
}

// backend shows one backend, with all that is known about it.
func (q *statusQuery) backend(cmd *cobra.Command, c *client, name string) error {
	path, err := backendPath(name)
	if err != nil {
		return err
	}
	var b admin.Backend
	if err := c.ask(cmd.Context(), question{method: http.MethodGet, path: path}, &b); err != nil {
		return err
	}
	if q.json {
		return printJSON(cmd.OutOrStdout(), b)
	}
	return printBackend(cmd.OutOrStdout(), name, b, time.Now())
}

// complete offers the backends of the running Weir to the shell.
func (q *statusQuery) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return runningBackends(cmd.Context(), &q.admin), cobra.ShellCompDirectiveNoFileComp
}

// printStatus renders everything for a person.
func printStatus(w io.Writer, s control.Status, now time.Time) error {
	fmt.Fprintf(w, "version %d since %s (%s), by %s", s.Version, clock(s.Since), ago(now, s.Since), s.Origin)
	if s.Author != "" {
		fmt.Fprintf(w, ", %s", s.Author)
	}
	readiness := "ready"
	if !s.Ready {
		readiness = "not ready"
	}
	fmt.Fprintf(w, "\n%s, %s in flight, up %s\n", readiness, plural(s.Traffic.InFlight, "request"), ago(now, s.Started))
	fmt.Fprintf(w, "file %s: %s\n", s.File.Path, s.File.State)
	printGuard(w, s.Guard)
	printTrial(w, s.Trial)
	for _, text := range s.Warnings {
		fmt.Fprintf(w, "WARNING: %s\n", text)
	}
	for _, p := range s.File.Problems {
		fmt.Fprintf(w, "  %s\n", p)
	}
	if (s.File.State == control.Rejected || s.File.State == control.Held) && s.File.Message != "" {
		fmt.Fprintf(w, "  %s\n", s.File.Message)
	}
	listeners := &table{}
	listeners.row("LISTENER", "ADDRESS", "CONNECTIONS")
	for _, l := range s.Traffic.Listeners {
		name := l.Name
		if l.Draining {
			name += " (draining)"
		}
		listeners.row(name, l.Address, strconv.Itoa(l.Connections))
	}
	fmt.Fprintln(w)
	err := listeners.print(w)
	if len(s.Pools) > 0 {
		fmt.Fprintln(w)
		err = errors.Join(err, printPools(w, s.Pools, now))
	}
	return errors.Join(err, printOverrides(w, s.Override))
}

// printGuard tells what the guard watches, if anything.
func printGuard(w io.Writer, g *control.Guarded) {
	if g == nil {
		return
	}
	fmt.Fprintf(w, "guard: watches version %d until %s\n", g.Version, clock(g.Until))
	for _, r := range g.Routes {
		fmt.Fprintf(w, "  route %s: %s: %s, errors %.1f %% (before %.1f %%), p99 %.0f ms (before %.0f ms)\n", r.Route, r.Verdict,
			plural(r.After.Requests, "answer"), r.After.ErrorShare, r.Before.ErrorShare, 1000*r.After.P99, 1000*r.Before.P99)
	}
}

// printPools renders pools: their backends, and what there is to say of a pool as
// a whole.
func printPools(w io.Writer, pools []pool.Status, now time.Time) error {
	err := backendTable(pools, now).print(w)
	for _, p := range pools {
		if p.Panic {
			fmt.Fprintf(w, "pool %s: PANIC: too few backends are fit, so all are used\n", p.Name)
		}
		if q := p.Queue; q.Size > 0 || q.Length > 0 {
			fmt.Fprintf(w, "pool %s: %s of %d wait in the queue\n", p.Name, plural(q.Length, "request"), q.Size)
		}
	}
	return err
}

// backendTable renders pools, one line a backend.
func backendTable(pools []pool.Status, now time.Time) *table {
	t := &table{}
	t.row("POOL/BACKEND", "STATE", "SINCE", "IN FLIGHT", "WEIGHT", "TIER", "REQUESTS", "ERRORS", "CAUSE")
	for _, p := range pools {
		for _, b := range slices.Concat(p.Backends, p.Leaving) {
			t.row(p.Name+"/"+b.Address, b.State, ago(now, b.Since), strconv.Itoa(b.InFlight), strconv.Itoa(b.Weight),
				strconv.Itoa(b.Tier), strconv.FormatUint(b.Requests, 10), strconv.FormatUint(b.Errors, 10), causeOf(b, now))
		}
		if len(p.Backends) == 0 && !p.Removed {
			t.row(p.Name+"/", "empty", "", "", "", "", "", "", "")
		}
	}
	return t
}

// causeOf is why a backend is in its state, and how far its drain has come.
func causeOf(b pool.BackendStatus, now time.Time) string {
	if b.Drain == nil || b.InFlight == 0 {
		return b.Cause
	}
	return b.Cause + ": " + progressOf(b, now)
}

// drainRows tell how far a backend's drain has come.
func drainRows(t *table, d *pool.DrainStatus, now time.Time) {
	t.row("drains since", fmt.Sprintf("%s (%s)", clock(d.Since), ago(now, d.Since)))
	switch until := clock(d.Until); {
	case d.Until.IsZero():
		t.row("deadline", "none")
	case d.Empty.IsZero() && now.Before(d.Until):
		t.row("deadline", fmt.Sprintf("%s (%v left)", until, roughly(d.Until.Sub(now))))
	default:
		t.row("deadline", until)
	}
	t.row("closed by it", strconv.Itoa(d.Closed))
	t.row("empty since", clock(d.Empty))
}

// printBackend renders one backend, one line a fact.
func printBackend(w io.Writer, name string, b admin.Backend, now time.Time) error {
	t := &table{}
	t.row("backend", name)
	t.row("state", fmt.Sprintf("%s since %s (%s)", b.State, clock(b.Since), ago(now, b.Since)))
	t.row("cause", b.Cause)
	t.row("admin", b.Admin.String())
	t.row("health", b.Health)
	if b.Ejected {
		t.row("ejected until", clock(b.EjectedUntil))
	}
	if b.HalfOpen {
		t.row("on trial", "one request at a time until one has succeeded")
	}
	t.row("connects to", b.Target)
	t.row("weight", weightOf(b))
	limit := "no limit"
	switch {
	case b.ConcurrencyLimit > 0 && b.MaxRequests > 0:
		limit = fmt.Sprintf("limit %d of %d", b.ConcurrencyLimit, b.MaxRequests)
	case b.ConcurrencyLimit > 0:
		limit = fmt.Sprintf("limit %d", b.ConcurrencyLimit)
	case b.MaxRequests > 0:
		limit = fmt.Sprintf("limit %d", b.MaxRequests)
	}
	t.row("in flight", fmt.Sprintf("%d, %s", b.InFlight, limit))
	if b.Streams > 0 {
		t.row("of these", plural(b.Streams, "stream"))
	}
	if b.Drain != nil {
		drainRows(t, b.Drain, now)
	}
	t.row("requests", fmt.Sprintf("%d, with errors %d", b.Requests, b.Errors))
	if c := b.LastCheck; c != nil {
		outcome := "passed"
		if !c.OK {
			outcome = "failed: " + c.Error
		}
		t.row("last check", fmt.Sprintf("%s ago, %s", ago(now, c.At), outcome))
	}
	if beat := heartbeatOf(b, now); beat != "" {
		t.row("heartbeat", beat)
	}
	if err := t.print(w); err != nil || len(b.History) == 0 {
		return err
	}
	fmt.Fprintln(w)
	h := &table{}
	h.row("WHEN", "WHAT", "WHY")
	for _, e := range slices.Backward(b.History) {
		h.row(fmt.Sprintf("%s (%s ago)", clock(e.Time), ago(now, e.Time)), e.What, e.Cause)
	}
	return h.print(w)
}

// weightOf is the weight in one line: what it is, and what of it is in use.
func weightOf(b admin.Backend) string {
	s := fmt.Sprintf("%d, effective %d", b.Weight, b.EffectiveWeight)
	if b.WeightOverride != nil {
		s = fmt.Sprintf("%d by the operator (configured %d), effective %d", *b.WeightOverride, b.Weight, b.EffectiveWeight)
	}
	if b.WeightPercent > 0 {
		s += fmt.Sprintf(", %d %% by its own word", b.WeightPercent)
	}
	if b.Load > 0 {
		s += fmt.Sprintf(", load %.2f", b.Load)
	}
	if b.SlowStart > 0 {
		s += fmt.Sprintf(", slow start at %d %%", b.SlowStart)
	}
	return s + fmt.Sprintf(", tier %d", b.Tier)
}

// heartbeatOf is what is known of its reports; "" where there are none and none
// are wanted.
func heartbeatOf(b admin.Backend, now time.Time) string {
	switch {
	case !b.LastHeartbeat.IsZero() && b.Heartbeat == "":
		return fmt.Sprintf("not wanted, the last %s ago", ago(now, b.LastHeartbeat))
	case !b.LastHeartbeat.IsZero():
		return fmt.Sprintf("%s, the last %s ago", b.Heartbeat, ago(now, b.LastHeartbeat))
	case b.Heartbeat != "":
		return b.Heartbeat + ", none yet"
	}
	return ""
}
