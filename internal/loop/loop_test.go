package loop_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/loop"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// both runs a test against both implementations, and against the one on epoll
// with Options.Quiet, which start sets.
func both(t *testing.T, f func(t *testing.T, portable bool)) {
	t.Helper()
	if runtime.GOOS == "linux" {
		t.Run("epoll", func(t *testing.T) { f(t, false) })
		t.Run("quiet", func(t *testing.T) { f(t, false) })
	}
	t.Run("portable", func(t *testing.T) { f(t, true) })
}

// start makes a group that is closed, and then must have left nothing behind,
// when the test ends.
func start(t testing.TB, o loop.Options) *loop.Group {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	if o.Panic == nil {
		o.Panic = func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) }
	}
	o.Quiet = o.Quiet || strings.HasSuffix(t.Name(), "/quiet")
	g, err := loop.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error("Close:", err)
		}
		// The runtime counts a goroutine for a moment after it has told us of its end.
		eventually(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= goroutines })
		eventually(t, "files are left", func() bool { return openFiles(t) <= files })
	})
	return g
}

// eventually waits for something that nobody tells us of.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); !ok(); <-look.C {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%s after %v\n%s", what, patience, buf[:runtime.Stack(buf, true)])
		}
	}
}

// openFiles counts the process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	dir, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

// serve listens on loopback.
func serve(t testing.TB, g *loop.Group, handle func(*loop.Conn)) *loop.Listener {
	t.Helper()
	return serveOn(t, g, "tcp", "127.0.0.1:0", handle)
}

func serveOn(t testing.TB, g *loop.Group, network, address string, handle func(*loop.Conn)) *loop.Listener {
	t.Helper()
	ln, err := g.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ln.Serve(handle, 0)
	return ln
}

// dial connects a plain client.
func dial(t testing.TB, ln *loop.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// addr is ln's address for Loop.Dial.
func addr(ln *loop.Listener) loop.Addr {
	if ln.Addr().Network() == "unix" {
		return loop.AddrFromPath(ln.Addr().String())
	}
	return loop.AddrFromPort(ln.Addr().(*net.TCPAddr).AddrPort())
}

// say sends and expects an answer.
func say(t testing.TB, c net.Conn, send, want string) {
	t.Helper()
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	hear(t, c, want)
}

// hear reads exactly want.
func hear(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

// ended waits for the end of what c sends.
func ended(t testing.TB, c net.Conn) {
	t.Helper()
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
}

// on runs fn on a coroutine and waits for it.
func on(t testing.TB, l *loop.Loop, fn func()) {
	t.Helper()
	done := make(chan struct{})
	l.Go(func() {
		defer close(done)
		fn()
	})
	wait(t, done)
}

func wait(t testing.TB, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("nothing happened for %v\n%s", patience, buf[:runtime.Stack(buf, true)])
	}
}

// echo sends back what it reads.
func echo(c *loop.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestEcho(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 2, Portable: portable})
		ln := serve(t, g, echo)
		c := dial(t, ln)
		say(t, c, "hello", "hello")
		say(t, c, "again", "again")
		if n := ln.Conns(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}

		// what was sent before a half-close comes back, then the end
		io.WriteString(c, "last")
		c.(*net.TCPConn).CloseWrite()
		hear(t, c, "last")
		ended(t, c)
		eventually(t, "the connection is still counted", func() bool {
			return ln.Conns() == 0 && g.Loop(0).Conns()+g.Loop(1).Conns() == 0
		})
	})
}

func TestLargeBody(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		c := dial(t, serve(t, g, echo))
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		go func() {
			c.Write(sent)
			c.(*net.TCPConn).CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes came back, %v; want the %d sent", len(got), err, len(sent))
		}
	})
}

func TestDial(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		f := func(network, address string) {
			t.Helper()
			g := start(t, loop.Options{Loops: 2, Portable: portable})
			ln := serveOn(t, g, network, address, echo)
			on(t, g.Loop(0), func() {
				c, err := g.Loop(0).Dial(addr(ln), time.Time{})
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				buf := make([]byte, 16)
				c.Write([]byte("hello"))
				if n, err := c.Read(buf); err != nil || string(buf[:n]) != "hello" {
					t.Errorf("%s %s: read %q, %v", network, address, buf[:n], err)
				}
				if c.Loop() != g.Loop(0) || c.Listener() != nil {
					t.Error("a dialed connection belongs to the loop it was dialed on, and to no listener")
				}
			})
		}
		f("tcp", "127.0.0.1:0")
		f("tcp", "[::1]:0")
		f("tcp", ":0") // the client dials [::] or 0.0.0.0, which Linux takes for loopback
		f("unix", t.TempDir()+"/x.sock")
	})
}

func TestAddr(t *testing.T) {
	f := func(a loop.Addr, want string, valid bool) {
		t.Helper()
		if a.String() != want || a.IsValid() != valid {
			t.Errorf("%q valid %v, want %q %v", a, a.IsValid(), want, valid)
		}
	}
	f(loop.AddrFromPort(netip.MustParseAddrPort("127.0.0.1:80")), "127.0.0.1:80", true)
	f(loop.AddrFromPort(netip.MustParseAddrPort("[::1]:80")), "[::1]:80", true)
	f(loop.AddrFromPort(netip.MustParseAddrPort("[::ffff:10.0.0.1]:80")), "10.0.0.1:80", true)
	f(loop.AddrFromPath("/run/x.sock"), "unix:/run/x.sock", true)
	f(loop.Addr{}, "invalid AddrPort", false)
	byPath := map[loop.Addr]bool{loop.AddrFromPath("/a"): true}
	if !byPath[loop.AddrFromPath("/a")] || byPath[loop.AddrFromPath("/b")] {
		t.Error("addresses do not compare")
	}
}

func TestPanic(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		var told atomic.Pointer[string]
		g := start(t, loop.Options{Loops: 1, Portable: portable, Panic: func(v any, stack []byte) {
			s := v.(string) + "\n" + string(stack)
			told.Store(&s)
		}})
		ln := serve(t, g, func(c *loop.Conn) {
			buf := make([]byte, 16)
			n, _ := c.Read(buf)
			if string(buf[:n]) == "boom" {
				explode()
			}
			c.Write(buf[:n])
		})
		bad := dial(t, ln)
		io.WriteString(bad, "boom")
		ended(t, bad)
		if s := told.Load(); s == nil || !strings.HasPrefix(*s, "kaputt\n") || !strings.Contains(*s, "explode") {
			t.Errorf("told %v; want the value and the stack", s)
		}
		say(t, dial(t, ln), "alive", "alive")

		// in a posted function
		told.Store(nil)
		g.Loop(0).Post(explode)
		on(t, g.Loop(0), func() {})
		if told.Load() == nil {
			t.Error("not told of a panic in a posted function")
		}

		// what Block runs panics where Block was called
		told.Store(nil)
		on(t, g.Loop(0), func() { g.Loop(0).Task().Block(explode) })
		eventually(t, "not told of a panic in Block", func() bool { return told.Load() != nil })
	})
}

func explode() { panic("kaputt") }

// A coroutine that calls Goexit, as t.FailNow does, takes its goroutine along.
func TestGoexit(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		ln := serve(t, g, func(c *loop.Conn) {
			buf := make([]byte, 16)
			n, _ := c.Read(buf)
			if string(buf[:n]) == "exit" {
				runtime.Goexit()
			}
			c.Write(buf[:n])
		})
		bad := dial(t, ln)
		io.WriteString(bad, "exit")
		ended(t, bad)
		say(t, dial(t, ln), "alive", "alive")
	})
}
