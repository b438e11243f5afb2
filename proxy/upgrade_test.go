package proxy_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

const handshake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// upgrade asks for a WebSocket and checks that it was given.
func upgrade(t *testing.T, w *testkit.Weir, early string) *testkit.Client {
	t.Helper()
	c := testkit.Dial(t, w.Addr("web"))
	c.Send(handshake + early)
	r := c.Read("GET")
	if r.Status != 101 || r.Header("Upgrade") != "websocket" || !strings.EqualFold(r.Header("Connection"), "upgrade") ||
		r.Header("Sec-WebSocket-Accept") != "HSmrc0sMlYUkAGmm5OPpG2HaGWk=" {
		t.Fatal(r)
	}
	return c
}

// echoes sends text and expects it back.
func echoes(t *testing.T, c *testkit.Client, text string) {
	t.Helper()
	c.Send(text)
	expect(t, c, text)
}

func expect(t *testing.T, c *testkit.Client, text string) {
	t.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c.R, got); err != nil || string(got) != text {
		t.Fatalf("got %.50q, %v; want %.50q", got, err, text)
	}
}

func TestWebSocket(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.WebSocket)
		w := testkit.StartOn(t, before(b), o)
		c := upgrade(t, w, "")
		if got := values(strings.Split(b.Last(), "\r\n"), "Connection"); len(got) != 1 || got[0] != "Upgrade" {
			t.Errorf("Connection: %q", got)
		}
		if got := values(strings.Split(b.Last(), "\r\n"), "Upgrade"); len(got) != 1 || got[0] != "websocket" {
			t.Errorf("Upgrade: %q", got)
		}
		echoes(t, c, "hello")
		echoes(t, c, noise(300_000))
		if got := w.Metric(`weir_streams_active{type="ws"}`); got != "1" {
			t.Errorf("weir_streams_active is %q, want 1", got)
		}
		if st := w.Backend("web", b.Addr()); st.InFlight != 1 || st.Streams != 1 {
			t.Errorf("%d leases, %d of streams; want 1, 1", st.InFlight, st.Streams)
		}
		if l := w.Proxy.Status().Listeners[0]; l.Connections != 1 || l.Tunnels != 1 {
			t.Errorf("%d connections, %d tunnels; want 1, 1", l.Connections, l.Tunnels)
		}
		// the client's end is passed on, what is on its way still comes, and so
		// does the backend's end
		c.Send("last words")
		c.CloseWrite()
		if got, err := rest(c); got != "last words" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		eventually(t, "the lease is given back", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
		eventually(t, "no stream is counted", func() bool {
			return w.Backend("web", b.Addr()).Streams == 0 && w.Proxy.Status().Listeners[0].Tunnels == 0
		})
		if got := w.Metric(`weir_upstream_requests_total{backend="` + b.Addr() + `",code="101",pool="web"}`); got != "1" {
			t.Errorf("weir_upstream_requests_total is %q, want 1", got)
		}
		r := records(t, w)[0]
		if r.Overhead > r.Duration/2 || r.Attempts[0].Code != 101 || r.TTFB <= 0 {
			t.Errorf("the backend's time counts as Weir's: %+v", r)
		}
		if r.Status != 101 || r.BytesIn != 300_015 || r.BytesOut != 300_015 || r.Reason != "" || r.Backend != b.Addr() {
			t.Errorf("%+v", r)
		}
	})
}

// What a client sends before its upgrade is accepted waits until then.
func TestEarlyBytes(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		accept := make(chan bool)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			_ = x.Conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := x.R.Peek(1); err == nil {
				t.Error("bytes came before the 101")
			}
			_ = x.Conn.SetReadDeadline(time.Time{})
			<-accept
			return testkit.WebSocket(x)
		})
		w := testkit.StartOn(t, before(b), o)
		go func() { accept <- true }()
		early := noise(100_000) // more than the buffer of a head holds
		c := upgrade(t, w, early)
		expect(t, c, early)
		echoes(t, c, "and more")
	})
}

// A refused upgrade is an answer like any other, and the early bytes never
// reach the backend.
func TestRefusedUpgrade(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "no"))
	w := testkit.StartOn(t, before(b), single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send(handshake)
	if r := c.Read("GET"); r.Status != 200 || r.Body != "no" || !r.Persists() {
		t.Error(r)
	}
	if r := c.Get("/next"); r.Body != "no" {
		t.Error(r)
	}
	c.Send(handshake + "\x81\x09early\r\n\r\n")
	if r := c.Read("GET"); r.Status != 200 || r.Body != "no" {
		t.Error(r)
	}
	refused(t, c.Read("GET"), 400, "bad_request")
	if n := b.Requests.Load(); n != 3 {
		t.Errorf("%d requests reached the backend, want 3", n)
	}
}

// Nobody asked for it.
func TestUnaskedSwitch(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true))
	w := testkit.Start(t, before(b))
	c := testkit.Dial(t, w.Addr("web"))
	refused(t, c.Get("/"), 502, "bad_response")
	refused(t, c.Get("/", "Connection: upgrade", "Upgrade: h2c"), 502, "bad_response")
	b.Become(testkit.Answer(200, "fine"))
	if r := c.Get("/"); r.Body != "fine" {
		t.Error(r)
	}
}

// Whichever side resets, the other hears of it.
func TestTunnelEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.WebSocket)
		w := testkit.StartOn(t, before(b), o)
		c := upgrade(t, w, "")
		c.Reset()
		eventually(t, "the backend's connection is closed", func() bool { return b.Open.Load() == 0 })
		c = upgrade(t, w, "")
		b.Stop()
		if _, err := rest(c); err == nil {
			// an end is as good as a reset: nothing was on its way
			t.Log("the client saw an end")
		}
		eventually(t, "the lease is given back", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
	})
}

// A tunnel lives as long as bytes move either way, and no longer.
func TestTunnelIdle(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.WebSocket)
		w := testkit.StartOn(t, setup{defaults: "timeouts: {stream_idle: 200ms}", backends: at(b)}.yaml(), o)
		c := upgrade(t, w, "")
		for range 10 {
			if !c.Silent(50 * time.Millisecond) {
				t.Fatal("bytes or an end")
			}
			echoes(t, c, "still here")
		}
		start := time.Now()
		if !c.Closed() {
			t.Error("an idle tunnel goes on")
		}
		if took := time.Since(start); took < 150*time.Millisecond || took > 5*time.Second {
			t.Errorf("cut after %v", took)
		}
	})
}

// Reloads do not touch a tunnel, neither one that keeps its pool nor one that
// takes its backend away.
func TestTunnelSurvivesReloads(t *testing.T) {
	b, other := testkit.NewBackend(t, testkit.WebSocket), testkit.NewBackend(t, testkit.Named("other"))
	w := testkit.Start(t, before(b))
	c := upgrade(t, w, "")
	w.Apply(before(b, other))
	echoes(t, c, "backend added")
	w.Apply(setup{backends: at(b, other), defaults: "limits: {header_bytes: 8KiB}", route: "retries: {attempts: 0}"}.yaml())
	echoes(t, c, "everything else changed")
	w.Apply(before(other))
	echoes(t, c, "backend gone")
	w.Apply(strings.Replace(before(other), "name: web, address", "name: new, address", 1))
	echoes(t, c, "listener gone")
	c.CloseWrite()
	if got, err := rest(c); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
