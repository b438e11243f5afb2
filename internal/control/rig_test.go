package control_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/internal/control"
	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/internal/testkit"
	"weir/proxy"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// rig is a whole Weir without its commands: file, history, proxy, controller.
type rig struct {
	t       testing.TB
	path    string
	strict  bool
	env     func(string) (string, bool)
	resolve func(context.Context, string) ([]netip.Addr, error)
	ctl     *control.Controller
	proxy   *proxy.Server
	metrics *metrics.Registry
	level   zap.AtomicLevel
	logs    *observer.ObservedLogs
	client  *http.Client
	stop    func()
}

// newRig writes source as the configuration file; start runs it.
func newRig(t testing.TB, source string) *rig {
	t.Helper()
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "weir.yaml")}
	r.write(source)
	return r
}

func (r *rig) write(source string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(source), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// start runs Weir until the test ends or restart.
func (r *rig) start() *rig {
	r.t.Helper()
	if err := r.tryStart(); err != nil {
		r.t.Fatalf("Start: %v", err)
	}
	return r
}

func (r *rig) tryStart() error {
	r.t.Helper()
	group, err := loop.New(loop.Options{Loops: 2})
	if err != nil {
		r.t.Fatal(err)
	}
	var core zapcore.Core
	core, r.logs = observer.New(zap.DebugLevel)
	r.metrics = metrics.New(group.Len())
	r.level = zap.NewAtomicLevel()
	r.proxy = proxy.New(proxy.Options{Group: group, Metrics: r.metrics})
	r.ctl, err = control.New(control.Options{
		Path: r.path, Strict: r.strict, Proxy: r.proxy, Group: group, Metrics: r.metrics,
		Log: zap.New(core), Level: &r.level, Env: r.env, Resolve: r.resolve,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	r.client = &http.Client{Transport: transport, Timeout: patience}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		transport.CloseIdleConnections()
		ending, done := context.WithTimeout(context.Background(), patience)
		defer done()
		if err := errors.Join(r.proxy.Shutdown(ending), r.ctl.Close(ending), group.Close()); err != nil {
			r.t.Errorf("shutting down: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
	if err := r.ctl.Start(ctx); err != nil {
		return err
	}
	running.Go(func() {
		if err := r.ctl.Run(ctx); err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	return nil
}

func (r *rig) restart() *rig {
	r.t.Helper()
	r.stop()
	return r.start()
}

// get asks the listener web and returns status and body.
func (r *rig) get() string {
	r.t.Helper()
	addr := r.proxy.ListenerAddr("web")
	if addr == nil {
		return "nobody listens"
	}
	res, err := r.client.Get("http://" + addr.String() + "/")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", res.StatusCode, body)
}

func (r *rig) wantGet(want string) {
	r.t.Helper()
	if got := r.get(); got != want {
		r.t.Errorf("GET / = %q, want %q", got, want)
	}
}

func (r *rig) apply(source string) control.Verdict {
	r.t.Helper()
	v, err := r.ctl.Apply(r.t.Context(), []byte(source), control.Origin{Kind: "api", Author: "ada"}, 0)
	if err != nil {
		r.t.Fatalf("Apply: %v", err)
	}
	return v
}

// mustApply applies what has to work.
func (r *rig) mustApply(source string) control.Verdict {
	r.t.Helper()
	v := r.apply(source)
	if v.Result != control.Applied {
		r.t.Fatalf("Apply: %+v", v)
	}
	return v
}

func (r *rig) mustRollback(to int) control.Verdict {
	r.t.Helper()
	v, err := r.ctl.Rollback(r.t.Context(), to, control.Origin{Kind: "api", Author: "ada"})
	if err != nil || v.Result != control.Applied {
		r.t.Fatalf("Rollback(%d): %+v, %v", to, v, err)
	}
	return v
}

// edit writes the file and waits for the event that tells what came of it.
func (r *rig) edit(source, kind string) control.Event {
	r.t.Helper()
	return r.await(kind, func() { r.write(source) })
}

// await does something and waits for an event.
func (r *rig) await(kind string, do func()) control.Event {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	_, subscribe := r.ctl.Events()
	events := subscribe(ctx)
	do()
	for e := range events {
		if e.Kind == kind || e.What == kind {
			return e
		}
	}
	r.t.Fatalf("no event %q after %v", kind, patience)
	return control.Event{}
}

// said tells whether a log line at or above level contains all parts, in its
// message or fields.
func (r *rig) said(level zapcore.Level, parts ...string) bool {
	for _, e := range r.logs.All() {
		text := e.Message + fmt.Sprint(e.ContextMap())
		all := e.Level >= level
		for _, p := range parts {
			all = all && strings.Contains(text, p)
		}
		if all {
			return true
		}
	}
	return false
}

func (r *rig) wantSaid(level zapcore.Level, parts ...string) {
	r.t.Helper()
	if !r.said(level, parts...) {
		var all []string
		for _, e := range r.logs.All() {
			all = append(all, fmt.Sprint(e.Level, " ", e.Message, " ", e.ContextMap()))
		}
		r.t.Errorf("the log does not say %q:\n%s", parts, strings.Join(all, "\n"))
	}
}

// metric is the value of one series of /metrics, as text.
func (r *rig) metric(series string) string {
	r.t.Helper()
	families, err := r.metrics.Prometheus().Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "{" + l.GetName() + "=" + l.GetValue() + "}"
			}
			if name == series {
				return fmt.Sprint(m.GetGauge().GetValue() + m.GetCounter().GetValue())
			}
		}
	}
	return "none"
}

func (r *rig) wantMetric(series, want string) {
	r.t.Helper()
	if got := r.metric(series); got != want {
		r.t.Errorf("%s = %s, want %s", series, got, want)
	}
}

// saying is a configuration that answers everything with text.
func saying(text string) string {
	return fmt.Sprintf(`
listeners:
  - name: web
    address: 127.0.0.1:0
    routes: [{name: all, respond: {body: %q}}]
`, text)
}

// pooling is a configuration that sends everything to backends.
func pooling(backends ...*testkit.Backend) string {
	var b strings.Builder
	b.WriteString(`
listeners:
  - name: web
    address: 127.0.0.1:0
    routes: [{name: all, pool: api}]
pools:
  api:
    backends:
`)
	for _, x := range backends {
		fmt.Fprintf(&b, "      - {address: %q}\n", x.Addr())
	}
	return b.String()
}
