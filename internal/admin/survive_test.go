package admin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testkit"
	"weir/pool"
)

// witness is a pool in which something is known of every backend.
type witness struct {
	*rig
	names    []string
	backends map[string]*testkit.Backend
	failing  atomic.Int64 // requests that "shaky" has failed
	release  chan struct{}
	replies  <-chan *testkit.Reply // of the requests that "busy" has
}

// newWitness makes the pool and brings each backend into the state that its name
// says. That of "shaky" is three errors in a row, of five that eject.
func newWitness(t *testing.T) *witness {
	w := &witness{
		names:    []string{"up", "drained", "maintained", "ejected", "down", "ramping", "weighed", "busy", "shaky"},
		backends: map[string]*testkit.Backend{}, release: make(chan struct{}),
	}
	for _, name := range w.names {
		w.backends[name] = testkit.NewBackend(t, testkit.Named(name))
	}
	w.rig = newRig(t, nil)
	w.apply(w.config(0))
	w.await("everybody is up", func(b pool.BackendStatus) bool { return b.State == pool.StateUp })

	w.backends["down"].Become(testkit.ByPath(map[string]testkit.Manner{"/": testkit.Named("down"), "/healthz": testkit.Answer(503, "")}))
	w.awaitState("down", pool.StateDown)
	w.mark("drained", `{"admin":"drain"}`)
	w.mark("maintained", `{"admin":"maintenance"}`)
	w.mark("weighed", `{"weight":7}`)
	w.mark("ramping", `{"admin":"maintenance"}`)
	w.mark("ramping", `{"admin":"ready"}`)
	w.awaitState("ramping", pool.StateUp)

	bad := testkit.ByPath(map[string]testkit.Manner{"/": testkit.Reset, "/healthz": testkit.Answer(200, "")})
	w.backends["ejected"].Become(bad)
	for w.backend("ejected").State != pool.StateEjected {
		w.ask()
	}
	w.replies = w.hold(2)
	w.backends["shaky"].Become(testkit.ByPath(map[string]testkit.Manner{
		"/healthz": testkit.Answer(200, ""),
		"/": func(x *testkit.Exchange) bool {
			w.failing.Add(1)
			return testkit.Answer(503, "")(x)
		},
	}))
	for w.failing.Load() < 3 {
		w.ask()
	}
	// an answer may be there a moment before its end has been noted
	w.await("nothing else is in flight", func(b pool.BackendStatus) bool {
		return b.InFlight == 0 || b.InFlight == 2 && b.Address == w.backends["busy"].Addr()
	})
	return w
}

// config is the kth: what is around the backends changes, and theirs in the
// order, and other ones come and go.
func (w *witness) config(k int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %d\nhistory: {keep: 10}\nlisteners:\n  - name: web\n    address: 127.0.0.1:0\n    routes:\n", k)
	fmt.Fprintf(&b, "      - {name: r%d, match: {path: /r%d}, respond: {status: 204}}\n", k%7, k)
	fmt.Fprintf(&b, "      - {name: all, pool: web, retries: {attempts: 0}, timeouts: {response: %ds}}\n", 20+k)
	fmt.Fprintf(&b, "pools:\n  web:\n    balance: %s\n    slow_start: 10h\n    backends:\n", []string{"weighted_round_robin", "round_robin", "random", "least_requests"}[k%4])
	for i := range w.names {
		name := w.names[(i+k)%len(w.names)]
		fmt.Fprintf(&b, "      - {address: %q, weight: 2, max_requests: %d}\n", w.backends[name].Addr(), 100+k)
	}
	if k%20 == 10 { // it is probed first, and that takes a moment
		fmt.Fprintf(&b, "      - {address: 127.0.0.1:1, weight: %d}\n", k)
	}
	fmt.Fprintf(&b, "    health:\n      active: {path: /healthz, interval: 1s, fall: 1, rise: %d}\n", 1+k%3)
	fmt.Fprintf(&b, "      passive: {consecutive_errors: 5, ejection: 1h, max_ejection: 2h, max_ejected: %d}\n", 40+k%20)
	if k%3 == 0 {
		fmt.Fprintf(&b, "  other:\n    backends: [{address: %q}]\n", w.backends["up"].Addr())
	}
	return b.String()
}

func (w *witness) apply(source string) {
	w.Helper()
	if v := w.do("PUT", "/v1/config", source).is(200); v["result"] != "applied" {
		w.Fatalf("%v\n%s", v, source)
	}
}

func (w *witness) mark(name, body string) {
	w.Helper()
	w.do("PUT", "/v1/pools/web/backends/"+w.backends[name].Addr(), body).is(200)
}

// status is the pool as the API shows it, by the backends' names.
func (w *witness) status() map[string]pool.BackendStatus {
	w.Helper()
	var st pool.Status
	a := w.do("GET", "/v1/pools/web", "")
	if err := json.Unmarshal(a.body, &st); err != nil {
		w.Fatalf("%s: %v", a.body, err)
	}
	all := map[string]pool.BackendStatus{}
	for _, b := range st.Backends {
		for name, backend := range w.backends {
			if backend.Addr() == b.Address {
				all[name] = b
			}
		}
	}
	return all
}

func (w *witness) backend(name string) pool.BackendStatus { return w.status()[name] }

func (w *witness) await(what string, is func(pool.BackendStatus) bool) {
	w.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		all := true
		for _, b := range w.status() {
			all = all && is(b)
		}
		if all {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("not within 15 s: %s", what)
		}
	}
}

func (w *witness) awaitState(name, state string) {
	w.Helper()
	address := w.backends[name].Addr()
	w.await(name+" is "+state, func(b pool.BackendStatus) bool { return b.Address != address || b.State == state })
}

// ask sends a request, whoever answers it.
func (w *witness) ask() {
	w.Helper()
	testkit.Get(w.T, w.proxy.ListenerAddr("web").String(), "/")
}

// hold leaves n requests in the hands of the backend "busy", and returns what
// they get in the end.
func (w *witness) hold(n int) <-chan *testkit.Reply {
	w.Helper()
	held := make(chan struct{})
	w.backends["busy"].Become(testkit.ByPath(map[string]testkit.Manner{
		"/": testkit.Named("busy"),
		"/hold": func(x *testkit.Exchange) bool {
			select {
			case held <- struct{}{}:
			case <-x.Done:
				return false
			}
			select {
			case <-w.release:
			case <-x.Done:
				return false
			}
			return testkit.Named("busy")(x)
		},
	}))
	replies := make(chan *testkit.Reply, n)
	for range n {
		for waiting := true; waiting; {
			c := testkit.Dial(w.T, w.proxy.ListenerAddr("web").String())
			c.Send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
			answered := make(chan *testkit.Reply, 1)
			go func() {
				r, err := c.TryRead("GET")
				if err != nil {
					r = &testkit.Reply{Err: err}
				}
				answered <- r
			}()
			select {
			case <-held:
				waiting = false
				go func() { replies <- <-answered }()
			case <-answered: // by another one
			}
		}
	}
	return replies
}

// known is what a change of the configuration must leave alone.
func known(b pool.BackendStatus) string {
	override := "none"
	if b.WeightOverride != nil {
		override = fmt.Sprint(*b.WeightOverride)
	}
	return fmt.Sprintf("%s since %v, %s, admin %v, ejected %v until %v, half open %v, slow start %d %%, override %s, %d in flight, %d requests, %d errors",
		b.State, b.Since, b.Health, b.Admin, b.Ejected, b.EjectedUntil, b.HalfOpen, b.SlowStart, override, b.InFlight, b.Requests, b.Errors)
}

// A hundred changes, each of something else, and what is known of the backends
// that stay is what it was: the operator's marks and weights, the probes' verdicts,
// ejections with their ends, slow starts, errors in a row, requests in flight.
func TestStateSurvivesAHundredReloads(t *testing.T) {
	w := newWitness(t)
	before := map[string]string{}
	for name, b := range w.status() {
		before[name] = known(b)
	}
	for name, want := range map[string]string{
		"up": "up since", "drained": "draining since", "maintained": "maintenance since", "ejected": "ejected since", "down": "down since",
		"ramping": "slow start 10 %", "weighed": "override 7", "busy": "2 in flight", "shaky": "3 errors",
	} {
		if !strings.Contains(before[name], want) {
			t.Fatalf("%s is %s; want %s", name, before[name], want)
		}
	}
	for k := 1; k <= 100; k++ {
		w.apply(w.config(k))
		for name, b := range w.status() {
			if got := known(b); got != before[name] {
				t.Fatalf("%s after reload %d:\n%s\nbefore:\n%s", name, k, got, before[name])
			}
			if b.MaxRequests != 100+k {
				t.Fatalf("%s after reload %d: at most %d requests; the change is not in force", name, k, b.MaxRequests)
			}
		}
	}

	// errors in a row are still counted from where they were
	for w.failing.Load() < 5 {
		w.ask()
	}
	w.awaitState("shaky", pool.StateEjected) // three before the reloads and two after
	close(w.release)
	for range 2 {
		if r := <-w.replies; r.Err != nil || r.Body != "busy" {
			t.Errorf("a request from before the reloads got %v", r)
		}
	}
	w.await("nothing is in flight", func(b pool.BackendStatus) bool { return b.InFlight == 0 })
}
