package health_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/health"
	"weir/internal/loop"
)

// onLoop is a Pace with a loop, and room for as many connections as anybody wants.
func onLoop(t *testing.T) *health.Pace {
	t.Helper()
	return onLoopOf(t, loop.Options{Loops: 1, Quiet: true})
}

func onLoopOf(t *testing.T, o loop.Options) *health.Pace {
	t.Helper()
	o.Panic = func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) }
	g, err := loop.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return &health.Pace{Loop: g.Loop(0), Spares: 1 << 30}
}

// asked is a Prober of one target, whose results are taken one by one.
type asked struct {
	*health.Prober
	results chan health.Result
	stop    func()
}

// ask probes addr all the time until the test ends, or stop.
func ask(t *testing.T, pace *health.Pace, target health.Target) *asked {
	t.Helper()
	a := &asked{results: make(chan health.Result)}
	quit := make(chan struct{})
	a.Prober = health.NewProber(func(_ string, r health.Result) {
		select {
		case a.results <- r:
		case <-quit:
		}
	})
	a.Pace = pace
	if target.Interval == 0 {
		target.Interval = time.Millisecond
	}
	if target.Timeout == 0 {
		target.Timeout = time.Minute
	}
	target.Fall, target.Rise = 1, 1
	a.Sync(targets{"a": target})
	a.stop = sync.OnceFunc(func() {
		close(quit)
		a.Sync(nil)
		a.Wait()
	})
	t.Cleanup(a.stop)
	return a
}

// next is the next result.
func (a *asked) next(t *testing.T) string {
	t.Helper()
	select {
	case r := <-a.results:
		if r.Err != nil {
			return r.Err.Error()
		}
		return "pass"
	case <-time.After(30 * time.Second):
		t.Fatal("no result")
		return ""
	}
}

func once(t *testing.T, pace *health.Pace, c health.Check, addr string) string {
	t.Helper()
	return onceWithin(t, pace, c, addr, time.Minute)
}

func onceWithin(t *testing.T, pace *health.Pace, c health.Check, addr string, timeout time.Duration) string {
	t.Helper()
	a := ask(t, pace, health.Target{Addr: addr, Check: c, Interval: time.Hour, Timeout: timeout})
	defer a.stop()
	return a.next(t)
}

// talker is a backend that does with each connection what talk says, and counts
// them.
type talker struct {
	addr string
	mu   sync.Mutex
	less sync.Cond // open
	made int       // connections so far
	open int       // of them
}

// count changes the number of open connections by n.
func (b *talker) count(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open += n
	b.made += max(0, n)
	b.less.Broadcast()
}

// waitClosed returns when no connection is open.
func (b *talker) waitClosed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.open > 0 {
		b.less.Wait()
	}
}

func (b *talker) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.made
}

func talks(t *testing.T, talk func(conn net.Conn, r *bufio.Reader)) *talker {
	t.Helper()
	b := &talker{}
	b.less.L = &b.mu
	b.addr = peer(t, func(conn net.Conn) {
		b.count(1)
		defer b.count(-1)
		talk(conn, bufio.NewReader(conn))
	})
	return b
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// hears reads a request, and is false at the end of a connection.
func hears(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	io.Copy(io.Discard, req.Body)
	return true
}

// Ten probes use as many connections as their answers make necessary.
func TestProbesKeepTheirConnection(t *testing.T) {
	pace := onLoop(t)
	f := func(c health.HTTP, answer string, want int) {
		t.Helper()
		b := talks(t, func(conn net.Conn, r *bufio.Reader) {
			for hears(r) {
				io.WriteString(conn, answer)
			}
		})
		a := ask(t, pace, health.Target{Addr: b.addr, Check: c})
		first := a.next(t)
		for range 9 {
			if got := a.next(t); got != first {
				t.Errorf("%q: %s, and at first %s", answer, got, first)
			}
		}
		a.stop()
		b.waitClosed() // nothing is left open
		// What is made after the tenth result is made for an eleventh probe.
		if got := b.connections(); got < want || got > want+1 || want == 1 && got != 1 {
			t.Errorf("%+v, %.60q: %d connections for 10 probes, want %d", c, answer, got, want)
		}
	}
	f(health.HTTP{}, ok, 1)
	f(health.HTTP{Body: "ok"}, ok, 1)
	f(health.HTTP{Method: "POST", Payload: "x"}, ok, 1)
	f(health.HTTP{Method: "HEAD"}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 1)
	f(health.HTTP{}, "HTTP/1.1 204 No Content\r\n\r\n", 1)
	f(health.HTTP{}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1)
	f(health.HTTP{}, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"+strings.Repeat("x", 60_000), 1)
	f(health.HTTP{Body: "x"}, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"+strings.Repeat("x", 60_000), 1)
	f(health.HTTP{}, "HTTP/1.1 100 Continue\r\n\r\n"+ok, 1)

	f(health.HTTP{Fresh: true}, ok, 10)
	f(health.HTTP{}, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 10)
	f(health.HTTP{}, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 10)
	f(health.HTTP{}, ok+"surplus", 10)
	f(health.HTTP{}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nsurplus", 10)
	f(health.HTTP{}, "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n"+strings.Repeat("x", 70_000), 10)
	f(health.HTTP{Body: "no"}, ok, 10)
	f(health.HTTP{}, "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", 10)
}

// What is sent says whether the connection ends with it.
func TestProbesSayWhetherTheyKeep(t *testing.T) {
	pace := onLoop(t)
	f := func(c health.HTTP, want string) {
		t.Helper()
		heard := make(chan string, 1)
		b := talks(t, func(conn net.Conn, r *bufio.Reader) {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			heard <- fmt.Sprintf("%s %s %s close=%v", req.Method, req.URL, req.UserAgent(), req.Close)
			io.WriteString(conn, ok)
		})
		once(t, pace, c, b.addr)
		if got := <-heard; got != want {
			t.Errorf("%+v asks %s, want %s", c, got, want)
		}
	}
	f(health.HTTP{}, "GET / weir-check close=false")
	f(health.HTTP{Fresh: true}, "GET / weir-check close=true")
}

// A backend may close connections that nobody uses: the probe that would have
// used one makes another, and passes.
func TestProbesOverStaleConnections(t *testing.T) {
	pace := onLoop(t)
	f := func(what string, end func(conn net.Conn, r *bufio.Reader)) {
		t.Helper()
		b := talks(t, func(conn net.Conn, r *bufio.Reader) {
			if hears(r) {
				io.WriteString(conn, ok)
				end(conn, r)
			}
		})
		a := ask(t, pace, health.Target{Addr: b.addr, Check: health.HTTP{}})
		for range 10 {
			if got := a.next(t); got != "pass" {
				t.Errorf("%s: %s", what, got)
			}
		}
		a.stop()
		b.waitClosed()
	}
	f("closed after the answer", func(net.Conn, *bufio.Reader) {})
	f("closed when asked again", func(_ net.Conn, r *bufio.Reader) { hears(r) })
	f("reset when asked again", func(conn net.Conn, r *bufio.Reader) {
		hears(r)
		conn.(*net.TCPConn).SetLinger(0)
	})
	f("closed by a timer, with a word", func(conn net.Conn, _ *bufio.Reader) {
		io.WriteString(conn, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
	})
	f("closed with a word when asked again", func(conn net.Conn, r *bufio.Reader) {
		hears(r)
		io.WriteString(conn, "HTTP/1.0 408 Request Timeout\r\n\r\n")
	})
	f("kept, with a word too many", func(conn net.Conn, r *bufio.Reader) {
		io.WriteString(conn, "?")
		io.Copy(io.Discard, r)
	})
}

// But what goes wrong on a connection that works is what it is: it is asked once.
func TestProbesFailOverKeptConnections(t *testing.T) {
	pace := onLoop(t)
	f := func(second, want string) {
		t.Helper()
		b := talks(t, func(conn net.Conn, r *bufio.Reader) {
			if hears(r) {
				io.WriteString(conn, ok)
			}
			if hears(r) {
				io.WriteString(conn, second)
			}
			if second == "" {
				io.Copy(io.Discard, r)
			}
		})
		a := ask(t, pace, health.Target{Addr: b.addr, Check: health.HTTP{}, Timeout: 50 * time.Millisecond})
		for range 3 {
			if got := a.next(t); got != "pass" {
				t.Errorf("first: %s", got)
			}
			if got := a.next(t); !strings.Contains(got, want) {
				t.Errorf("after %q: %s, want %s", second, got, want)
			}
		}
	}
	f("", "no verdict within 50ms: context deadline exceeded")
	f("HTTP/1.1 2", "malformed HTTP status code")
	f("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status 503, want 200-399")
}

// One that always hangs up is down.
func TestProbesOfWhoHangsUp(t *testing.T) {
	pace := onLoop(t)
	b := talks(t, func(_ net.Conn, r *bufio.Reader) { hears(r) })
	a := ask(t, pace, health.Target{Addr: b.addr, Check: health.HTTP{}})
	for range 3 {
		if got := a.next(t); got != "EOF" {
			t.Errorf("%s, want EOF", got)
		}
	}
}

// The Hello belongs to the connection.
func TestProbesSayHelloOnce(t *testing.T) {
	pace := onLoop(t)
	b := talks(t, func(conn net.Conn, r *bufio.Reader) {
		if line, _ := r.ReadString('\n'); line != "PROXY UNKNOWN\r\n" {
			return
		}
		for hears(r) {
			io.WriteString(conn, ok)
		}
	})
	a := ask(t, pace, health.Target{Addr: b.addr, Check: health.HTTP{Hello: []byte("PROXY UNKNOWN\r\n")}})
	for range 5 {
		if got := a.next(t); got != "pass" {
			t.Error(got)
		}
	}
	if got := b.connections(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// No more are kept than may be, and none that would be too old when it is used.
func TestProbesKeepFewConnections(t *testing.T) {
	answering := func(conn net.Conn, r *bufio.Reader) {
		for hears(r) {
			io.WriteString(conn, ok)
		}
	}
	pace := onLoop(t)
	pace.Spares = 2
	var all []*asked
	for range 5 {
		b := talks(t, answering)
		a := ask(t, pace, health.Target{Addr: b.addr, Check: health.HTTP{}, Interval: time.Minute})
		if got := a.next(t); got != "pass" {
			t.Error(got)
		}
		all = append(all, a)
	}
	if got := pace.Kept(); got != 2 {
		t.Errorf("%d connections are kept, want 2", got)
	}
	for _, a := range all {
		a.stop()
	}
	if got := pace.Kept(); got != 0 {
		t.Errorf("%d connections are kept of nobody", got)
	}

	b := talks(t, answering)
	a := ask(t, pace, health.Target{Addr: b.addr, Check: health.HTTP{}, Interval: 3 * time.Minute})
	if got := a.next(t); got != "pass" {
		t.Error(got)
	}
	b.waitClosed()
}

// What is stopped ends at once: while it connects, waits for an answer, or has
// nothing to do. What replaces it has a connection of its own.
func TestProbesStop(t *testing.T) {
	pace := onLoop(t)
	silent := talks(t, func(_ net.Conn, r *bufio.Reader) {
		for hears(r) {
		}
	})
	answering := talks(t, func(conn net.Conn, r *bufio.Reader) {
		for hears(r) {
			io.WriteString(conn, ok)
		}
	})
	for _, c := range []health.Check{health.HTTP{}, health.TCP{Expect: []byte("x")}} {
		a := ask(t, pace, health.Target{Addr: silent.addr, Check: c})
		for before := silent.connections(); silent.connections() == before; {
			runtime.Gosched()
		}
		a.stop()
		silent.waitClosed()
	}

	a := ask(t, pace, health.Target{Addr: fullBacklog(t), Check: health.TCP{}, Timeout: time.Hour})
	stopped := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() { // it is dialing, most likely
		a.stop()
		close(stopped)
	})
	<-stopped

	a = ask(t, pace, health.Target{Addr: answering.addr, Check: health.HTTP{}, Interval: time.Hour})
	a.next(t)
	a.Sync(targets{"a": {Addr: silent.addr, Check: health.HTTP{}, Interval: time.Hour, Timeout: time.Minute}})
	answering.waitClosed()
	a.stop()
	silent.waitClosed()
}

// fullBacklog is an address whose host answers no more: its queue is full.
func fullBacklog(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	raw, _ := ln.(*net.TCPListener).SyscallConn()
	raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) })
	if err != nil {
		t.Fatal(err)
	}
	for range 16 {
		c, err := net.DialTimeout("tcp", ln.Addr().String(), 100*time.Millisecond)
		if err != nil {
			return ln.Addr().String()
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this system has no full backlog")
	return ""
}

// All kinds of addresses and checks, on all kinds of loops.
func TestProbesOnLoops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	backend(t, "unix", path, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "host="+r.Host) })
	six := backend(t, "tcp", "[::1]:0", func(w http.ResponseWriter, r *http.Request) {}).(*net.TCPAddr)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	echo := echoes(t)
	for _, o := range []loop.Options{{Loops: 1}, {Loops: 1, Quiet: true}, {Loops: 1, Portable: true}} {
		pace := onLoopOf(t, o)
		f := func(c health.Check, addr, want string) {
			t.Helper()
			if got := once(t, pace, c, addr); !strings.Contains(got, want) {
				t.Errorf("%+v, %+v of %s: %s, want %s", o, c, addr, got, want)
			}
		}
		f(health.HTTP{Body: "host=localhost"}, "unix:"+path, "pass")
		f(health.HTTP{Host: "a.example", Body: "host=a.example", Port: 1}, "unix:"+path, "pass")
		f(health.TCP{}, "unix:"+path, "pass")
		f(health.TCP{}, "unix:"+path+".gone", "connect: dial unix "+path+".gone: connect: no such file")
		f(health.HTTP{Port: six.Port}, "[::1]:1", "pass")
		f(health.TCP{Port: six.Port}, "[::1]:1", "pass")
		f(health.TCP{}, gone.Addr().String(), "connect: dial tcp "+gone.Addr().String()+": connect: connection refused")
		f(health.HTTP{}, gone.Addr().String(), "connect: dial tcp "+gone.Addr().String()+": connect: connection refused")
		f(health.HTTP{Path: "/%zz"}, echo, "check request")
		f(health.HTTP{Headers: []health.Header{{"X-Key", "a\nb"}}}, echo, "invalid header")
		f(health.HTTP{Headers: []health.Header{{"a b", "c"}}}, echo, "invalid header")
		f(health.TCP{Send: []byte("PING\n"), Expect: []byte("[PING]")}, echo, "pass")
		f(health.TCP{Hello: []byte("PROXY UNKNOWN\r\n"), Send: []byte("PING\n"), Expect: []byte("[PROXY UNKNOWN]\n[PING]")}, echo, "pass")
		f(health.TCP{Send: []byte("PING\n"), Expect: []byte("x")}, says(t, "abc"), `answer "abc" does not contain "x"`)
		if got := onceWithin(t, pace, health.TCP{Send: []byte("PING\n"), Expect: []byte("x")}, echo, 20*time.Millisecond); got !=
			`no verdict within 20ms: answer "[PING]\n" does not contain "x": context deadline exceeded` {
			t.Errorf("%+v: %s", o, got)
		}

		// a name, which loops do not know, and no address at all
		_, port, _ := net.SplitHostPort(echo)
		f(health.TCP{Send: []byte("PING\n"), Expect: []byte("[PING]")}, "localhost:"+port, "pass")
		f(health.TCP{}, "nonsense", "missing port")
	}
}

// Hundreds that are stopped at any moment leave nothing behind.
func TestManyProbesStop(t *testing.T) {
	pace := onLoop(t)
	pace.Spares = 100
	b := talks(t, func(conn net.Conn, r *bufio.Reader) {
		for hears(r) {
			io.WriteString(conn, ok)
		}
	})
	for range 5 {
		var probes atomic.Int64
		enough := make(chan struct{})
		var all []*health.Prober
		for range 3 {
			p := health.NewProber(func(_ string, r health.Result) {
				if r.Err != nil && !errors.Is(r.Err, net.ErrClosed) {
					t.Error(r.Err)
				}
				if probes.Add(1) == 1000 {
					close(enough)
				}
			})
			p.Pace = pace
			want := targets{}
			for i := range 100 {
				check := health.Check(health.HTTP{})
				if i%10 == 0 {
					check = health.TCP{}
				}
				want[fmt.Sprint(i)] = health.Target{Addr: b.addr, Check: check, Interval: 10 * time.Millisecond, Timeout: time.Minute, Fall: 1, Rise: 1}
			}
			p.Sync(want)
			all = append(all, p)
		}
		select {
		case <-enough:
		case <-time.After(30 * time.Second):
			t.Fatal("no results")
		}
		for _, p := range all {
			p.Sync(nil)
			p.Wait()
		}
		if n := pace.Kept(); n != 0 {
			t.Errorf("%d connections are kept of nobody", n)
		}
		b.waitClosed()
	}
}
