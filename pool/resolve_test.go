package pool_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/pool"
)

// nameServer knows what it is told.
type nameServer struct {
	mu    sync.Mutex
	names map[string][]string
	asked int
}

func (n *nameServer) say(host string, answers ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.names == nil {
		n.names = make(map[string][]string)
	}
	n.names[host] = answers
}

func (n *nameServer) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	answers, ok := n.names[host]
	if !ok || answers == nil {
		return nil, errors.New("no such host")
	}
	addrs := make([]netip.Addr, len(answers))
	for i, a := range answers {
		addrs[i] = netip.MustParseAddr(a)
	}
	return addrs, nil
}

func (n *nameServer) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// named runs f with a pool of the one backend app:8080.
func named(t *testing.T, n *nameServer, f func(t *testing.T, p *pool.Pool, events func() string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log []string
		p := pool.NewSteady("web", pool.Options{Loops: 1, Resolve: n.resolve, Events: func(e pool.Event) {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, e.What+": "+e.Cause)
		}}, 0.5)
		defer p.Close()
		p.Update(pool.Spec{Backends: []pool.BackendSpec{{Address: "app:8080"}}})
		f(t, p, func() string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			s := strings.Join(log, "; ")
			log = nil
			return s
		})
	})
}

// target is what a request would connect to, or why it would not.
func target(p *pool.Pool) string {
	l, err := p.Acquire(0, pool.Tried{})
	if err != nil {
		return err.Error()
	}
	defer l.Done(pool.Success)
	return l.Backend().Target().String()
}

func TestNames(t *testing.T) {
	n := &nameServer{}
	named(t, n, func(t *testing.T, p *pool.Pool, events func() string) {
		f := func(wantTarget, wantEvents string) {
			t.Helper()
			if got := events(); got != wantEvents {
				t.Errorf("events %q, want %q", got, wantEvents)
			}
			if got := target(p); got != wantTarget {
				t.Errorf("target %s, want %s", got, wantTarget)
			}
		}

		// a name that nobody knows is an empty pool, not an error; it is
		// asked for after 1 s, 2 s, 4 s and so on
		f(pool.ErrEmpty.Error(), "added: configured; unresolved: resolve app: no such host")
		b := p.Status().Backends[0]
		if b.State != "unresolved" || b.Health != "unresolved" || b.Cause != "resolve app: no such host" || b.Target != "" {
			t.Errorf("%+v", b)
		}
		time.Sleep(6 * time.Second)
		f(pool.ErrEmpty.Error(), "")
		if got := n.count(); got != 3 {
			t.Errorf("asked %d times in 6 s, want at 0 s, 1 s and 3 s", got)
		}
		n.say("app", "10.0.0.1")
		time.Sleep(time.Second) // 7 s
		f("10.0.0.1:8080", "resolved: app is 10.0.0.1:8080")

		// the first answer counts, but one that is in use is kept
		n.say("app", "10.0.0.2", "10.0.0.1")
		time.Sleep(time.Minute)
		f("10.0.0.1:8080", "")
		n.say("app", "10.0.0.3", "10.0.0.2")
		time.Sleep(30 * time.Second)
		f("10.0.0.3:8080", "resolved: app is 10.0.0.3:8080")

		// the last good answer outlives the name server
		n.say("app")
		time.Sleep(time.Hour)
		f("10.0.0.3:8080", "")
		if b := p.Status().Backends[0]; b.State != "up" {
			t.Errorf("%+v", b)
		}
		n.say("app", "::ffff:10.0.0.4")
		time.Sleep(30 * time.Second)
		f("10.0.0.4:8080", "resolved: app is 10.0.0.4:8080")

		// IPv4 before IPv6
		n.say("app", "2001:db8::1", "10.0.0.5")
		time.Sleep(30 * time.Second)
		f("10.0.0.5:8080", "resolved: app is 10.0.0.5:8080")
		n.say("app", "2001:db8::1")
		time.Sleep(30 * time.Second)
		f("[2001:db8::1]:8080", "resolved: app is [2001:db8::1]:8080")
	})
}

// Staged names are looked up before the commit, and a name that is gone from
// the pool is no longer asked for.
func TestNamesAreStaged(t *testing.T) {
	n := &nameServer{}
	n.say("app", "10.0.0.1")
	n.say("db", "10.0.0.2")
	named(t, n, func(t *testing.T, p *pool.Pool, events func() string) {
		events()
		st := p.Stage(pool.Spec{Backends: []pool.BackendSpec{{Address: "db:99"}, {Address: "gone:99"}}})
		st.Wait(t.Context())
		st.Commit()
		if got := target(p); got != "10.0.0.2:99" {
			t.Errorf("target %s right after the commit", got)
		}
		if got, want := events(), "added: configured; added: configured; unresolved: resolve gone: no such host; removed: no longer configured"; got != want {
			t.Errorf("events %q, want %q", got, want)
		}
		p.Update(pool.Spec{})
		before := n.count()
		time.Sleep(time.Hour)
		if n := n.count() - before; n != 0 {
			t.Errorf("%d look-ups of names that are gone", n)
		}
	})
}

// Checks follow the name to another address.
func TestNamesWithCheck(t *testing.T) {
	n := &nameServer{}
	c := &clinic{}
	named(t, n, func(t *testing.T, p *pool.Pool, events func() string) {
		n.say("dual", "127.0.0.1") // "d" is port 1100
		st := p.Stage(checked(pool.Spec{Backends: []pool.BackendSpec{{Address: "dual:1100"}}}, c))
		st.Wait(t.Context())
		st.Commit()
		if got := target(p); got != addr("d") {
			t.Errorf("target %s", got)
		}
		n.say("dual", "127.0.0.2")
		time.Sleep(time.Minute)
		visits := c.visits("d")
		time.Sleep(time.Minute)
		if c.visits("d") != visits {
			t.Error("the old address is still probed")
		}
		if got := target(p); got != "127.0.0.2:1100" {
			t.Errorf("target %s", got)
		}
	})
}

// Literals need nobody, and are there at once.
func TestLiterals(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		p := pool.New("web", pool.Options{Loops: 1, Resolve: func(context.Context, string) ([]netip.Addr, error) {
			t.Errorf("%s was looked up", address)
			return nil, errors.New("no")
		}})
		defer p.Close()
		p.Update(pool.Spec{Backends: []pool.BackendSpec{{Address: address}}})
		if got := target(p); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	f("127.0.0.1:80", "127.0.0.1:80")
	f("[::1]:80", "[::1]:80")
	f("[::ffff:127.0.0.1]:80", "127.0.0.1:80")
	f("unix:/run/app.sock", "unix:/run/app.sock")

	// what is no address never gets one; the status says why
	f("app", pool.ErrEmpty.Error())
	f("app:http", pool.ErrEmpty.Error())
	f("app:0", pool.ErrEmpty.Error())
	f("app:70000", pool.ErrEmpty.Error())
}

func TestBadAddressSaysWhy(t *testing.T) {
	p := start(t, pool.Options{}, pool.Spec{Backends: []pool.BackendSpec{{Address: "app:http"}, {Address: "app"}}})
	b := p.Status().Backends
	if want := `address "app:http": port "http" is not a number from 1 to 65535`; b[0].Cause != want {
		t.Errorf("cause %q, want %q", b[0].Cause, want)
	}
	if want := `address "app": want host:port, [v6]:port or unix:/path`; b[1].Cause != want {
		t.Errorf("cause %q, want %q", b[1].Cause, want)
	}
}

// localhost is two addresses, and a server may have bound either.
func TestLocalhost(t *testing.T) {
	n := &nameServer{}
	n.say("localhost", "::1", "127.0.0.1")
	f := func(host, other string) {
		t.Helper()
		ln, port := listenAlone(t, host, other)
		defer ln.Close()
		p := pool.New("web", pool.Options{Loops: 1, Resolve: n.resolve})
		defer p.Close()
		st := p.Stage(pool.Spec{Backends: []pool.BackendSpec{{Address: "localhost:" + port}}})
		st.Wait(t.Context())
		st.Commit()
		if got := target(p); got != ln.Addr().String() {
			t.Errorf("target %s, want %s", got, ln.Addr())
		}
	}
	f("127.0.0.1", "::1")
	f("::1", "127.0.0.1")
}

// listenAlone listens on a port of host on which nobody else does on other.
func listenAlone(t *testing.T, host, other string) (ln net.Listener, port string) {
	t.Helper()
	for {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Skipf("no %s here: %v", host, err)
		}
		_, port, _ = net.SplitHostPort(ln.Addr().String())
		conn, err := net.Dial("tcp", net.JoinHostPort(other, port))
		if err != nil {
			return ln, port
		}
		conn.Close()
		ln.Close()
	}
}

// Without a Resolve the system is asked.
func TestSystemResolver(t *testing.T) {
	p := pool.New("web", pool.Options{Loops: 1})
	defer p.Close()
	st := p.Stage(pool.Spec{Backends: []pool.BackendSpec{{Address: "localhost:1"}}})
	st.Wait(t.Context())
	st.Commit()
	if got := target(p); got != "127.0.0.1:1" && got != "[::1]:1" {
		t.Errorf("localhost:1 is %s", got)
	}
}
