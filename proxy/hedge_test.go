package proxy_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// hedged asks the first backend first, and the second when that takes long.
func hedged(route string, backends ...*testkit.Backend) string {
	return setup{backends: at(backends...), route: route, pool: "balance: first"}.yaml()
}

const atOnce = "hedge: {after: 1ms}, retries: {attempts: 0}"

func hedges(t *testing.T, w *testkit.Weir, result string, n int) {
	t.Helper()
	eventually(t, itoa(n)+" hedges "+result, func() bool {
		return w.Metric(`weir_hedges_total{pool="web",result="`+result+`"}`) == itoa(n)
	})
}

func idle(t *testing.T, w *testkit.Weir, bs ...*testkit.Backend) {
	t.Helper()
	for _, b := range bs {
		inFlight(t, w, b, 0)
		if n := w.Backend("web", b.Addr()).Errors; n > 0 {
			t.Errorf("%d errors are held against a backend", n)
		}
	}
}

// The second backend is quicker. The first one is let go, and not blamed.
func TestHedgeWins(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		a, b := testkit.NewBackend(t, testkit.NeverAnswer), testkit.NewBackend(t, testkit.Named("b"))
		w := testkit.StartOn(t, hedged(atOnce, a, b), o)
		c := testkit.Dial(t, w.Addr("web"))
		for range 2 {
			if r := c.Get("/", "X-Mine: 1"); r.Status != 200 || r.Body != "b" {
				t.Fatal(r)
			}
		}
		c.Send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
		if r := c.Read("PUT"); r.Status != 200 || !strings.Contains(b.Last(), "Content-Length: 3") {
			t.Error(r)
		}
		idle(t, w, a, b)
		hedges(t, w, "won", 3)
		if a.Heads()[0] != b.Heads()[0] {
			t.Errorf("the two copies differ:\n%s\n%s", a.Heads()[0], b.Heads()[0])
		}
		for _, r := range records(t, w) {
			if len(r.Attempts) != 2 || r.Attempts[0].Error != "hedged" || r.Attempts[1].Code != 200 || r.Backend != b.Addr() {
				t.Errorf("attempts %+v", r.Attempts)
			}
		}
	})
}

// The first backend is quicker after all.
func TestHedgeLoses(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		asked := make(chan bool, 1)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			asked <- true
			return testkit.NeverAnswer(x)
		})
		a := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			<-asked
			return testkit.Named("a")(x)
		})
		w := testkit.StartOn(t, hedged(atOnce, a, b), o)
		c := testkit.Dial(t, w.Addr("web"))
		for range 2 {
			if r := c.Get("/"); r.Body != "a" {
				t.Fatal(r)
			}
		}
		hedges(t, w, "lost", 2)
		idle(t, w, a, b)
		for _, r := range records(t, w) {
			if len(r.Attempts) != 1 || r.Backend != a.Addr() {
				t.Errorf("attempts %+v", r.Attempts)
			}
		}
	})
}

// The first backend fails while the second one works: that is waited for.
func TestHedgeSaves(t *testing.T) {
	asked, answer, failed := make(chan bool, 1), make(chan bool), make(chan bool)
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		asked <- true
		<-answer
		return testkit.Named("b")(x)
	})
	a := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		<-asked
		defer close(failed)
		return testkit.Reset(x)
	})
	w := testkit.StartOn(t, hedged(atOnce, a, b), single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	await(t, failed, "reset")
	answer <- true
	if r := c.Read("GET"); r.Body != "b" {
		t.Fatal(r)
	}
	inFlight(t, w, a, 0)
	inFlight(t, w, b, 0)
	if r := records(t, w)[0]; len(r.Attempts) != 2 || r.Attempts[0].Error != "upstream_reset" {
		t.Errorf("attempts %+v", r.Attempts)
	}
}

// Both fail: the retry rule has the last word.
func TestHedgeFails(t *testing.T) {
	asked := make(chan bool, 1)
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		asked <- true
		return testkit.Reset(x)
	})
	a := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		<-asked
		return testkit.Reset(x)
	})
	third := testkit.NewBackend(t, testkit.Named("c"))
	w := testkit.StartOn(t, hedged("hedge: {after: 1ms}, retries: {attempts: 1}", a, b, third), single)
	if r := testkit.Get(t, w.Addr("web"), "/"); r.Body != "c" {
		t.Error(r)
	}
	hedges(t, w, "failed", 1)
	for _, b := range []*testkit.Backend{a, b, third} {
		inFlight(t, w, b, 0)
	}
}

// An error that comes quickly is not taken for an answer.
func TestHedgeIgnoresErrors(t *testing.T) {
	try := func(t *testing.T, status int) {
		failed := make(chan bool, 1)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			testkit.Answer(status, "no")(x)
			failed <- true
			return false
		})
		a := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			<-failed
			return testkit.Named("a")(x)
		})
		w := testkit.StartOn(t, hedged(`hedge: {after: 1ms}, retries: {on: [500]}`, a, b), single)
		if r := testkit.Get(t, w.Addr("web"), "/"); r.Body != "a" {
			t.Error(r)
		}
		inFlight(t, w, b, 0)
	}
	for _, status := range []int{500, 503} {
		t.Run("", func(t *testing.T) { try(t, status) })
	}
}

// What cannot be sent twice is not.
func TestNotHedged(t *testing.T) {
	try := func(t *testing.T, route, request string) {
		b := testkit.NewBackend(t, testkit.Named("b"))
		answer := make(chan bool)
		a := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			if _, err := x.Body(); err != nil {
				return false
			}
			<-answer
			return testkit.Named("a")(x)
		})
		w := testkit.StartOn(t, hedged(route, a, b), single)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(request)
		inFlight(t, w, a, 1)
		time.Sleep(30 * time.Millisecond) // nothing is to happen
		answer <- true
		if r := c.Read("POST"); r.Body != "a" {
			t.Error(r)
		}
		if n := len(b.Heads()); n > 0 {
			t.Errorf("%q was sent twice", request)
		}
	}
	f := func(route, request string) {
		t.Helper()
		t.Run("", func(t *testing.T) { try(t, route, request) })
	}
	f(atOnce, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
	f(atOnce, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
	f("hedge: {after: 1ms, budget: 0}", "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f("hedge: {after: p95}", "GET / HTTP/1.1\r\nHost: a\r\n\r\n") // nothing is known of the route yet
	f("", "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
}

// When the client leaves, both copies end.
func TestHedgeAndHangups(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		a, b := testkit.NewBackend(t, testkit.NeverAnswer), testkit.NewBackend(t, testkit.NeverAnswer)
		w := testkit.StartOn(t, hedged(atOnce, a, b), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		inFlight(t, w, b, 1)
		c.Reset()
		idle(t, w, a, b)
		hedges(t, w, "lost", 1)
		if r := records(t, w)[0]; r.Status != 499 {
			t.Errorf("%+v", r)
		}
	})
}

// The budget bounds what a slow pool is asked for on top.
func TestHedgeBudget(t *testing.T) {
	const requests, budget, floor = 200, 10, 3
	var asked atomic.Int64
	slow := func(x *testkit.Exchange) bool {
		asked.Add(1)
		return testkit.After(20*time.Millisecond, testkit.Named("x"))(x)
	}
	a, b := testkit.NewBackend(t, slow), testkit.NewBackend(t, slow)
	w := testkit.StartOn(t, setup{backends: at(a, b), route: "hedge: {after: 1ms, budget: 10}"}.yaml(), single)
	done := make(chan bool)
	for range 10 {
		c := testkit.Dial(t, w.Addr("web"))
		go func() {
			for range requests / 10 {
				c.Get("/")
			}
			done <- true
		}()
	}
	for range 10 {
		<-done
	}
	if n := asked.Load(); n <= requests || n > requests+requests*budget/100+floor {
		t.Errorf("%d requests were sent %d times, with a budget of %d %%", requests, n, budget)
	}
	inFlight(t, w, a, 0)
	inFlight(t, w, b, 0)
}

// A percentile is learned from the route's own answers.
func TestHedgeByPercentile(t *testing.T) {
	var slow atomic.Bool
	a := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		if slow.Load() {
			return testkit.NeverAnswer(x)
		}
		return testkit.Named("a")(x)
	})
	b := testkit.NewBackend(t, testkit.Named("b"))
	w := testkit.StartOn(t, hedged("hedge: {after: p90}", a, b), single)
	c := testkit.Dial(t, w.Addr("web"))
	for range 50 {
		c.Get("/")
	}
	slow.Store(true)
	eventually(t, "a slow request is hedged", func() bool { // the percentile is looked at now and then
		return c.Get("/").Body == "b"
	})
}

// Backends of all speeds and manners, clients that leave: nothing is left in
// flight, and who stays gets an answer.
func TestHedgeStorm(t *testing.T) {
	manner := func() testkit.Manner {
		var n atomic.Int64
		return func(x *testkit.Exchange) bool {
			switch n.Add(1) % 7 {
			case 0:
				return testkit.Reset(x)
			case 1, 2:
				return testkit.After(20*time.Millisecond, testkit.Named("slow"))(x)
			case 3:
				return testkit.Answer(503, "no")(x)
			case 4:
				return testkit.Interim(103, testkit.Named("hinted"))(x)
			}
			return testkit.Named("quick")(x)
		}
	}
	bs := []*testkit.Backend{testkit.NewBackend(t, manner()), testkit.NewBackend(t, manner()), testkit.NewBackend(t, manner())}
	w := testkit.StartOn(t, setup{
		backends: at(bs...), pool: "health: {passive: {consecutive_errors: 0}}",
		route: `hedge: {after: 2ms, budget: 100}, retries: {attempts: 3, on: [connect, reset, 503], budget: 100, back_off: 0s}`,
	}.yaml(), loop.Options{Loops: 2})
	done := make(chan int)
	for i := range 8 {
		go func() {
			bad := 0
			c := testkit.Dial(t, w.Addr("web"))
			for n := range 60 {
				if i == 0 && n%5 == 4 { // one leaves in the middle, again and again
					c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
					time.Sleep(4 * time.Millisecond)
					c.Reset()
					c = testkit.Dial(t, w.Addr("web"))
					continue
				}
				c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				r, err := c.TryRead("GET")
				for err == nil && r.Status == 103 {
					r, err = c.TryRead("GET")
				}
				if err != nil {
					bad = 1000
					break
				}
				if r.Status != 200 {
					bad++
				}
			}
			done <- bad
		}()
	}
	for range 8 {
		if bad := <-done; bad > 20 {
			t.Errorf("%d of 60 answers are errors", bad)
		}
	}
	for _, b := range bs {
		inFlight(t, w, b, 0)
	}
}

// A client whose own backend is slow for once is answered by another, and stays.
func TestHedgeAndSticky(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Named("a")), testkit.NewBackend(t, testkit.Named("b"))
	w := testkit.StartOn(t, setup{
		backends: at(a, b), route: "hedge: {after: 1ms}", pool: "balance: first\nsticky: {cookie: who}",
	}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	cookie, _, _ := strings.Cut(c.Get("/").Header("Set-Cookie"), ";")
	a.Become(testkit.NeverAnswer)
	if r := c.Get("/", "Cookie: "+cookie); r.Body != "b" || r.Header("Set-Cookie") != "" {
		t.Error(r)
	}
	a.Become(testkit.Named("a"))
	if r := c.Get("/", "Cookie: "+cookie); r.Body != "a" {
		t.Error(r)
	}
}

// A hedge that finds nobody to ask gives the backend no more time to answer.
func TestHedgeKeepsTheResponseTimeout(t *testing.T) {
	slow := testkit.NewBackend(t, testkit.After(1400*time.Millisecond, testkit.Named("late")))
	w := testkit.StartOn(t, hedged("hedge: {after: 800ms}, timeouts: {response: 900ms}, retries: {attempts: 0}", slow), single)
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 504, "upstream_timeout")
}

// A copy that goes over a connection which was kept has opened none.
func TestHedgeOnAKeptConnection(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.NeverAnswer), testkit.NewBackend(t, testkit.Named("b"))
	w := testkit.StartOn(t, hedged(atOnce, a, b), single)
	c := testkit.Dial(t, w.Addr("web"))
	for range 3 {
		if r := c.Get("/"); r.Body != "b" {
			t.Fatal(r)
		}
	}
	for i, r := range records(t, w) {
		if opened := r.Connect > 0; opened != (i == 0) {
			t.Errorf("request %d took %v s to connect", i, r.Connect)
		}
	}
}
