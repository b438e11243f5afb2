package proxy_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// The end of an idle connection is noticed when it happens, not when it is used.
func TestBackendClosesIdle(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
		w := testkit.StartOn(t, alone(b, ""), o)
		c := testkit.Dial(t, w.Addr("web"))
		for range 20 {
			if r := c.Post("/", "body"); r.Body != "ok" {
				t.Fatal(r)
			}
			b.CloseIdle()
			eventually(t, "the idle connection is given up", func() bool {
				return w.Metric(`weir_upstream_connections{backend="`+b.Addr()+`",pool="web",state="idle"}`) == "0"
			})
		}
		if n := b.Requests.Load(); n != 20 {
			t.Errorf("%d requests, want 20", n)
		}
	})
}

// Bytes behind an answer never become the answer to somebody else.
func TestSurplusBytes(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
		b := testkit.NewBackend(t, nil)
		w := testkit.StartOn(t, alone(b, ""), o)
		late := testkit.Late(10*time.Millisecond, poison, testkit.Answer(200, "ok"))
		for _, m := range []testkit.Manner{
			testkit.Surplus(poison), testkit.Surplus("\r\n"), late,
			testkit.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"+poison, true),
			testkit.Raw("HTTP/1.1 204 No Content\r\n\r\n"+poison, true),
			testkit.Raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 45\r\n\r\n"+poison, true),
		} {
			b.Become(m)
			first := testkit.Dial(t, w.Addr("web"))
			if r := first.Get("/"); r.Body != "ok" && r.Status == 200 {
				t.Error(r)
			}
			eventually(t, "the connection is given up", func() bool { return b.Open.Load() == 0 })
			b.Become(testkit.Answer(200, "mine"))
			if r := testkit.Get(t, w.Addr("web"), "/"); r.Body != "mine" {
				t.Errorf("another client got %v", r)
			}
			if r := first.Get("/"); r.Body != "mine" {
				t.Errorf("the same client got %v", r)
			}
			b.CloseIdle()
			eventually(t, "no connection is open", func() bool { return b.Open.Load() == 0 })
		}
		// a HEAD is answered without a body, whatever the backend thinks
		b.Become(testkit.Raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", true))
		c := testkit.Dial(t, w.Addr("web"))
		refused(t, c.Do("HEAD /"), 502, "bad_response")
		b.Become(testkit.Answer(200, "mine"))
		if r := c.Get("/"); r.Body != "mine" {
			t.Error(r)
		}
	})
}

// No more connections are kept than may be, and none for longer.
func TestIdleConnections(t *testing.T) {
	var gate sync.WaitGroup
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		if x.Path() == "/gate" {
			gate.Done()
			gate.Wait() // until all are here
		}
		return testkit.Answer(200, "ok")(x)
	})
	w := testkit.StartOn(t, setup{backends: at(b), pool: "keepalive: {idle_per_backend: 3, idle_timeout: 200ms}\n"}.yaml(), single)
	gate.Add(8)
	var clients []*testkit.Client
	for range 8 {
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n")
		clients = append(clients, c)
	}
	for _, c := range clients {
		if r := c.Read("GET"); r.Body != "ok" {
			t.Error(r)
		}
	}
	if n := b.Conns.Load(); n != 8 {
		t.Errorf("%d connections, want 8", n)
	}
	idle := `weir_upstream_connections{backend="` + b.Addr() + `",pool="web",state="idle"}`
	eventually(t, "3 connections are left", func() bool { return b.Open.Load() <= 3 })
	if got := w.Metric(idle); got != "3" && got != "0" {
		t.Errorf("%s is %s", idle, got)
	}
	eventually(t, "none is left", func() bool { return b.Open.Load() == 0 })
	if got := w.Metric(idle); got != "0" {
		t.Errorf("%s is %s", idle, got)
	}
	// 0 keeps none
	w.Apply(setup{backends: at(b), pool: "keepalive: {idle_per_backend: 0}\n"}.yaml())
	n := b.Conns.Load()
	for range 3 {
		clients[0].Get("/")
	}
	if got := b.Conns.Load() - n; got != 3 {
		t.Errorf("%d connections for 3 requests, want 3", got)
	}
}

// Backends may be Unix sockets.
func TestUnixBackend(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewUnixBackend(t, t.TempDir()+"/s", testkit.Echo)
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		for range 3 {
			if r := c.Post("/", "hello"); !strings.HasSuffix(r.Body, "hello") {
				t.Error(r)
			}
		}
		if n := b.Conns.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
		b.Stop()
		refused(t, c.Get("/"), 502, "connect_refused")
	})
}

// A slow reader slows its backend down, and memory stays what it was.
func TestSlowReader(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		const size = 64 << 20
		var written int64
		done := make(chan bool, 1)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: " + itoa(size) + "\r\n\r\n")
			block := make([]byte, 64<<10)
			for written < size {
				_ = x.Conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
				n, err := x.Conn.Write(block)
				written += int64(n)
				if err != nil {
					break
				}
			}
			done <- true
			return false
		})
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		await(t, done, "standstill")
		if written > 32<<20 {
			t.Errorf("%d MiB left the backend for a client that reads nothing", written>>20)
		}
		c.Conn.Close()
	})
}
