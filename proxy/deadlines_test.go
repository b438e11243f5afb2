package proxy_test

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

var deadlineLine = regexp.MustCompile(`\r\nX-Request-Deadline: ([0-9]+\.[0-9]{3})\r\n`)

// told is what the newest request of a backend says is left of its time; -1 if it
// says nothing, or not in the one way that is right.
func told(b *testkit.Backend) float64 {
	found := deadlineLine.FindAllStringSubmatch(b.Last(), -1)
	if len(found) != 1 {
		return -1
	}
	d, _ := strconv.ParseFloat(found[0][1], 64)
	return d
}

// A backend is told how long its answer is waited for: what is left of the
// route's time, or of the client's if that is less.
func TestDeadlineIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
		w := testkit.StartOn(t, setup{backends: at(b), routes: `{name: timed, match: {path: /timed}, pool: web, timeouts: {request: 20s}},
			{name: removed, match: {path: /removed}, pool: web, timeouts: {request: 20s}, request_headers: {remove: [X-Request-Deadline]}},
			{name: set, match: {path: /set}, pool: web, timeouts: {request: 20s}, request_headers: {set: {X-Request-Deadline: "7.000"}}},
			{name: all, pool: web}`}.yaml(), o)
		c := testkit.Dial(t, w.Addr("web"))
		f := func(path string, least, most float64, lines ...string) {
			t.Helper()
			if r := c.Get(path, lines...); r.Body != "ok" {
				t.Error(r)
			}
			if d := told(b); d < least || d > most {
				t.Errorf("%s with %q: the backend is told %v, want %v to %v:\n%s", path, lines, d, least, most, b.Last())
			}
		}
		f("/timed", 10, 20)
		f("/timed", 4, 8, "X-Request-Deadline: 8")
		f("/timed", 4, 8.5, "x-request-deadline: 8.5")
		f("/timed", 4, 8, "X-Request-Deadline: 100", "X-Request-Deadline: 8")
		f("/timed", 10, 20, "X-Request-Deadline: 100")
		f("/", 60, 100, "X-Request-Deadline: 100")
		for _, garbage := range []string{"soon", "-1", "0", "", "1e1", "5s", "1764032400"} {
			f("/timed", 10, 20, "X-Request-Deadline: "+garbage)
			f("/", -1, -1, "X-Request-Deadline: "+garbage)
			if deadlineAnywhere.MatchString(b.Last()) {
				t.Errorf("the backend is told %q:\n%s", garbage, b.Last())
			}
		}
		f("/", -1, -1)
		f("/removed", -1, -1, "X-Request-Deadline: 8")
		f("/set", 7, 7, "X-Request-Deadline: 8")
		// with a body, which follows the head
		c.Post("/timed", "body")
		if d := told(b); d < 10 || d > 20 {
			t.Errorf("a POST: the backend is told %v", d)
		}
	})
}

var deadlineAnywhere = regexp.MustCompile(`(?i)x-request-deadline`)

// Each attempt is told what is left then, and has its body.
func TestDeadlineOfARetry(t *testing.T) {
	bad := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		_, _ = x.Body()
		return x.Wait(200*time.Millisecond) && testkit.Reset(x)
	})
	good := testkit.NewBackend(t, testkit.Echo)
	w := testkit.StartOn(t, setup{
		backends: []string{fmt.Sprintf("{address: %q}", bad.Addr()), fmt.Sprintf("{address: %q, tier: 1}", good.Addr())},
		route:    "timeouts: {request: 20s}",
	}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
	r := c.Read("PUT")
	if r.Status != 200 || r.Body[len(r.Body)-8:] != "\r\n\r\nbody" {
		t.Error(r)
	}
	if one, two := told(bad), told(good); one < 10 || two < 10 || one-two < 0.19 {
		t.Errorf("the first attempt is told %v, the second %v", one, two)
	}
}

// The client's deadline ends its request, as the route's does. Nobody else is
// blamed for it: not the backend, not the route.
func TestDeadlineOfAClient(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.NeverAnswer)
		w := testkit.StartOn(t, setup{
			backends: at(b), route: "timeouts: {request: 1m}, circuit_breaker: {error_share: 1, min_requests: 1, open: 1h}",
			pool: "adaptive_concurrency: true\nhealth: {passive: {consecutive_errors: 1}}\n",
		}.yaml(), o)
		for range 5 {
			refused(t, testkit.Get(t, w.Addr("web"), "/", "X-Request-Deadline: 0.02"), 504, "request_timeout")
		}
		refused(t, testkit.Get(t, w.Addr("web"), "/", "X-Request-Deadline: 0.000000001"), 504, "request_timeout")
		if s := w.Backend("web", b.Addr()); s.Errors != 0 || s.State != "up" || s.ConcurrencyLimit != 16 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
		b.Become(testkit.StopInBody) // in the middle of its answer
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Deadline: 0.2\r\n\r\n")
		_, _ = c.TryRead("GET") // it may be late for a head, too
		b.Become(testkit.Answer(200, "ok"))
		if r := testkit.Get(t, w.Addr("web"), "/"); r.Body != "ok" {
			t.Error(r)
		}
		if s := w.Backend("web", b.Addr()); s.Errors != 0 {
			t.Errorf("%+v", s)
		}
		for _, r := range records(t, w)[:5] {
			if r.Status != 504 || len(r.Attempts) != 1 || r.Attempts[0].Error != "request_timeout" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// The route's own deadline is one that a backend has to keep.
func TestDeadlineOfARouteIsTheBackends(t *testing.T) {
	b := testkit.NewBackend(t, testkit.NeverAnswer)
	w := testkit.StartOn(t, setup{backends: at(b), route: "timeouts: {request: 50ms}"}.yaml(), single)
	refused(t, testkit.Get(t, w.Addr("web"), "/", "X-Request-Deadline: 10"), 504, "request_timeout")
	if s := w.Backend("web", b.Addr()); s.Errors != 1 {
		t.Errorf("%+v", s)
	}
}

// A retry that could not be answered in time any more is not begun.
func TestNoTimeForARetry(t *testing.T) {
	const usually = 250 * time.Millisecond
	f := func(what string, keep int, m testkit.Manner, status int, reason, on string) {
		t.Helper()
		one, two := testkit.NewBackend(t, testkit.After(usually, testkit.Answer(200, "ok"))), testkit.NewBackend(t, testkit.After(usually, testkit.Answer(200, "ok")))
		w := testkit.StartOn(t, setup{
			backends: at(one, two), pool: fmt.Sprintf("keepalive: {idle_per_backend: %d}\nhealth: {passive: {consecutive_errors: 0}}\n", keep), route: "retries: {attempts: 1, on: [connect, " + on + "]}",
		}.yaml(), single)
		c := testkit.Dial(t, w.Addr("web"))
		for range 2 {
			if r := c.Get("/"); r.Body != "ok" {
				t.Fatal(r)
			}
		}
		one.Become(testkit.After(usually, m))
		two.Become(testkit.After(usually, m))
		// 200 ms would be left
		n := one.Requests.Load() + two.Requests.Load()
		r := c.Get("/", "X-Request-Deadline: 0.45")
		if r.Status != status || r.Header("X-Weir-Reason") != reason {
			t.Errorf("%s: %v", what, r)
		}
		if got := one.Requests.Load() + two.Requests.Load() - n; got != 1 {
			t.Errorf("%s: %d attempts, want 1", what, got)
		}
		// there is time
		r = c.Get("/", "X-Request-Deadline: 30")
		if r.Status != status {
			t.Errorf("%s: %v", what, r)
		}
		if got := one.Requests.Load() + two.Requests.Load() - n; got < 3 {
			t.Errorf("%s: %d attempts with time, want 2", what, got-1)
		}
	}
	f("a reset", 0, testkit.Reset, 502, "upstream_reset", "reset")
	f("a reset of a connection that was kept", 8, testkit.Reset, 502, "upstream_reset", "reset")
	f("a status", 8, testkit.Answer(503, "busy"), 503, "", "503")
}
