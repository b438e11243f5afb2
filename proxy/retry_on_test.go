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

// What comes behind an answer that was given up never meets another request.
func TestGivenUpAnswerWithSurplus(t *testing.T) {
	w, bad, _ := retriedOn(t, single, `{attempts: 1, on: [connect, 503]}`, func(x *testkit.Exchange) bool {
		x.Write("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\nsurplus")
		x.Wait(50 * time.Millisecond)
		return x.Write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nPOISONED")
	})
	for range 3 {
		if r := testkit.Get(t, w.Addr("web"), "/"); r.Body != "good" {
			t.Fatal(r)
		}
		eventually(t, "the connection is given up", func() bool { return bad.Open.Load() == 0 })
	}
}

// A listed status counts against a backend as it would unlisted.
func TestListedStatusDoesNotEject(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(500, "broken page")), testkit.NewBackend(t, testkit.Answer(500, "broken page"))
	w := testkit.StartOn(t, setup{backends: at(a, b), route: "retries: {attempts: 1, on: [500]}", pool: "health: {passive: {consecutive_errors: 3}}\n"}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	for range 12 {
		if r := c.Get("/"); r.Status != 500 || r.Body != "broken page" {
			t.Fatal(r)
		}
	}
	for _, x := range []*testkit.Backend{a, b} {
		if s := w.Backend("web", x.Addr()); s.State != "up" || s.Errors != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// A refused retry takes nobody's turn: with the budget spent, a status that is
// retried spreads as one that is not.
func TestSpentBudgetTakesNoTurns(t *testing.T) {
	bad, good := testkit.NewBackend(t, testkit.Answer(503, "busy")), testkit.NewBackend(t, testkit.Answer(200, "good"))
	w := testkit.StartOn(t, setup{backends: at(bad, good), route: "retries: {attempts: 1, on: [503], budget: 0}", pool: "health: {passive: {consecutive_errors: 0}}\n"}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	for range 80 {
		c.Get("/") // spends the floor
	}
	answers := map[int]int{}
	for range 100 {
		answers[c.Get("/").Status]++
	}
	if answers[200] < 48 || answers[503] < 45 {
		t.Errorf("%v, want a half each", answers)
	}
}

// More attempts than a request can remember end where they would repeat.
func TestRetriesNeverRepeat(t *testing.T) {
	var list []*testkit.Backend
	for range 5 {
		list = append(list, testkit.NewBackend(t, testkit.Answer(503, "busy")))
	}
	good := testkit.NewBackend(t, testkit.Answer(200, "good"))
	w := testkit.StartOn(t, setup{backends: at(append(list, good)...), route: "retries: {attempts: 10, on: [503], back_off: 1ms}",
		pool: "balance: first\nhealth: {passive: {consecutive_errors: 0}}\n"}.yaml(), single)
	if r := testkit.Get(t, w.Addr("web"), "/"); r.Body != "good" {
		t.Error(r)
	}
	for i, b := range list {
		if n := b.Requests.Load(); n != 1 {
			t.Errorf("backend %d was asked %d times", i, n)
		}
	}
}

// An attempt's own time is for attempts that could be repeated, and an interim
// answer is heard: nothing is sent again behind it.
func TestInterimAnswersAndRetries(t *testing.T) {
	w, bad, good := retriedOn(t, single, "{attempts: 1, on: [reset, timeout], per_try_timeout: 200ms}", func(x *testkit.Exchange) bool {
		_, _ = x.Body()
		x.Wait(50 * time.Millisecond)
		return testkit.Interim(103, testkit.Answer(200, "slow upload"))(x)
	})
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + noise(10_000))
	if !c.Silent(400 * time.Millisecond) {
		t.Error("the upload was cut short")
	}
	c.Send(noise(10_000))
	if r := c.Read("PUT"); r.Status != 103 {
		t.Fatal(r)
	}
	if r := c.Read("PUT"); r.Status != 200 || r.Body != "slow upload" {
		t.Fatal(r)
	}
	bad.Become(testkit.Interim(103, testkit.Reset))
	c = testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if r := c.Read("GET"); r.Status != 103 {
		t.Fatal(r)
	}
	refused(t, c.Read("GET"), 502, "upstream_reset")
	if n := good.Requests.Load(); n != 0 {
		t.Errorf("it was sent again %d times", n)
	}
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

// What the guard is told of a request's time counts what was retried, also where
// nothing better came of it.
func TestTimeOfAnAnswerGivenUp(t *testing.T) {
	busy, silent := testkit.NewBackend(t, testkit.Answer(503, "busy")), testkit.NewBackend(t, testkit.NeverAnswer)
	w := testkit.StartOn(t, setup{
		backends: at(busy, silent), pool: "balance: first", route: "retries: {attempts: 1, on: [503]}, timeouts: {response: 300ms}",
	}.yaml(), single)
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 504, "upstream_timeout")
	eventually(t, "it is counted", func() bool { m := w.Tally("web", "all"); return m.Requests() == 1 })
	if m := w.Tally("web", "all"); m.Quantile(0.5) < 200*time.Millisecond {
		t.Errorf("counted with %v", m.Quantile(0.5))
	}
}
