package proxy_test

import (
	"fmt"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// retriedOn is a Weir before a bad and a good backend, the bad one first.
func retriedOn(t *testing.T, o loop.Options, retries string, m testkit.Manner) (w *testkit.Weir, bad, good *testkit.Backend) {
	t.Helper()
	bad, good = testkit.NewBackend(t, m), testkit.NewBackend(t, testkit.Answer(200, "good"))
	w = testkit.StartOn(t, setup{
		backends: []string{fmt.Sprintf("{address: %q}", bad.Addr()), fmt.Sprintf("{address: %q, tier: 1}", good.Addr())},
		route:    "retries: " + retries, pool: "health: {passive: {consecutive_errors: 0}}\n",
	}.yaml(), o)
	return w, bad, good
}

// A status that the route retries is asked of another backend, where there is
// one and the method can be repeated; else the client gets it.
func TestRetryOnStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		for _, busy := range []string{"busy", noise(200_000)} {
			w, bad, good := retriedOn(t, o, `{attempts: 1, on: [connect, "503"]}`, testkit.Answer(503, busy))
			c := testkit.Dial(t, w.Addr("web"))
			if r := c.Get("/"); r.Body != "good" || good.Requests.Load() != 1 || bad.Requests.Load() != 1 {
				t.Errorf("%.100v; %d and %d requests", r, bad.Requests.Load(), good.Requests.Load())
			}
			if r := c.Post("/", "body"); r.Status != 503 || r.Body != busy || good.Requests.Load() != 1 {
				t.Errorf("a POST: %.100v", r)
			}
			good.Become(testkit.Answer(503, "busy, too"))
			if r := c.Get("/"); r.Status != 503 || r.Body != "busy, too" {
				t.Errorf("both: %.100v", r)
			}
			good.Stop()
			if r := c.Get("/"); r.Status == 200 {
				t.Errorf("%.100v", r)
			}
			for _, b := range []*testkit.Backend{bad, good} {
				eventually(t, "no lease is out", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
			}
			w.Close()
		}
	})
}

// Without another backend the answer is the client's.
func TestRetryOnStatusOfTheOnlyBackend(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(503, "busy"))
	w := testkit.StartOn(t, setup{backends: at(b), route: "retries: {attempts: 3, on: [503]}"}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	if r := c.Get("/"); r.Status != 503 || r.Body != "busy" || b.Requests.Load() != 1 {
		t.Errorf("%v after %d requests", r, b.Requests.Load())
	}
	eventually(t, "no lease is out", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
}

// A backend that does not begin to answer in time is given up for another.
func TestPerTryTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		w, bad, good := retriedOn(t, o, "{attempts: 1, on: [timeout], per_try_timeout: 150ms}", testkit.NeverAnswer)
		c := testkit.Dial(t, w.Addr("web"))
		start := time.Now()
		if r := c.Get("/"); r.Body != "good" {
			t.Error(r)
		}
		if took := time.Since(start); took < 100*time.Millisecond || took > 5*time.Second {
			t.Errorf("after %v", took)
		}
		refused(t, c.Post("/", "body"), 504, "upstream_timeout")
		if b, g := bad.Requests.Load(), good.Requests.Load(); b != 2 || g != 1 {
			t.Errorf("%d and %d requests, want 2 and 1", b, g)
		}
	})
}

// What is not listed is not retried.
func TestRetryOnNothing(t *testing.T) {
	w, bad, good := retriedOn(t, single, "{attempts: 3, on: []}", testkit.Reset)
	c := testkit.Dial(t, w.Addr("web"))
	refused(t, c.Get("/"), 502, "upstream_reset")
	bad.Stop()
	refused(t, c.Get("/"), 502, "connect_refused")
	if n := good.Requests.Load(); n != 0 {
		t.Errorf("%d retries", n)
	}
}

// A key keeps its backend; without one the client's address is the key.
func TestConsistentHash(t *testing.T) {
	backends := []*testkit.Backend{testkit.NewBackend(t, testkit.Named("0")), testkit.NewBackend(t, testkit.Named("1")), testkit.NewBackend(t, testkit.Named("2"))}
	for _, key := range []struct{ spec, path, line string }{
		{"header:X-Key", "/", "X-Key: %d"}, {"cookie:id", "/", "Cookie: a=b; id=%d"}, {"query:k", "/?a=b&k=%d", ""}, {"path", "/%d", ""},
	} {
		w := testkit.StartOn(t, setup{backends: at(backends...), pool: "balance: consistent_hash\nhash_key: " + key.spec + "\n"}.yaml(), loop.Options{Loops: 2})
		f := func(i int) string {
			c := testkit.Dial(t, w.Addr("web"))
			path, line := key.path, "X-Other: 1"
			if key.line != "" {
				line = fmt.Sprintf(key.line, i)
			} else {
				path = fmt.Sprintf(key.path, i)
			}
			return c.Get(path, line).Body
		}
		seen := map[string]int{}
		for i := range 60 {
			first := f(i)
			seen[first]++
			for range 2 {
				if again := f(i); again != first {
					t.Errorf("%s: key %d went to %s and %s", key.spec, i, first, again)
				}
			}
		}
		if len(seen) != 3 {
			t.Errorf("%s: %v", key.spec, seen)
		}
		only := map[string]bool{}
		for range 10 {
			only[testkit.Get(t, w.Addr("web"), "/same").Body] = true
		}
		if len(only) != 1 {
			t.Errorf("%s: one client without a key went to %v", key.spec, only)
		}
		w.Close()
	}
}
