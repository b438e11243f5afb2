package proxy_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// listeners is a configuration with these listeners, which all do the same.
func listeners(b *testkit.Backend, names ...string) string {
	var text strings.Builder
	text.WriteString("listeners:\n")
	for _, n := range names {
		fmt.Fprintf(&text, "  - {name: %s, address: \"127.0.0.1:0\", routes: [{name: all, pool: web}]}\n", n)
	}
	return text.String() + "pools: {web: {backends: [" + strings.Join(at(b), ",") + "]}}\n"
}

// A listener that goes finishes what it has; one that comes serves at once; one
// that stays is not touched.
func TestListenersComeAndGo(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		release := make(chan bool)
		b := testkit.NewBackend(t, testkit.ByPath(map[string]testkit.Manner{
			"/":     testkit.Answer(200, "ok"),
			"/slow": func(x *testkit.Exchange) bool { <-release; return testkit.Answer(200, "slow")(x) },
		}))
		w := testkit.StartOn(t, listeners(b, "stays", "goes"), o)
		address := w.Addr("goes")
		stays, idle, busy := testkit.Dial(t, w.Addr("stays")), testkit.Dial(t, address), testkit.Dial(t, address)
		quiet := testkit.Dial(t, address) // never says anything
		for _, c := range []*testkit.Client{stays, idle, busy} {
			if r := c.Get("/"); r.Body != "ok" {
				t.Fatal(r)
			}
		}
		busy.Send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
		eventually(t, "the request is in work", func() bool { return b.Requests.Load() == 4 })

		w.Apply(listeners(b, "stays", "comes"))
		if r := testkit.Get(t, w.Addr("comes"), "/"); r.Body != "ok" {
			t.Error(r)
		}
		if !idle.Closed() || !quiet.Closed() {
			t.Error("an idle connection of the listener that went stays")
		}
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Error("the listener that went accepts")
		}
		if w.Proxy.ListenerAddr("goes") != nil {
			t.Error("the listener that went has an address")
		}
		close(release)
		r := busy.Read("GET")
		if r.Body != "slow" || r.Header("Connection") != "close" {
			t.Errorf("%v: the end of the connection was not announced", r)
		}
		if !busy.Closed() {
			t.Error("the connection goes on")
		}
		if r := stays.Get("/"); r.Body != "ok" || !r.Persists() {
			t.Error(r)
		}
		w.Rollback(0)
		if r := testkit.Get(t, w.Addr("goes"), "/"); r.Body != "ok" {
			t.Error(r)
		}
	})
}

// The same address may be left and taken again while the old listener drains.
func TestListenerReturnsWhileDraining(t *testing.T) {
	release := make(chan bool)
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		if x.Path() == "/slow" {
			<-release
		}
		return testkit.Answer(200, "ok")(x)
	})
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	fixed := strings.Replace(listeners(b, "other", "web"), `web, address: "127.0.0.1:0"`, `web, address: "`+address+`"`, 1)
	w := testkit.Start(t, fixed)
	var busy []*testkit.Client
	for i := range 3 {
		c := testkit.Dial(t, address)
		c.Send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
		eventually(t, "the request is in work", func() bool { return b.Requests.Load() == int64(i+1) })
		busy = append(busy, c)
		w.Apply(listeners(b, "other"))
		w.Apply(fixed)
		if n := len(w.Proxy.Status().Listeners); n < 3 {
			t.Errorf("%d listeners in the status, want those that drain, too: %+v", n, w.Proxy.Status())
		}
	}
	close(release)
	for _, c := range busy {
		if r := c.Read("GET"); r.Body != "ok" {
			t.Error(r)
		}
	}
	if r := testkit.Get(t, address, "/"); r.Body != "ok" {
		t.Error(r)
	}
}

// A change reaches connections that were open before it.
func TestChangesReachOpenConnections(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		one, two := testkit.NewBackend(t, testkit.Named("one")), testkit.NewBackend(t, testkit.Named("two"))
		w := testkit.StartOn(t, before(one), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Get("/")
		w.Apply(before(two))
		if r := c.Get("/"); r.Body != "two" {
			t.Error(r)
		}
		eventually(t, "the connections to the backend that left are closed", func() bool { return one.Open.Load() == 0 })

		// timeouts
		two.Become(testkit.NeverAnswer)
		w.Apply(setup{backends: at(two), defaults: "timeouts: {response: 100ms}"}.yaml())
		refused(t, c.Get("/"), 504, "upstream_timeout")
		two.Become(testkit.Answer(200, "ok"))
		w.Apply(setup{backends: at(two), defaults: "timeouts: {client_header: 200ms, client_idle: 30s}"}.yaml())
		c.Send("GET / HTT")
		refused(t, c.Read("GET"), 408, "client_timeout")

		// the number of header lines, and of their bytes for new connections
		c = testkit.Dial(t, w.Addr("web"))
		many := make([]string, 20)
		for i := range many {
			many[i] = "X-A: " + strings.Repeat("a", 300)
		}
		if r := c.Get("/", many...); r.Status != 200 {
			t.Error(r)
		}
		w.Apply(setup{backends: at(two), defaults: "limits: {headers: 10}"}.yaml())
		refused(t, c.Get("/", many...), 431, "header_too_large")
		w.Apply(setup{backends: at(two), defaults: "limits: {header_bytes: 2KiB}"}.yaml())
		refused(t, testkit.Get(t, w.Addr("web"), "/", many...), 431, "header_too_large")
		w.Apply(before(two))
		if r := testkit.Get(t, w.Addr("web"), "/", many...); r.Status != 200 {
			t.Error(r)
		}
	})
}

// A request that runs keeps the configuration it began with.
func TestRunningRequestsKeepTheirConfiguration(t *testing.T) {
	started, release := make(chan bool), make(chan bool)
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		started <- true
		<-release
		return testkit.Answer(200, "ok")(x)
	})
	conf := func(version string) string {
		return setup{backends: at(b), route: "response_headers: {set: {X-Version: " + version + "}}"}.yaml()
	}
	w := testkit.StartOn(t, conf("one"), single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	await(t, started, "request")
	w.Apply(conf("two"))
	close(release)
	if r := c.Read("GET"); r.Header("X-Version") != "one" {
		t.Error(r)
	}
	go func() { <-started }()
	if r := c.Get("/"); r.Header("X-Version") != "two" {
		t.Error(r)
	}
	if log := records(t, w); log[0].ConfigVersion != 1 || log[1].ConfigVersion != 2 {
		t.Errorf("versions %d and %d in the log, want 1 and 2", log[0].ConfigVersion, log[1].ConfigVersion)
	}
}

// A listener that cannot be bound is refused by name, and nothing changes.
func TestListenerInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.Start(t, listeners(b, "web"))
	bad := strings.Replace(listeners(b, "web", "fresh", "taken"), `taken, address: "127.0.0.1:0"`, `taken, address: "`+taken.Addr().String()+`"`, 1)
	v, err := w.TryApply(bad)
	if err != nil || v.Result != "failed" || !strings.Contains(v.Message, "taken") || !strings.Contains(v.Message, taken.Addr().String()) {
		t.Errorf("%+v, %v", v, err)
	}
	if r := testkit.Get(t, w.Addr("web"), "/"); r.Body != "ok" {
		t.Error(r)
	}
	if st := w.Proxy.Status(); len(st.Listeners) != 1 || st.Version != 1 {
		t.Errorf("%+v", st)
	}
}

// Changes under load: no request fails and no connection is closed.
func TestReloadsUnderLoad(t *testing.T) {
	one, two := testkit.NewBackend(t, testkit.Answer(200, "ok")), testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.Start(t, before(one, two))
	stop, done := make(chan bool), make(chan error)
	for range 4 {
		c := testkit.Dial(t, w.Addr("web"))
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				_, _ = c.Conn.Write([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"))
				if r, err := c.TryRead("POST"); err != nil || r.Status != 200 || !r.Persists() {
					done <- fmt.Errorf("%v %w", r, err)
					return
				}
			}
		}()
	}
	for i := range 30 {
		w.Apply([]string{before(one, two), before(one), before(two), setup{backends: at(two, one), defaults: "limits: {headers: 50}"}.yaml()}[i%4])
		time.Sleep(5 * time.Millisecond) // load between two changes
	}
	close(stop)
	for range 4 {
		if err := await(t, done, "end"); err != nil {
			t.Error(err)
		}
	}
}
