package testkit

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"weir/internal/control"
	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/pool"
	"weir/proxy"
)

// closeWait bounds the end of a Weir; a test that exceeds it fails. closeGrace
// is for what is almost done: a backend that never answers is not waited for.
const (
	closeWait  = 15 * time.Second
	closeGrace = 200 * time.Millisecond
)

// Weir is a whole proxy in the test's process: event loops, listeners, pools,
// history. The admin API is not part of it.
type Weir struct {
	Control *control.Controller
	Proxy   *proxy.Server
	Group   *loop.Group

	t       testing.TB
	metrics *metrics.Registry
	logs    *lines
	access  *lines
	end     func() // of the writer's goroutine
	once    sync.Once
}

// Start runs the configuration until t ends, with listeners on ports of
// 127.0.0.1 that are best left to the kernel ("127.0.0.1:0"; see Addr). When t
// ends it also checks that nothing is left behind.
func Start(t testing.TB, yaml string) *Weir {
	t.Helper()
	return StartOn(t, yaml, loop.Options{})
}

// StartOn is Start with a say in the event loops.
func StartOn(t testing.TB, yaml string, o loop.Options) *Weir {
	t.Helper()
	NoLeaks(t)
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	w := &Weir{t: t, logs: new(lines), access: new(lines)}
	if o.Panic == nil {
		o.Panic = func(v any, stack []byte) { t.Errorf("panic on a loop: %v\n%s", v, stack) }
	}
	var err error
	if w.Group, err = loop.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	w.metrics = metrics.New(w.Group.Len())
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), w.logs, zap.DebugLevel))
	access := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), w.access, zap.InfoLevel))
	w.Proxy = proxy.New(proxy.Options{Group: w.Group, Metrics: w.metrics, Log: log, AccessLog: access, Dir: filepath.Dir(path)})
	w.Control, err = control.New(control.Options{Path: path, Proxy: w.Proxy, Group: w.Group, Metrics: w.metrics, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Control.Start(context.Background()); err != nil {
		t.Fatalf("start: %v", err)
	}
	w.run()
	return w
}

// run starts the writer.
func (w *Weir) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Control.Run(ctx) }()
	w.end = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("control: %v", err)
		}
	}
}

// Addr is where a listener listens.
func (w *Weir) Addr(listener string) string {
	w.t.Helper()
	a := w.Proxy.ListenerAddr(listener)
	if a == nil {
		w.t.Fatalf("no listener is called %q", listener)
	}
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// Apply runs another configuration. One that is rejected fails the test.
func (w *Weir) Apply(yaml string) control.Verdict {
	w.t.Helper()
	v, err := w.TryApply(yaml)
	if err != nil || v.Result != control.Applied && v.Result != control.Unchanged {
		w.t.Fatalf("apply: %s %s %v %v", v.Result, v.Message, v.Problems, err)
	}
	return v
}

// TryApply runs another configuration, which may be refused.
func (w *Weir) TryApply(yaml string) (control.Verdict, error) {
	return w.Control.Apply(context.Background(), []byte(yaml), control.Origin{Kind: "api", Author: "test"}, 0)
}

// Rollback goes back to a version; 0 is the one before.
func (w *Weir) Rollback(to int) control.Verdict {
	w.t.Helper()
	v, err := w.Control.Rollback(context.Background(), to, control.Origin{Kind: "rollback", Author: "test"})
	if err != nil || v.Result != control.Applied && v.Result != control.Unchanged {
		w.t.Fatalf("rollback: %s %s %v", v.Result, v.Message, err)
	}
	return v
}

// Backend is the status of a pool's backend.
func (w *Weir) Backend(pool, address string) pool.BackendStatus {
	w.t.Helper()
	s, ok := w.Control.Pool(pool)
	for _, b := range s.Backends {
		if ok && b.Address == address {
			return b
		}
	}
	w.t.Fatalf("pool %q has no backend %s", pool, address)
	panic("unreachable")
}

// Await waits until a backend's state is one of the pool.State constants. The
// pools' events wake it, so it needs no sleep.
func (w *Weir) Await(poolName, address, state string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, subscribe := w.Control.Events()
	events := subscribe(ctx)
	for w.Backend(poolName, address).State != state {
		if _, ok := <-events; !ok {
			w.t.Fatalf("backend %s is %s, not %s, after %v", address, w.Backend(poolName, address).State, state, patience)
		}
	}
}

// Metrics is what a scrape would give.
func (w *Weir) Metrics() string {
	rec := httptest.NewRecorder()
	w.metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	return rec.Body.String()
}

// Metric is the value of one series, spelled with its labels as a scrape
// gives them, and "" if there is no such series.
func (w *Weir) Metric(series string) string {
	for line := range strings.Lines(w.Metrics()) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Tally is what a route has answered so far, as the guard sees it.
func (w *Weir) Tally(listener, route string) metrics.Tally {
	return w.metrics.Route(listener, route).Tally()
}

// Log is the system log so far, one JSON object a line.
func (w *Weir) Log() string { return w.logs.String() }

// AccessLog is the access log so far, one JSON object a line. Records come a
// moment after their answers; after Close all are there.
func (w *Weir) AccessLog() string { return w.access.String() }

// Close ends it all: requests that run on for more than a moment are cut off. Tests need not call it.
func (w *Weir) Close() {
	w.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		if w.Proxy != nil {
			grace, cancel := context.WithTimeout(ctx, closeGrace)
			_ = w.Proxy.Shutdown(grace) // says what it did not wait for
			cancel()
		}
		if w.end != nil {
			w.end()
		}
		if w.Control != nil {
			if err := w.Control.Close(ctx); err != nil {
				w.t.Errorf("close: %v", err)
			}
		}
		if err := w.Group.Close(); err != nil {
			w.t.Errorf("close the loops: %v", err)
		}
		if w.Proxy != nil {
			w.Proxy.Close()
		}
	})
}

// lines is a log that can be read.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// Sync does nothing; zap asks for it.
func (l *lines) Sync() error { return nil }

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
