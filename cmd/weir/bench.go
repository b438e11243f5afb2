package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weir/bench"
)

// benchFlags is the command line of weir bench.
type benchFlags struct {
	options  bench.Options
	body     string
	bodyFile string
	json     bool
	quiet    bool
}

// benchCommand loads a URL and says how long the answers took.
func benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench URL",
		Short: "Load a URL and measure how long it takes to answer",
		Long: `Loads http://HOST:PORT/PATH and prints the distribution of latencies.

Without --rate the loop is closed: each connection sends as soon as its last
request was answered. It shows how much the target can do, but a target that
stalls is asked less, and its latencies look better than its users would find
them.

With --rate the loop is open: that many requests start every second, and their
latency counts from when they were due, whoever was to blame for the delay.

A request fails when it cannot connect, is reset, times out, ends short, breaks
the protocol, or is answered with 400 or more.`,
		Example: `  weir bench http://127.0.0.1:8080/
  weir bench -c 256 -d 30s --rate 5000 http://127.0.0.1:8080/
  weir bench -n 100000 -m POST --body-file order.json -H 'Content-Type: application/json' http://127.0.0.1:8080/orders`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.options.URL = args[0]
			return runBench(cmd, &f)
		},
	}
	fs, o := cmd.Flags(), &f.options
	fs.IntVarP(&o.Connections, "connections", "c", 64, "connections, and so requests at once")
	fs.DurationVarP(&o.Duration, "duration", "d", 10*time.Second, "how long requests are started; 0 with -n: until all are sent")
	fs.Int64VarP(&o.Requests, "requests", "n", 0, "end after so many requests; 0: no such end")
	fs.Float64Var(&o.Rate, "rate", 0, "open loop: start so many requests a second")
	fs.StringArrayVarP(&o.Header, "header", "H", nil, "header line \"Name: value\"; may be repeated")
	fs.StringVarP(&o.Method, "method", "m", "", "method (default GET, with a body POST)")
	fs.StringVar(&f.body, "body", "", "request body")
	fs.StringVar(&f.bodyFile, "body-file", "", "file with the request body")
	fs.DurationVar(&o.Timeout, "timeout", 10*time.Second, "longest wait for a connection and for an answer")
	fs.BoolVar(&f.json, "json", false, "print JSON; durations are seconds")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "no progress line")
	cmd.MarkFlagsMutuallyExclusive("body", "body-file")
	return cmd
}

// runBench runs the benchmark that f describes and prints its report. Ctrl-C
// ends it early; a second one ends the program.
func runBench(cmd *cobra.Command, f *benchFlags) error {
	o := &f.options
	if err := f.complete(cmd.Flags().Changed("duration")); err != nil {
		return err
	}
	if progress := cmd.ErrOrStderr(); !f.quiet && isTerminal(progress) {
		o.Progress = func(p bench.Progress) { writeProgress(progress, p) }
	}
	ctx, release := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer release()
	context.AfterFunc(ctx, release)
	report, err := bench.Run(ctx, *o)
	if err != nil {
		return err
	}
	if o.Progress != nil {
		fmt.Fprint(cmd.ErrOrStderr(), eraseLine)
	}
	print := report.WriteText
	if f.json {
		print = func(w io.Writer) error { return printJSON(w, report) }
	}
	if err := print(cmd.OutOrStdout()); err != nil {
		return err
	}
	if report.AllFailed() {
		return &exitError{code: exitRefused, err: errors.New("not one request succeeded")}
	}
	return nil
}

// complete turns flags into options.
func (f *benchFlags) complete(durationGiven bool) error {
	o := &f.options
	if o.Connections < 1 {
		return errors.New("-c must be at least 1")
	}
	// -n alone means that many, however long it takes.
	if o.Requests > 0 && !durationGiven {
		o.Duration = 0
	}
	if o.Requests == 0 && o.Duration == 0 {
		return errors.New("a run without end: give -d or -n")
	}
	o.Body = []byte(f.body)
	if f.bodyFile != "" {
		b, err := os.ReadFile(f.bodyFile)
		if err != nil {
			return err
		}
		o.Body = b
	}
	return nil
}

// writeProgress overwrites the terminal's line with what the last second was
// like.
func writeProgress(w io.Writer, p bench.Progress) {
	rate := float64(p.Answers) / p.Interval.Seconds()
	fmt.Fprintf(w, "%s%4.0fs  %.0f/s  p50 %s  p99 %s  failed %d", eraseLine,
		p.Elapsed.Seconds(), rate, bench.Short(p.P50), bench.Short(p.P99), p.Failed)
}
