// Command failures shows what clients notice when backends fail: Weir, nginx and
// HAProxy before the same backends, under the same load, in one run.
//
// The load is an open loop: requests start at a constant rate, and their latency
// counts from when they were due. Backends are processes of their own, so that
// kill -9 can be done to them. Everything is on loopback, and everything ends.
//
//	go run ./bench/failures                      # all of it, about four minutes; Markdown
//	go run ./bench/failures -quick               # the same in less than one; the numbers are rough
//	go run ./bench/failures -scenarios outage -json
//	go run ./bench/failures -v -keep /tmp/run    # with the configurations; keeps them, and what was printed
//
// It needs nginx and haproxy; who is not installed is left out. docs/failures.md
// says what the tables mean.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"weir/bench/bed"
)

// helperCommand makes this program a backend.
const helperCommand = "backend"

// options are the flags.
type options struct {
	scenarios string
	names     string
	rounds    int
	rate      float64
	length    time.Duration
	outage    time.Duration
	after     time.Duration
	timeout   time.Duration
	response  time.Duration
	queue     int
	quick     bool
	weir      string
	keep      string
	verbose   bool
	json      bool

	proxies []proxy // that are there
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == helperCommand {
		os.Exit(helperMain(os.Args[2:]))
	}
	o := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := o.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "failures: %v\n", err)
		os.Exit(1)
	}
}

// parse reads the flags. -quick changes defaults, not what was asked for.
func parse() options {
	var o options
	flag.StringVar(&o.scenarios, "scenarios", "one,slow,outage", "which to run")
	flag.StringVar(&o.names, "proxies", "weir,nginx,haproxy", "whom to run, as far as installed")
	flag.IntVar(&o.rounds, "rounds", 1, "of the first two scenarios; each asks every proxy everything once")
	flag.Float64Var(&o.rate, "rate", 1000, "requests a second of the first scenario")
	flag.DurationVar(&o.length, "d", 4200*time.Millisecond, "length of a run of the first two scenarios")
	flag.DurationVar(&o.outage, "outage", 30*time.Second, "length of the outage")
	flag.DurationVar(&o.after, "after", 10*time.Second, "how long the pools are watched after the outage, in whole seconds")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Second, "after which a client gives up")
	flag.DurationVar(&o.response, "response", time.Second, "response timeout of all proxies in the tuned setup")
	flag.IntVar(&o.queue, "queue", 0, "size of the queue of Weir's pool in the outage; 0: none")
	flag.BoolVar(&o.quick, "quick", false, "less than a minute: shorter runs and timeouts")
	flag.StringVar(&o.weir, "weir", "", "the weir binary (default: built from this module)")
	flag.StringVar(&o.keep, "keep", "", "a directory for configurations and output, to be made (default: thrown away)")
	flag.BoolVar(&o.verbose, "v", false, "print every configuration")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.Parse()
	if o.quick {
		given := map[string]bool{}
		flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for _, short := range []struct {
			name string
			of   *time.Duration
			d    time.Duration
		}{
			{"d", &o.length, 300 * time.Millisecond}, {"outage", &o.outage, 4 * time.Second}, {"after", &o.after, 6 * time.Second},
			{"timeout", &o.timeout, time.Second}, {"response", &o.response, 200 * time.Millisecond},
		} {
			if !given[short.name] {
				*short.of = short.d
			}
		}
	}
	return o
}

// report is everything that was measured.
type report struct {
	Command  string            `json:"command"`
	Machine  string            `json:"machine"`
	Versions map[string]string `json:"versions"`
	One      []*oneResult      `json:"one_of_ten,omitempty"`
	Slow     []*slowResult     `json:"one_slow_of_ten,omitempty"`
	Outage   []*outageResult   `json:"outage,omitempty"`
}

// run does it all.
func (o options) run(ctx context.Context, w io.Writer) error {
	r, clean, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	defer clean()
	rep := report{
		Command:  "go run ./bench/failures " + strings.Join(os.Args[1:], " "),
		Machine:  fmt.Sprintf("%d processors, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH),
		Versions: r.versions(ctx),
	}
	defer r.progress("")
	if o.wants("one") {
		if rep.One, err = r.oneOfTen(ctx); err != nil {
			return err
		}
	}
	if o.wants("slow") {
		if rep.Slow, err = r.oneSlow(ctx); err != nil {
			return err
		}
	}
	if o.wants("outage") {
		if rep.Outage, err = r.blackout(ctx); err != nil {
			return err
		}
	}
	r.progress("")
	if o.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(rep)
	}
	return r.print(w, rep)
}

// prepare finds the programs and makes a directory; clean removes it again.
func (o options) prepare(ctx context.Context) (r *runner, clean func(), err error) {
	for name := range strings.SplitSeq(o.scenarios, ",") {
		if !slices.Contains([]string{"one", "slow", "outage"}, name) {
			return nil, nil, fmt.Errorf("no scenario is called %q; there are one, slow and outage", name)
		}
	}
	if o.rounds < 1 || o.rate <= 0 || min(o.length, o.timeout, o.outage, o.response) <= 0 || o.after < time.Second {
		return nil, nil, errors.New("rounds, rate, d, timeout, outage and response must be more than 0, after at least 1s")
	}
	r = &runner{options: o, paths: map[string]string{}}
	clean = func() {}
	if o.keep != "" {
		if r.dir, err = filepath.Abs(o.keep); err == nil { // processes run elsewhere
			err = os.Mkdir(r.dir, 0o755)
		}
	} else if r.dir, err = os.MkdirTemp("", "weir-failures-"); err == nil {
		clean = func() { _ = os.RemoveAll(r.dir) }
	}
	if err != nil {
		return nil, nil, err
	}
	if err := r.find(ctx); err != nil {
		clean()
		return nil, nil, err
	}
	return r, clean, nil
}

// find fills in the proxies that are there.
func (r *runner) find(ctx context.Context) (err error) {
	for name := range strings.SplitSeq(r.names, ",") {
		i := slices.IndexFunc(proxies, func(p proxy) bool { return p.name == name })
		if i < 0 {
			return fmt.Errorf("no proxy is called %q; there are weir, nginx and haproxy", name)
		}
		path := r.weir
		switch {
		case name != "weir":
			if path, err = bed.LookPath(name); err != nil {
				fmt.Fprintf(os.Stderr, "failures: %s is not installed and left out\n", name)
				continue
			}
		case path == "":
			if path, err = bed.BuildWeir(ctx, r.dir); err != nil {
				return err
			}
		}
		r.paths[name] = path
		r.proxies = append(r.proxies, proxies[i])
	}
	return nil
}

// proxy is the one of that name, if it takes part.
func (r *runner) proxy(name string) (proxy, bool) {
	i := slices.IndexFunc(r.proxies, func(p proxy) bool { return p.name == name })
	if i < 0 {
		return proxy{}, false
	}
	return r.proxies[i], true
}

// wants reports whether a scenario was asked for.
func (o options) wants(scenario string) bool {
	return slices.Contains(strings.Split(o.scenarios, ","), scenario)
}

// versions is what the programs say of themselves.
func (r *runner) versions(ctx context.Context) map[string]string {
	out := map[string]string{}
	for name, path := range r.paths {
		arg := "-v"
		if name == "weir" {
			arg = "version"
		}
		text, err := exec.CommandContext(ctx, path, arg).CombinedOutput()
		if err != nil {
			text = []byte(err.Error())
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		out[name] = first
	}
	return out
}

// print writes the tables, ready for docs/failures.md.
func (r *runner) print(w io.Writer, rep report) error {
	fmt.Fprintf(w, "`%s` on %s.\n\n", strings.TrimSpace(rep.Command), rep.Machine)
	for _, p := range r.proxies {
		fmt.Fprintf(w, "- %s\n", rep.Versions[p.name])
	}
	if r.wants("one") {
		if err := printOne(w, r.options, rep.One); err != nil {
			return err
		}
	}
	if r.wants("slow") {
		if err := printSlow(w, rep.Slow); err != nil {
			return err
		}
	}
	if r.wants("outage") {
		return printOutage(w, r.options, rep.Outage)
	}
	return nil
}

// progress overwrites one line, if somebody looks.
func (r *runner) progress(format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
	}
}
