package proxy_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// retried starts Weir before a backend that misbehaves as m does and one that
// does not. Weights let every first attempt of a round meet the bad one.
func retried(t *testing.T, o loop.Options, attempts int, m testkit.Manner) (w *testkit.Weir, bad, good *testkit.Backend) {
	t.Helper()
	bad, good = testkit.NewBackend(t, m), testkit.NewBackend(t, hashing)
	w = testkit.StartOn(t, setup{
		backends: []string{fmt.Sprintf("{address: %q}", bad.Addr()), fmt.Sprintf("{address: %q, tier: 1}", good.Addr())},
		pool:     "health: {passive: {consecutive_errors: 1000}}\nbalance: round_robin\n",
		route:    fmt.Sprintf("retries: {attempts: %d}", attempts),
	}.yaml(), o)
	return w, bad, good
}

// Where nothing was sent any method goes to another backend.
func TestRetryAfterRefusal(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		w, bad, good := retried(t, o, 1, testkit.Reset)
		bad.Stop()
		c := testkit.Dial(t, w.Addr("web"))
		for _, m := range []string{"GET", "DELETE", "PROPFIND"} {
			if r := c.Do(m + " /"); r.Status != 200 {
				t.Error(m, r)
			}
		}
		if r := c.Post("/", "body"); r.Body != digest("body") {
			t.Error(r)
		}
		large := noise(1_000_000)
		if r := c.Post("/", large); r.Body != digest(large) {
			t.Error(r)
		}
		if n := good.Requests.Load(); n != 5 {
			t.Errorf("%d requests, want 5", n)
		}
		for _, r := range records(t, w) {
			if r.Status != 200 || len(r.Attempts) != 2 || r.Attempts[0].Error != "connect_refused" || r.Attempts[0].Backend != bad.Addr() ||
				r.Backend != good.Addr() || r.Attempts[1].Code != 200 || r.Reason != "" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// Where it may have been acted on, only what can be repeated is.
func TestRetryAfterReset(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		for _, m := range []testkit.Manner{testkit.Reset, testkit.CloseBeforeHead, testkit.CloseInHead} {
			w, bad, good := retried(t, o, 1, m)
			c := testkit.Dial(t, w.Addr("web"))
			for _, m := range []string{"GET", "HEAD", "OPTIONS", "QUERY", "DELETE", "PUT"} {
				if r := c.Do(m + " /"); r.Status != 200 {
					t.Error(m, r)
				}
			}
			if b, g := bad.Requests.Load(), good.Requests.Load(); b != 6 || g != 6 {
				t.Errorf("%d and %d requests, want 6 and 6", b, g)
			}
			for _, m := range []string{"POST", "PATCH", "PROPFIND", "get"} {
				refused(t, c.Do(m+" /"), 502, "upstream_reset")
			}
			refused(t, c.Post("/", "body"), 502, "upstream_reset")
			// a large body that has streamed is gone
			bad.Become(takes(-1, m))
			c.Send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(noise(100_000), 10_000))
			refused(t, c.Read("PUT"), 502, "upstream_reset")
			if n := good.Requests.Load(); n != 6 {
				t.Errorf("%d requests were sent again", n-6)
			}
		}
		// a small body is still there
		w, bad, _ := retried(t, o, 1, testkit.Reset)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
		if r := c.Read("PUT"); r.Body != digest("body") || bad.Requests.Load() != 1 {
			t.Error(r)
		}
		eventually(t, "the retry is counted", func() bool {
			return w.Metric(`weir_retries_total{pool="web",reason="upstream_reset",result="success"}`) == "1"
		})
	})
}

// No more is tried than is allowed, and never the same backend.
func TestRetryLimits(t *testing.T) {
	w, bad, good := retried(t, single, 0, testkit.Reset)
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 502, "upstream_reset")
	if bad.Requests.Load() != 1 || good.Requests.Load() != 0 {
		t.Error("tried again although attempts is 0")
	}

	alone := testkit.NewBackend(t, testkit.Reset)
	w = testkit.StartOn(t, before(alone), single)
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 502, "upstream_reset")
	if n := alone.Requests.Load(); n != 1 {
		t.Errorf("the only backend got it %d times", n)
	}

	var many []*testkit.Backend
	for range 4 {
		many = append(many, testkit.NewBackend(t, testkit.Reset))
	}
	w = testkit.StartOn(t, setup{backends: at(many...), route: "retries: {attempts: 2}"}.yaml(), single)
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 502, "upstream_reset")
	total := 0
	for _, b := range many {
		total += int(b.Requests.Load())
		if b.Requests.Load() > 1 {
			t.Error("a backend was asked twice")
		}
	}
	if total != 3 {
		t.Errorf("%d attempts, want 3", total)
	}
	// silence is not a reset: the request may be in work
	for _, b := range many {
		b.Become(testkit.NeverAnswer)
	}
	w.Apply(setup{backends: at(many...), defaults: "timeouts: {response: 100ms}"}.yaml())
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 504, "upstream_timeout")
	// nor is the end of one that had said that it is at work
	for _, b := range many {
		b.Become(testkit.Interim(100, testkit.Reset))
		b.Requests.Store(0)
	}
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 502, "upstream_reset")
	if n := many[0].Requests.Load() + many[1].Requests.Load() + many[2].Requests.Load() + many[3].Requests.Load(); n != 1 {
		t.Errorf("%d attempts, want 1", n)
	}
}

// counting answers, and remembers how often it got each path.
type counting struct {
	mu   sync.Mutex
	seen map[string]int
}

func (k *counting) note(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen[path]++
}

// Backends close idle connections at any moment. No GET ever sees it, and no
// POST is ever sent twice.
func TestDeadKeepAliveConnections(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		got := counting{seen: map[string]int{}}
		// Closes its connection after the answer, 0 to 3 ms later, unsaid.
		unsteady := func(x *testkit.Exchange) bool {
			body, err := x.Body()
			if err != nil {
				return false
			}
			got.note(x.Path())
			testkit.Answer(200, string(body))(x)
			return x.N%3 != 0 && x.Wait(time.Duration(len(x.Path())%4)*time.Millisecond) && x.N%2 != 0
		}
		b := testkit.NewBackend(t, unsteady)
		w := testkit.StartOn(t, alone(b, ""), o)
		c := testkit.Dial(t, w.Addr("web"))
		failed := 0
		for i := range 200 {
			path := "/" + strings.Repeat("x", i%7) + itoa(i)
			if r := c.Get(path); r.Status != 200 {
				t.Fatalf("GET %d: %v", i, r)
			}
			r := c.Post("/post"+path, "body")
			switch r.Status {
			case 200:
			case 502:
				failed++ // it cannot be known whether it arrived
			default:
				t.Fatalf("POST %d: %v", i, r)
			}
		}
		got.mu.Lock()
		defer got.mu.Unlock()
		for path, n := range got.seen {
			if n > 1 && strings.HasPrefix(path, "/post") {
				t.Errorf("%s was sent %d times", path, n)
			}
		}
		if failed > 20 {
			t.Errorf("%d of 200 POSTs failed", failed)
		}
		if s := w.Backend("web", b.Addr()); s.State != "up" {
			t.Errorf("%+v", s)
		}
	})
}

// A backend that cuts a reused connection on its second request: what can be
// repeated is, at once and on a new connection; a POST is not.
func TestKeepAliveRace(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			return x.N == 1 && testkit.Answer(200, "ok")(x)
		})
		w := testkit.StartOn(t, alone(b, ""), o)
		c := testkit.Dial(t, w.Addr("web"))
		for range 20 {
			if r := c.Get("/"); r.Body != "ok" {
				t.Fatal(r)
			}
		}
		for range 10 {
			c.Get("/warm")
			n := b.Requests.Load()
			refused(t, c.Post("/", "body"), 502, "upstream_reset")
			if sent := b.Requests.Load() - n; sent != 1 {
				t.Fatalf("the POST was sent %d times", sent)
			}
		}
		if got := w.Backend("web", b.Addr()); got.State != "up" {
			t.Errorf("the race counts against the backend: %+v", got)
		}
	})
}

// Real traffic takes a failing backend out of rotation.
func TestPassiveEjection(t *testing.T) {
	for name, m := range map[string]testkit.Manner{"reset": testkit.Reset, "status": testkit.Answer(503, "sick"), "garbage": testkit.Raw("garbage\r\n\r\n", false)} {
		bad, good := testkit.NewBackend(t, m), testkit.NewBackend(t, testkit.Answer(200, "ok"))
		w := testkit.StartOn(t, setup{backends: at(bad, good), pool: "health: {passive: {consecutive_errors: 3, ejection: 1h}}\n"}.yaml(), single)
		c := testkit.Dial(t, w.Addr("web"))
		for range 10 {
			c.Get("/")
		}
		w.Await("web", bad.Addr(), "ejected")
		n := bad.Requests.Load()
		for range 10 {
			if r := c.Get("/"); r.Body != "ok" {
				t.Errorf("%s: %v", name, r)
			}
		}
		if got := bad.Requests.Load(); got != n || n < 3 {
			t.Errorf("%s: %d requests reached it before its ejection, %d after", name, n, got-n)
		}
	}
}

func grep(text, part string) (found string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found += line
		}
	}
	return found
}
