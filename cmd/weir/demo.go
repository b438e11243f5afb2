package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weir/bench"
)

// demoOptions are the flags of weir demo.
type demoOptions struct {
	dir      string
	rate     float64
	duration time.Duration
	once     bool
	listen   string // where the proxy would like to listen
	admin    string // where the admin API would like to
}

// demoCommand is what a newcomer runs first.
func demoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show Weir at work: three backends, a proxy and load, in one process",
		Long: `Runs three backends (one steady, one slow, one that fails every now and then),
a Weir before them and light load on it, all on this machine's loopback, and
shows what happens. The configuration is a real file: edit it and watch.

Everything ends with Ctrl-C, and nothing is left behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, release := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer release()
			return runDemo(ctx, o, cmd.OutOrStdout())
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.dir, "dir", "", "keep configuration, history and logs in `DIR` (default: a temporary one, removed at the end)")
	fs.Float64Var(&o.rate, "rate", 200, "requests a second")
	fs.DurationVar(&o.duration, "duration", 0, "end after this time (default: run until Ctrl-C)")
	fs.BoolVar(&o.once, "once", false, "print one status after two seconds and end")
	fs.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address of the proxy; another port if it is taken")
	fs.StringVar(&o.admin, "admin", defaultAdmin, "address of the admin API; another port if it is taken")
	return cmd
}

// demo is everything that runs in the one process.
type demo struct {
	o        demoOptions
	dir      string
	config   string // path of the configuration
	listen   string
	admin    string
	backends []*demoBackend
	weir     *instance
	start    time.Time
}

// runDemo sets the stage, plays until ctx or the options end it, and tidies up.
func runDemo(ctx context.Context, o demoOptions, out io.Writer) (err error) {
	if o.once {
		o.duration = 2500 * time.Millisecond
	}
	if o.rate <= 0 {
		return errors.New("--rate must be more than 0")
	}
	d := &demo{o: o, start: time.Now()}
	if err := d.prepare(); err != nil {
		return err
	}
	defer func() {
		for _, b := range d.backends {
			b.close()
		}
		if o.dir == "" {
			err = errors.Join(err, os.RemoveAll(d.dir))
		}
	}()
	logs, err := os.Create(filepath.Join(d.dir, "weir.log"))
	if err != nil {
		return err
	}
	defer logs.Close()
	access, err := os.Create(filepath.Join(d.dir, "access.log"))
	if err != nil {
		return err
	}
	defer access.Close()
	d.weir, err = assemble(serveOptions{config: d.config, stdout: access, stderr: logs, grace: 2 * time.Second})
	if err != nil {
		return err
	}
	return d.play(ctx, out)
}

// prepare makes the directory, the backends and the configuration.
func (d *demo) prepare() (err error) {
	d.dir = d.o.dir
	if d.dir == "" {
		d.dir, err = os.MkdirTemp("", "weir-demo-")
	} else {
		err = os.MkdirAll(d.dir, 0o755)
	}
	if err != nil {
		return err
	}
	for _, b := range demoCast() {
		if err := b.open(); err != nil {
			return err
		}
		d.backends = append(d.backends, b)
	}
	d.listen, d.admin = preferred(d.o.listen), preferred(d.o.admin)
	d.config = filepath.Join(d.dir, "weir.yaml")
	return os.WriteFile(d.config, []byte(d.yaml()), 0o644)
}

// preferred is address, or the same host with a free port if it is taken.
func preferred(address string) string {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		host, _, _ := net.SplitHostPort(address)
		if ln, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return address // binding it will say what is wrong
		}
	}
	defer ln.Close()
	return ln.Addr().String()
}

// yaml is the demo's configuration: short, and commented for who edits it.
func (d *demo) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The configuration of weir demo. Change a weight, remove a backend, add a
# route, make a mistake: Weir follows as soon as the file is saved, and
# "weir rollback" undoes it.
admin:
  address: %s
listeners:
  - name: web
    address: %s
    protocol: http
    routes:
      - name: hello
        match: {path: /hello}
        respond: {body: "Hello from Weir itself.\n"}
      - name: everything
        pool: web
pools:
  web:
    backends:
`, d.admin, d.listen)
	for _, k := range d.backends {
		fmt.Fprintf(&b, "      - {address: %s, weight: %d}   # %s: %s\n", k.address, k.weight, k.name, k.about)
	}
	b.WriteString(`    health:
      active: {type: http, path: /healthz, interval: 1s, timeout: 500ms, fall: 2, rise: 2}
      passive: {consecutive_errors: 5, ejection: 4s}
`)
	return b.String()
}

// play runs the proxy and, once it is ready, the load and the view.
func (d *demo) play(ctx context.Context, out io.Writer) error {
	serving, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	left := make(chan error, 1)
	go func() { left <- d.weir.run(serving) }()
	var err error
	if d.awaitReady(ctx, left) {
		err = d.show(ctx, out)
	}
	leave()
	return errors.Join(err, <-left)
}

// show loads the proxy and paints, until ctx or the options end it.
func (d *demo) show(ctx context.Context, out io.Writer) error {
	if d.o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.o.duration)
		defer cancel()
	}
	d.start = time.Now()
	for _, b := range d.backends {
		b.begin(d.start)
	}
	v := newDemoView(d, out)
	report, err := bench.Run(ctx, bench.Options{
		URL: "http://" + d.listen + "/", Rate: d.o.rate, Connections: 32, Timeout: 5 * time.Second,
		Progress: v.refresh,
	})
	if err == nil {
		v.end(report)
	}
	return err
}

// awaitReady waits until the listeners serve. It returns false if ctx ended
// first, or the proxy did; its error stays in left.
func (d *demo) awaitReady(ctx context.Context, left chan error) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !d.weir.proxy.Ready() {
		select {
		case err := <-left:
			left <- err
			return false
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
