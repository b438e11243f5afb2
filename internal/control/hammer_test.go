package control_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/control"
	"weir/internal/history"
	"weir/internal/testkit"
	"weir/pool"
)

// TestNoRequestFails changes the configuration hundreds of times, at random,
// forwards and back, under requests on kept connections. None may fail and no
// connection may be closed.
func TestNoRequestFails(t *testing.T) {
	testkit.NoLeaks(t)
	changes := 320
	if testing.Short() {
		changes = 60
	}
	g := &generator{rand: rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))}
	for i := range 5 {
		g.backends = append(g.backends, testkit.NewBackend(t, testkit.Named(fmt.Sprint("b", i))))
	}
	r := newRig(t, g.config()).start()
	load := hammer(t, r, 6)
	seen := map[string]int{}
	for range changes {
		v, what := g.change(t, r)
		seen[what+" "+v.Result]++
		if n, _ := r.ctl.Config(); n != v.Version {
			t.Fatalf("version %d runs, the verdict on %s says %d", n, what, v.Version)
		}
	}
	load.end()
	t.Logf("%v; %d requests on %d connections", seen, load.requests.Load(), load.dials.Load())
	// A kept connection comes back to net/http's pool a moment after its answer:
	// on a busy machine a few more are dialed. Closed ones would be hundreds.
	if n := load.dials.Load(); n > 16 {
		t.Errorf("%d connections were opened, want about 6: some were closed", n)
	}
	if n := load.requests.Load(); n < int64(changes) {
		t.Errorf("only %d requests: the test does not test", n)
	}
	r.restart() // the last one of all is what a restart runs
	if got := r.get(); !strings.HasPrefix(got, "200 ") {
		t.Errorf("after a restart: %s", got)
	}
}

// generator makes configurations of a few backends.
type generator struct {
	rand     *rand.Rand
	backends []*testkit.Backend
	number   int
}

// change does something to the configuration that may well be refused.
func (g *generator) change(t *testing.T, r *rig) (control.Verdict, string) {
	t.Helper()
	ctx, origin := t.Context(), control.Origin{Kind: "api", Author: "hammer"}
	var v control.Verdict
	var err error
	what := "apply"
	switch g.rand.IntN(10) {
	case 0:
		what = "broken apply"
		v, err = r.ctl.Apply(ctx, []byte("listeners: nope"), origin, 0)
	case 1:
		what = "unpin"
		v, err = r.ctl.Unpin(ctx, origin)
	case 2, 3:
		what = "rollback"
		if v, err = r.ctl.Rollback(ctx, 0, origin); err != nil {
			return v, what // the oldest runs
		}
	case 4:
		what = "rollback to"
		versions := r.ctl.Versions()
		if v, err = r.ctl.Rollback(ctx, versions[g.rand.IntN(len(versions))].Number, origin); err != nil {
			return v, what // it runs already
		}
	default:
		v, err = r.ctl.Apply(ctx, []byte(g.config()), origin, 0)
		if v.Result != control.Applied {
			t.Errorf("apply: %+v", v)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if v.Result == control.Failed {
		t.Errorf("%s: %+v", what, v)
	}
	return v, what
}

// config is one in which every request has an answer.
func (g *generator) config() string {
	g.number++
	var b strings.Builder
	fmt.Fprintf(&b, "# %d\nhistory: {keep: %d}\nlisteners:\n", g.number, 5+g.rand.IntN(20))
	b.WriteString("  - name: web\n    address: 127.0.0.1:0\n    routes:\n")
	for i := range g.rand.IntN(3) {
		fmt.Fprintf(&b, "      - {name: r%d, match: {path: /none%d}, respond: {status: 204}}\n", i, g.rand.IntN(5))
	}
	pools := 1 + g.rand.IntN(3)
	fmt.Fprintf(&b, "      - {name: all, pool: p%d, timeouts: {connect: %ds}}\n", g.rand.IntN(pools), 1+g.rand.IntN(5))
	if g.rand.IntN(4) == 0 {
		fmt.Fprintf(&b, "  - {name: more%d, address: '127.0.0.1:0', routes: [{name: x, pool: p0}]}\n", g.rand.IntN(2))
	}
	b.WriteString("pools:\n")
	for i := range pools {
		fmt.Fprintf(&b, "  p%d:\n    backends:\n", i)
		for _, at := range g.rand.Perm(len(g.backends))[:1+g.rand.IntN(len(g.backends))] {
			fmt.Fprintf(&b, "      - {address: %q, weight: %d}\n", g.backends[at].Addr(), 1+g.rand.IntN(9))
		}
		if g.rand.IntN(4) == 0 {
			b.WriteString("    health: {active: {interval: 1s, timeout: 1s}}\n")
		}
		if g.rand.IntN(4) == 0 {
			b.WriteString("    balance: round_robin\n")
		}
	}
	return b.String()
}

// load is requests that must all succeed.
type load struct {
	requests, dials atomic.Int64
	end             func()
}

// hammer sends requests on so many kept connections, one after another on each.
func hammer(t *testing.T, r *rig, connections int) *load {
	l := new(load)
	url := "http://" + r.proxy.ListenerAddr("web").String() + "/"
	var d net.Dialer
	transport := &http.Transport{
		MaxIdleConnsPerHost: connections,
		MaxConnsPerHost:     connections,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			l.dials.Add(1)
			return d.DialContext(ctx, network, addr)
		},
	}
	client := &http.Client{Transport: transport, Timeout: patience}
	var stop atomic.Bool
	var wg sync.WaitGroup
	l.end = func() {
		stop.Store(true)
		wg.Wait()
		transport.CloseIdleConnections()
	}
	for range connections {
		wg.Go(func() {
			for !stop.Load() {
				res, err := client.Get(url)
				if err != nil {
					t.Errorf("request %d: %v", l.requests.Load(), err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 || !strings.HasPrefix(string(body), "b") {
					t.Errorf("request %d: %d %s %v %q", l.requests.Load(), res.StatusCode, res.Header, err, body)
					return
				}
				l.requests.Add(1)
			}
		})
	}
	return l
}

// TestReadersAreNeverHeldUp: what the API shows can be read during a change
// that waits, and by many at once.
func TestReadersAreNeverHeldUp(t *testing.T) {
	silent := testkit.NewBackend(t, func(x *testkit.Exchange) bool { x.Wait(patience); return false })
	r := newRig(t, saying("one")).start()
	source := pooling(silent) + "    health: {active: {interval: 1s, timeout: 1s}}\n"
	applied := make(chan control.Verdict, 1)
	go func() {
		v, _ := r.ctl.Apply(t.Context(), []byte(source), control.Origin{Kind: "api"}, 0)
		applied <- v
	}()
	reads := 0
	for {
		select {
		case v := <-applied:
			if v.Result != control.Applied || reads < 10 {
				t.Errorf("%+v after %d reads", v, reads)
			}
			return
		default:
		}
		reads++
		var _ control.Status = r.ctl.Status()
		var _ []pool.Status = r.ctl.Pools()
		var _ []history.Version = r.ctl.Versions()
		if got := r.get(); got != "200 one" && r.ctl.Status().Version == 1 {
			t.Fatalf("GET / = %q during a change", got)
		}
	}
}
