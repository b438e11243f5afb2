package proxy_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/control"
	"weir/internal/loop"
	"weir/internal/testkit"
	"weir/pool"
)

// stormFaults is how a backend behaves, one of them for each request.
var stormFaults = []testkit.Manner{
	testkit.Echo, testkit.Echo, testkit.Echo, testkit.Answer(503, "busy"), testkit.Answer(500, "oops"),
	testkit.Reset, testkit.CloseBeforeHead, testkit.CloseInHead, testkit.CloseAfterHead, testkit.HalfBody(100_000, 50_000), testkit.HalfChunked,
	testkit.ResetInBody, testkit.StopInBody, testkit.NeverAnswer, testkit.After(20*time.Millisecond, testkit.Echo), testkit.Early(200),
	testkit.Drip("slowly", time.Millisecond), testkit.Interim(103, testkit.Echo), testkit.CloseIdle(time.Millisecond, testkit.Answer(200, "ok")),
	testkit.Raw("garbage\r\n\r\n", false), testkit.Surplus("HTTP/1.1 200 OK\r\n\r\n"), testkit.WebSocket,
}

// stormClients are the ways of a client with a new connection. What they leave
// open is closed by whoever called them.
var stormClients = []func(c *testkit.Client){
	func(c *testkit.Client) { // a good one
		for range 3 {
			say(c, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
			if r, err := c.TryRead("GET"); err != nil || !r.Persists() {
				return
			}
		}
	},
	func(c *testkit.Client) {
		say(c, "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
		_, _ = c.TryRead("POST")
	},
	func(c *testkit.Client) { // streams
		say(c, "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+chunked(strings.Repeat("x", 50_000), 10_000))
		_, _ = c.TryRead("PUT")
	},
	func(c *testkit.Client) { // waits to be asked
		say(c, "POST /d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		if r, err := c.TryRead("POST"); err == nil && r.Status == 100 {
			say(c, "hello")
			_, _ = c.TryRead("POST")
		}
	},
	func(c *testkit.Client) { // pipelines, and leaves after the first
		say(c, strings.Repeat("GET /e HTTP/1.1\r\nHost: a\r\n\r\n", 4))
		_, _ = c.TryRead("GET")
	},
	func(c *testkit.Client) { // upgrades
		say(c, "GET /f HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n")
		_, _ = c.TryRead("GET")
	},
	func(c *testkit.Client) { say(c, "GET /g HTTP/1.1\r\nHo") },
	func(c *testkit.Client) { say(c, "GET /h HTTP/1.1\r\nHost: a\r\n\r\n") },
	func(c *testkit.Client) { // gives up while it waits
		say(c, "GET /i HTTP/1.1\r\nHost: a\r\n\r\n")
		c.Silent(2 * time.Millisecond)
	},
	func(c *testkit.Client) {
		say(c, "POST /j HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nonly this")
	},
	func(c *testkit.Client) { // has no more to say
		say(c, "GET /k HTTP/1.1\r\nHost: a\r\n\r\n")
		c.CloseWrite()
		_, _ = c.TryRead("GET")
	},
	func(c *testkit.Client) {
		say(c, "nonsense\r\n\r\n")
		_, _ = c.TryRead("GET")
	},
}

// say sends text to whoever may have left.
func say(c *testkit.Client, text string) { _, _ = io.WriteString(c.Conn, text) }

// Thousands of requests while everything goes wrong at once: backends fail in
// every way, clients hang up at every point, the configuration changes, backends
// are drained and return. When it is over nothing is in flight anywhere: a lease
// that was lost would be a backend that is never again what it was.
func TestNothingIsInFlightAfterAStorm(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		o.Loops = 2
		clients, each := 16, 120
		if testing.Short() {
			each = 20
		}
		var backends []*testkit.Backend
		for range 4 {
			backends = append(backends, testkit.NewBackend(t, stormy))
		}
		w := testkit.StartOn(t, stormConfig(backends, 0), o)
		var over atomic.Bool
		var storm, changes sync.WaitGroup
		for id := range clients {
			r := rand.New(rand.NewPCG(1, uint64(id)))
			storm.Go(func() {
				for range each {
					stormVisit(t, w, r)
				}
			})
		}
		changes.Go(func() {
			for n := 1; !over.Load(); n++ {
				w.Apply(stormConfig(backends, n))
				time.Sleep(5 * time.Millisecond) // load between two changes
			}
		})
		changes.Go(func() {
			for n := 0; !over.Load(); n++ {
				to := []pool.Admin{pool.Drain, pool.Ready, pool.Maintenance, pool.Ready}[n%4]
				_ = w.Control.MarkWithin("web", backends[n/4%3].Addr(), to, time.Millisecond, control.Origin{Kind: "api"}) // unlisted just now, maybe
				time.Sleep(3 * time.Millisecond)
			}
		})
		storm.Wait()
		over.Store(true)
		changes.Wait()

		w.Apply(stormConfig(backends, 0))
		eventually(t, "nothing is in flight at the listeners", func() bool { return w.Proxy.Status().InFlight == 0 })
		for _, b := range backends {
			eventually(t, "every lease is given back", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
		}
		series := 0
		for line := range strings.Lines(w.Metrics()) {
			if strings.HasPrefix(line, "weir_requests_in_flight{") || strings.HasPrefix(line, "weir_upstream_in_flight{") {
				if series++; !strings.HasSuffix(strings.TrimSpace(line), " 0") {
					t.Errorf("left over: %s", line)
				}
			}
		}
		if series < len(backends)+2 {
			t.Errorf("%d series of requests in flight, want one for each of %d backends and 2 routes", series, len(backends))
		}
		served := 0
		for _, b := range backends {
			served += int(b.Requests.Load())
		}
		if served < clients*each/20 {
			t.Errorf("the backends have had %d requests: the test does not test", served)
		}
	})
}

// stormy behaves in any way.
func stormy(x *testkit.Exchange) bool {
	return stormFaults[rand.IntN(len(stormFaults))](x)
}

// stormVisit is one client's connection.
func stormVisit(t *testing.T, w *testkit.Weir, r *rand.Rand) {
	c := testkit.Dial(t, w.Addr("web"))
	stormClients[r.IntN(len(stormClients))](c)
	if r.IntN(2) == 0 {
		c.Reset()
		return
	}
	_ = c.Conn.Close()
}

// stormConfig is the nth configuration: backends come and go, policies, retries
// and limits change, two routes stay.
func stormConfig(backends []*testkit.Backend, n int) string {
	list := at(backends...)
	if n%2 == 0 {
		for i := range list {
			list[i] = strings.TrimSuffix(list[i], "}") + ", max_requests: 8}"
		}
	}
	if n%3 == 1 {
		list = list[:3]
	}
	policies := []string{pool.WeightedRoundRobin, pool.LeastRequests, pool.PeakEWMA, pool.ConsistentHash, pool.Random}
	retries := []string{"{attempts: 2, on: [connect, reset, timeout, 503], back_off: 1ms}", "{attempts: 0}", "{per_try_timeout: 50ms, on: [timeout, 500]}"}
	more := []string{
		"", ", hedge: {after: 2ms, budget: 100}", ", hedge: {after: p50, budget: 100}, timeouts: {request: 150ms}",
		", circuit_breaker: {error_share: 95, min_requests: 20, window: 1s, open: 100ms}, hedge: {after: 5ms, budget: 50}",
	}
	rule := "retries: " + retries[n%len(retries)] + ", pool: web" + more[n%len(more)]
	waits := []string{"", "queue: {size: 5, timeout: 50ms}\nsticky: {cookie: w}\n", "sticky: {cookie: w}\n"}
	return setup{
		defaults: "timeouts: {connect: 200ms, response: 100ms, client_body_idle: 100ms, client_half_closed: 50ms}",
		routes:   fmt.Sprintf("{name: posts, match: {methods: [POST]}, %s}, {name: all, %s}", rule, rule),
		backends: list,
		pool: waits[n%len(waits)] + fmt.Sprintf("balance: %s\nslow_start: %ds\nhealth: {passive: {consecutive_errors: %d, ejection: 20ms}}\nkeepalive: {idle_per_backend: %d}\n",
			policies[n%len(policies)], n%2, 3+n%3, 256*(n%2)),
	}.yaml()
}
