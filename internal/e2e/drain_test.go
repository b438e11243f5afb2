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
