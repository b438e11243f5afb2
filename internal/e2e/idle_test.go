//go:build e2e

package e2e

import (
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// idleConfig keeps idle connections for as long as the test needs them.
const idleConfig = `
admin: {address: "ADMIN"}
log: {level: info, access: false}
defaults:
  timeouts: {client_idle: 10m}
listeners:
  - name: web
    address: LISTEN
    protocol: http
    routes:
      - {name: all, respond: {status: 200, body: "ok"}}
`

// Ten thousand keep-alive connections that are quiet cost less than a
// kilobyte each, and all of them still work afterwards.
func TestIdleConnections(t *testing.T) {
	n := few(10_000)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Max < uint64(n)+500 {
		t.Skipf("%d connections need more open files than the limit of %d", n, limit.Max)
	}
	w := start(t, idleConfig)
	ask(t, w.dial(64)) // warm up: what is needed once should not count
	before := w.settledRSS()
	var conns []net.Conn
	for len(conns) < n { // a thousand a second: clients do not all come at once
		batch := w.dial(min(500, n-len(conns)))
		ask(t, batch)
		conns = append(conns, batch...)
		time.Sleep(500 * time.Millisecond)
	}
	eventually(t, 20*time.Second, "all connections are open", func() bool { return w.connections() >= n })
	after := w.settledRSS()
	each := float64(after-before) / float64(n)
	t.Logf("resident: %d KiB before, %d KiB with %d idle connections: %.0f bytes each", before>>10, after>>10, n, each)
	if each >= 1024 {
		t.Errorf("an idle connection costs %.0f bytes, want less than 1024", each)
	}
	ask(t, conns)
	if got := w.connections(); got < n {
		t.Errorf("%d of %d connections are left", got, n)
	}
}

// dial opens n connections.
func (w *weir) dial(n int) []net.Conn {
	w.t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := net.Dial("tcp", w.listen)
		if err != nil {
			w.t.Fatalf("connection %d: %v", i, err)
		}
		w.t.Cleanup(func() { _ = c.Close() })
		conns[i] = c
	}
	return conns
}

// ask sends a request over each connection, some at a time.
func ask(t *testing.T, conns []net.Conn) {
	t.Helper()
	next := make(chan net.Conn)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			buf := make([]byte, 4096)
			for c := range next {
				_ = c.SetDeadline(time.Now().Add(15 * time.Second))
				_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
				if err == nil {
					_, err = c.Read(buf)
				}
				if err != nil || string(buf[:12]) != "HTTP/1.1 200" {
					t.Errorf("an idle connection does not work: %.40q, %v", buf, err)
				}
			}
		})
	}
	for _, c := range conns {
		next <- c
	}
	close(next)
	workers.Wait()
}

// settledRSS is the resident memory once connections are parked, which they
// are after about a second of silence, the collector has run, and what it freed
// has gone back to the kernel, which takes the runtime a while.
func (w *weir) settledRSS() int64 {
	w.t.Helper()
	lowest, since := int64(1<<62), 0
	for range 40 {
		if code, _, err := w.call("GET", "/debug/pprof/heap?gc=1", ""); code != 200 {
			w.t.Fatalf("GET /debug/pprof/heap: %d, %v", code, err)
		}
		now := w.rss()
		if since++; now < lowest-lowest/200 {
			lowest, since = now, 0
		}
		if since == 4 {
			break
		}
		time.Sleep(time.Second)
	}
	return lowest
}

// connections is how many connections the listener has.
func (w *weir) connections() int {
	w.t.Helper()
	var s struct {
		Traffic struct{ Listeners []struct{ Connections int } }
	}
	w.get("/v1/status", &s)
	if len(s.Traffic.Listeners) == 0 {
		return 0
	}
	return s.Traffic.Listeners[0].Connections
}
