//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit"
)

// SIGTERM: readiness says no first, nobody new is let in, and what is in
// flight is finished.
func TestTerminate(t *testing.T) {
	const requests = 50
	release := make(chan struct{})
	backend := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		select {
		case <-release:
			return testkit.Answer(200, "done")(x)
		case <-x.Done:
			return false
		}
	})
	w := start(t, simple(backend.Addr()))
	idle := testkit.Dial(t, w.listen)
	replies := make(chan string, requests)
	var asking sync.WaitGroup
	for range requests {
		c := testkit.Dial(t, w.listen)
		c.Send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		asking.Go(func() {
			r, err := c.TryRead("GET")
			replies <- fmt.Sprint(r, err)
		})
	}
	eventually(t, 10*time.Second, "all requests are at the backend", func() bool { return backend.Requests.Load() == requests })

	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, 10*time.Second, "readiness says no", func() bool {
		code, _, err := w.call("GET", "/readyz", "")
		return err == nil && code == 503
	})
	if code, _, err := w.call("GET", "/livez", ""); err != nil || code != 200 {
		t.Errorf("/livez while draining: %d, %v; want 200", code, err)
	}
	eventually(t, 10*time.Second, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", w.listen)
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if !idle.Closed() {
		t.Error("an idle connection lives on")
	}
	close(release)
	asking.Wait()
	close(replies)
	for r := range replies {
		if !strings.HasPrefix(r, "200") || !strings.HasSuffix(r, "<nil>") {
			t.Errorf("a request in flight got %s", r)
		}
	}
	w.awaitExit(20 * time.Second)
}

// A second SIGTERM does not wait.
func TestTerminateTwice(t *testing.T) {
	backend := testkit.NewBackend(t, testkit.NeverAnswer)
	w := start(t, simple(backend.Addr()))
	c := testkit.Dial(t, w.listen)
	c.Send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	eventually(t, 10*time.Second, "the request is at the backend", func() bool { return backend.Requests.Load() == 1 })
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, 10*time.Second, "it drains", func() bool {
		code, _, err := w.call("GET", "/readyz", "")
		return err == nil && code == 503
	})
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.exited:
		w.cmd = nil
	case <-time.After(5 * time.Second):
		t.Error("weir waits on after a second SIGTERM")
	}
}

// A WebSocket goes on when the configuration changes around it.
func TestWebSocketSurvivesReload(t *testing.T) {
	backend := testkit.NewBackend(t, testkit.WebSocket)
	yaml := simple(backend.Addr())
	w := start(t, yaml)
	c := testkit.Dial(t, w.listen)
	r := c.Get("/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	if r.Status != 101 {
		t.Fatal(r)
	}
	echo := func(text string) {
		t.Helper()
		c.Send(text)
		got := make([]byte, len(text))
		_ = c.Conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(c.R, got); err != nil || string(got) != text {
			t.Fatalf("the WebSocket echoes %q, %v; want %q", got, err, text)
		}
	}
	echo("before")
	version := w.status().Version
	for k := range 5 {
		w.write(strings.Replace(yaml, "routes:", fmt.Sprintf("routes:\n      - {name: r%d, match: {path: /r%d}, respond: {status: 200}}", k, k), 1))
		version = w.awaitVersion(version)
		echo(fmt.Sprintf("after edit %d", k))
	}
}

// webSocket is a handshake.
var webSocket = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}

// goodbye is the close frame by which a WebSocket is told that its server leaves,
// and farewell a client's answer to it.
const (
	goodbye  = "\x88\x02\x03\xe9"
	farewell = "\x88\x82\x00\x00\x00\x00\x03\xe9"
)

// A WebSocket that outlives the grace period is told so.
func TestTerminateEndsWebSockets(t *testing.T) {
	backend := testkit.NewBackend(t, testkit.WebSocket)
	w := start(t, simple(backend.Addr()), "--grace", "100ms")
	c := testkit.Dial(t, w.listen)
	if r := c.Get("/ws", webSocket...); r.Status != 101 {
		t.Fatal(r)
	}
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	got := make([]byte, len(goodbye))
	_ = c.Conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(c.R, got); err != nil || string(got) != goodbye {
		t.Errorf("the WebSocket ends with %q, %v; want %q", got, err, goodbye)
	}
	c.Send(farewell)
	if !c.Closed() {
		t.Error("the connection lives on")
	}
	w.awaitExit(20 * time.Second)
}

// A backend with many WebSockets is drained: each is told, one after the other,
// and no request fails meanwhile.
func TestDrainWebSockets(t *testing.T) {
	const sockets = 100
	busy, other := testkit.NewBackend(t, testkit.WebSocket), testkit.NewBackend(t, testkit.Named("other"))
	w := start(t, fmt.Sprintf(`
admin: {address: "ADMIN"}
log: {access: false}
listeners: [{name: web, address: "LISTEN", routes: [{name: all, pool: api}]}]
pools: {api: {backends: [{address: %q, tier: 0}, {address: %q, tier: 1}]}}
`, busy.Addr(), other.Addr()))
	ends := make(chan string, sockets)
	var waiting sync.WaitGroup
	for range sockets {
		c := testkit.Dial(t, w.listen)
		if r := c.Get("/ws", webSocket...); r.Status != 101 {
			t.Fatal(r)
		}
		waiting.Go(func() {
			got := make([]byte, len(goodbye))
			_ = c.Conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.ReadFull(c.R, got); err != nil {
				ends <- err.Error()
				return
			}
			c.Send(farewell)
			ends <- string(got)
		})
	}
	drained := make(chan string, 1)
	go func() {
		code, stdout, stderr := w.cli("drain", "api/"+busy.Addr(), "--wait", "--timeout", "2s")
		drained <- fmt.Sprint(code, " ", stdout, stderr)
	}()
	c := testkit.Dial(t, w.listen)
	eventually(t, 10*time.Second, "requests go elsewhere", func() bool { return c.Get("/").Body == "other" })
	for over := false; !over; {
		if r := c.Get("/"); r.Body != "other" {
			t.Fatalf("while it drains: %v", r)
		}
		select {
		case said := <-drained:
			if !strings.HasPrefix(said, "0 ") || !strings.Contains(said, fmt.Sprintf("%d streams still run", sockets)) ||
				!strings.Contains(said, fmt.Sprintf("%d were closed by the deadline", sockets)) {
				t.Errorf("weir drain: %s", said)
			}
			if lines := strings.Count(said, "\n"); lines < 4 { // at the start, at the end, and on the way
				t.Errorf("they ended all at once:\n%s", said)
			}
			over = true
		default:
		}
	}
	waiting.Wait()
	close(ends)
	for got := range ends {
		if got != goodbye {
			t.Errorf("a WebSocket ends with %q, want %q", got, goodbye)
		}
	}
	eventually(t, 10*time.Second, "its connections are closed", func() bool { return busy.Open.Load() == 0 })
}
