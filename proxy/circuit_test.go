package proxy_test

import (
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// broken is a Weir before a backend, with these entries of circuit_breaker.
func broken(b *testkit.Backend, breaker string) string {
	return setup{
		backends: at(b), route: "circuit_breaker: {" + breaker + "}",
		pool: "health: {passive: {consecutive_errors: 0}}\n",
	}.yaml()
}

// until asks for / until the answer is what it should be: which request opens a
// breaker is exact to a few.
func until(t *testing.T, c *testkit.Client, what string, ok func(r *testkit.Reply) bool) {
	t.Helper()
	eventually(t, what, func() bool { return ok(c.Get("/")) })
}

func isOpen(r *testkit.Reply) bool { return r.Header("X-Weir-Reason") == "circuit_open" }

// A route whose backends answer with errors is given a rest, and says so once.
func TestCircuitOpens(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		for name, m := range map[string]testkit.Manner{
			"errors": testkit.Answer(500, "oops"), "resets": testkit.Reset, "garbage": testkit.Raw("garbage\r\n\r\n", false), "half": testkit.HalfBody(10, 5),
		} {
			b := testkit.NewBackend(t, m)
			w := testkit.StartOn(t, broken(b, "error_share: 50, min_requests: 10, window: 1m, open: 1h"), o)
			if got := w.Metric(`weir_circuit_breaker_open{listener="web",route="all"}`); got != "0" {
				t.Errorf("%s: the gauge is %q before anything happened", name, got)
			}
			for range 10 {
				if r, _ := get(t, w); r != nil && isOpen(r) {
					t.Errorf("%s: open after %d requests", name, b.Requests.Load())
				}
			}
			c := testkit.Dial(t, w.Addr("web"))
			eventually(t, "the breaker opens", func() bool { r, _ := get(t, w); return r != nil && isOpen(r) })
			n := b.Requests.Load()
			for range 20 {
				r := c.Get("/")
				refused(t, r, 503, "circuit_open")
				if after := r.Header("Retry-After"); after != "3600" && after != "3599" {
					t.Errorf("%s: Retry-After is %q", name, after)
				}
			}
			if got := b.Requests.Load(); got != n {
				t.Errorf("%s: %d requests came through", name, got-n)
			}
			if got := w.Metric(`weir_circuit_breaker_open{listener="web",route="all"}`); got != "1" {
				t.Errorf("%s: the gauge is %q", name, got)
			}
			eventually(t, "the log says so", func() bool { return grep(w.Log(), "circuit breaker opened") != "" })
			if got := grep(w.Log(), "circuit breaker opened"); strings.Count(got, "\n") != 1 || !strings.Contains(got, "of 1") || !strings.Contains(got, `"route":"all"`) {
				t.Errorf("%s: the log says %s", name, got)
			}
			if s := w.Control.Status(); len(s.Traffic.Circuits) != 1 || s.Traffic.Circuits[0].Route != "all" || len(s.Warnings) != 1 {
				t.Errorf("%s: the status says %+v, %q", name, s.Traffic.Circuits, s.Warnings)
			}
			eventually(t, "there is an event", func() bool {
				past, _ := w.Control.Events()
				e := past[len(past)-1]
				return e.Kind == "route" && e.What == "circuit_opened" && e.Listener == "web" && e.Route == "all" && e.Cause != ""
			})
			w.Close()
		}
	})
}

// When its time is over one request at a time finds out whether it is better.
func TestCircuitCloses(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Answer(503, "busy"))
		w := testkit.StartOn(t, broken(b, "error_share: 50, min_requests: 5, window: 1m, open: 100ms"), o)
		c := testkit.Dial(t, w.Addr("web"))
		until(t, c, "the breaker opens", isOpen)

		// a trial, while which nobody else comes through
		release := make(chan bool)
		b.Become(func(x *testkit.Exchange) bool { <-release; return testkit.Answer(200, "ok")(x) })
		n := b.Requests.Load()
		trial := testkit.Dial(t, w.Addr("web"))
		eventually(t, "a trial is let through", func() bool {
			trial.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			for b.Requests.Load() == n {
				if !trial.Silent(10 * time.Millisecond) {
					refused(t, trial.Read("GET"), 503, "circuit_open")
					return false
				}
			}
			return true
		})
		for range 20 {
			refused(t, c.Get("/"), 503, "circuit_open")
		}
		if got := b.Requests.Load() - n; got != 1 {
			t.Errorf("%d requests came through", got)
		}
		close(release)
		if r := trial.Read("GET"); r.Body != "ok" {
			t.Error(r)
		}
		for range 3 {
			if r := c.Get("/"); r.Body != "ok" {
				t.Error(r)
			}
		}
		eventually(t, "the log says so", func() bool { return grep(w.Log(), "circuit breaker closed") != "" })
		if got := w.Metric(`weir_circuit_breaker_open{listener="web",route="all"}`); got != "0" {
			t.Errorf("the gauge is %q", got)
		}
		if s := w.Control.Status(); len(s.Traffic.Circuits) != 0 || len(s.Warnings) != 0 {
			t.Errorf("the status says %+v, %q", s.Traffic.Circuits, s.Warnings)
		}
	})
}

// The head of a good answer is enough for a trial: a stream may run for hours.
func TestCircuitAndStreams(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(500, "oops"))
	w := testkit.StartOn(t, broken(b, "error_share: 50, min_requests: 5, window: 1m, open: 100ms"), single)
	c := testkit.Dial(t, w.Addr("web"))
	until(t, c, "the breaker opens", isOpen)
	events := make(chan string)
	defer close(events)
	b.Become(testkit.Events(events))
	eventually(t, "the breaker closes, though three streams run", func() bool {
		s := testkit.Dial(t, w.Addr("web"))
		s.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		_, _ = s.R.Peek(1)
		return len(w.Proxy.Status().Circuits) == 0
	})
}

// Requests of clients that leave, or that nobody could serve at once, are no
// errors. A trial that a client gives up is followed by another.
func TestCircuitAndClients(t *testing.T) {
	b := testkit.NewBackend(t, testkit.NeverAnswer)
	w := testkit.StartOn(t, setup{
		backends: []string{strings.TrimSuffix(at(b)[0], "}") + ", max_requests: 1}"}, route: "circuit_breaker: {error_share: 1, min_requests: 1, window: 1m, open: 1h}",
	}.yaml(), single)
	for i := range 10 {
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		eventually(t, "the request is in work", func() bool { return b.Requests.Load() == int64(i+1) })
		refused(t, testkit.Get(t, w.Addr("web"), "/"), 503, "all_full")
		c.Reset()
		eventually(t, "its lease has ended", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
	}
	b.Become(testkit.Answer(404, "nothing"))
	for range 10 {
		if r := testkit.Get(t, w.Addr("web"), "/"); r.Status != 404 {
			t.Error(r)
		}
	}
}

// An open breaker outlives changes of the configuration and rollbacks; one that
// is taken away is closed.
func TestCircuitAcrossReloads(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(500, "oops"))
	const breaker = "error_share: 50, min_requests: 5, window: 1m, open: 1h"
	w := testkit.StartOn(t, broken(b, breaker), loop.Options{Loops: 2})
	c := testkit.Dial(t, w.Addr("web"))
	until(t, c, "the breaker opens", isOpen)
	w.Apply(broken(b, breaker) + "# the same\n")
	refused(t, c.Get("/"), 503, "circuit_open")
	w.Apply(broken(b, "error_share: 90, min_requests: 50, window: 10s, open: 1m"))
	refused(t, c.Get("/"), 503, "circuit_open")
	w.Rollback(0)
	refused(t, c.Get("/"), 503, "circuit_open")

	w.Apply(before(b))
	if r := c.Get("/"); r.Body != "oops" {
		t.Error(r)
	}
	if got := w.Metric(`weir_circuit_breaker_open{listener="web",route="all"}`); got != "" {
		t.Errorf("the gauge of a route without a breaker is %q", got)
	}
	w.Rollback(0)
	if r := c.Get("/"); r.Body != "oops" {
		t.Error(r)
	}
	until(t, c, "the breaker opens again", isOpen)
}

// Each route has its own.
func TestCircuitsOfRoutes(t *testing.T) {
	b := testkit.NewBackend(t, testkit.ByPath(map[string]testkit.Manner{"/": testkit.Answer(200, "ok"), "/bad": testkit.Answer(500, "oops")}))
	const breaker = ", circuit_breaker: {error_share: 50, min_requests: 5, open: 1h}}"
	w := testkit.StartOn(t, setup{backends: at(b), routes: "{name: bad, match: {path: /bad}, pool: web" + breaker + ", {name: all, pool: web" + breaker}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	eventually(t, "the breaker opens", func() bool { return isOpen(c.Get("/bad")) })
	for range 10 {
		if r := c.Get("/"); r.Body != "ok" {
			t.Error(r)
		}
	}
}

// A route's deadline that passes while a client sends its body says nothing about
// the route or a backend, however much of it a backend has seen.
func TestCircuitAndSlowClients(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, setup{
			backends: at(b), pool: "health: {passive: {consecutive_errors: 1}}",
			route: "timeouts: {request: 100ms}, circuit_breaker: {error_share: 1, min_requests: 1, window: 1m, open: 1h}",
		}.yaml(), o)
		for _, length := range []int{4, 40_000} { // waited for whole, and passed on as it comes
			for range 3 {
				c := testkit.Dial(t, w.Addr("web"))
				c.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + itoa(length) + "\r\n\r\nab")
				if length == 4 { // of which nobody is told before it is whole
					time.Sleep(150 * time.Millisecond) // until the deadline has passed, which nothing tells
					c.Send("cd")
				}
				r, err := c.TryRead("POST")
				if err == nil && (r.Status < 400 || isOpen(r)) {
					t.Errorf("a body of %d bytes: %v", length, r)
				}
			}
		}
		if r := testkit.Get(t, w.Addr("web"), "/"); r.Status != 200 {
			t.Error(r)
		}
		if s := w.Backend("web", b.Addr()); s.Errors != 0 || s.State != "up" {
			t.Errorf("%+v", s)
		}
	})
}
