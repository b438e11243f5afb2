// Command versus compares the CPU that proxies spend on a request.
//
// Load generator, proxy and origin are pinned to one core, so that every proxy
// is saturated, and take turns: in each round every proxy is loaded once. What
// counts is the processor time of the proxy's process, from /proc/PID/stat,
// divided by the requests it served; the table shows medians over the rounds,
// of the ratio to the first peer in the same round, too. On a shared machine
// read the ratios.
//
//	go run ./bench/versus                    # against every peer that is installed
//	go run ./bench/versus -rounds 9 -d 5s -c 256 -peers nginx
//
// It needs Linux, nginx (it is the origin, too) and taskset; wrk is used as
// the load generator where it is installed, else weir bench.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"

	"weir/bench/bed"
)

// options are the flags.
type options struct {
	rounds int
	length time.Duration
	conns  int
	core   int
	size   int
	peers  string
	weir   string
	json   bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 7, "rounds; each loads every proxy once")
	flag.DurationVar(&o.length, "d", 3*time.Second, "how long a proxy is loaded in a round")
	flag.IntVar(&o.conns, "c", 64, "keep-alive connections")
	flag.IntVar(&o.core, "core", 1, "the core that everything is pinned to")
	flag.IntVar(&o.size, "size", 130, "bytes of an answer's body")
	flag.StringVar(&o.peers, "peers", "nginx,haproxy,caddy", "what to compare with, as far as installed; ratios are to the first")
	flag.StringVar(&o.weir, "weir", "", "the weir binary (default: built from this module)")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "versus: %v\n", err)
		stop()
		os.Exit(1)
	}
}

// compare sets everything up, measures and prints.
func compare(ctx context.Context, o options) error {
	for _, tool := range []string{"taskset", "nginx"} {
		if _, err := bed.LookPath(tool); err != nil {
			return fmt.Errorf("%s is needed: %w", tool, err)
		}
	}
	dir, err := os.MkdirTemp("", "weir-versus-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.weir == "" {
		if o.weir, err = bed.BuildWeir(ctx, dir); err != nil {
			return err
		}
	}
	b := &bench{bed: bed.New(dir), core: o.core}
	defer b.bed.Stop()
	targets, err := b.start(ctx, o)
	if err != nil {
		return err
	}
	results, err := rounds(ctx, o, targets)
	if err != nil {
		return err
	}
	if o.json {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	return printTable(o, results)
}

// printTable prints one line a proxy.
func printTable(o options, results []result) error {
	fmt.Printf("%d rounds of %v, %d connections, %d-byte bodies, all on core %d, load by %s\n\n",
		o.rounds, o.length, o.conns, o.size, o.core, loader())
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "proxy\tuser µs\tsystem µs\tCPU µs/request\tlowest\trequests/s\tfailed\t× "+results[0].Name+"\t")
	for _, r := range results {
		fmt.Fprintf(tw, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%d\t%.3f\t\n",
			r.Name, r.User, r.System, r.CPU, r.Lowest, r.PerSecond, r.Failed, r.Ratio)
	}
	return tw.Flush()
}

// loader names the load generator.
func loader() string {
	if _, err := exec.LookPath("wrk"); err == nil {
		return "wrk"
	}
	return "weir bench"
}

// wanted is the list of peers that were asked for.
func (o options) wanted() []string {
	return strings.FieldsFunc(o.peers, func(r rune) bool { return r == ',' })
}
