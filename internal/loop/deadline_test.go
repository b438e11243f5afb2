package loop_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"weir/internal/loop"
)

// shortly is a deadline that has to be waited for.
const shortly = 40 * time.Millisecond

// timesOut runs wait, which must return a timeout, and not before shortly.
func timesOut(t *testing.T, what string, wait func(deadline time.Time) error) {
	t.Helper()
	begin := time.Now()
	err := wait(begin.Add(shortly))
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%s: %v, want a timeout", what, err)
	}
	if d := time.Since(begin); d < shortly {
		t.Errorf("%s: gave up after %v, want %v", what, d, shortly)
	}
}

// pair is a connection of l, accepted by ln, and its client.
func pair(t *testing.T, g *loop.Group, fn func(c *loop.Conn, client net.Conn)) {
	t.Helper()
	done := make(chan struct{})
	clients := make(chan net.Conn, 1)
	ln := serve(t, g, func(c *loop.Conn) {
		defer close(done)
		var client net.Conn
		c.Loop().Task().Block(func() { client = <-clients })
		c.Read(make([]byte, 1)) // what started us
		fn(c, client)
	})
	client := dial(t, ln)
	io.WriteString(client, "!")
	clients <- client
	wait(t, done)
}

func TestDeadlines(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			buf := make([]byte, 16)
			timesOut(t, "read", func(d time.Time) error {
				c.SetReadDeadline(d)
				_, err := c.Read(buf)
				return err
			})

			// a deadline that has passed forbids reading what is there, and moving it allows it again
			c.Loop().Task().Block(func() { io.WriteString(client, "late") })
			if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read past the deadline: %v", err)
			}
			c.SetReadDeadline(time.Time{})
			if n, err := c.Read(buf); err != nil || string(buf[:n]) != "late" {
				t.Errorf("read %q, %v after the deadline was moved", buf[:n], err)
			}

			timesOut(t, "read idle, limit before quiet", func(time.Time) error {
				_, err := c.ReadIdle(buf, time.Hour, shortly)
				return err
			})

			// a peer that never reads
			timesOut(t, "write", func(d time.Time) error {
				c.SetWriteDeadline(d)
				n, err := c.Write(make([]byte, 64<<20))
				if n == 0 || n == 64<<20 {
					t.Errorf("wrote %d bytes to a peer that does not read", n)
				}
				return err
			})
			c.SetDeadline(time.Time{})
		})
	})
}

// While a coroutine waits, others may move its deadline: nearer and farther.
func TestDeadlineMovedWhileWaiting(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			buf := make([]byte, 16)
			c.SetReadDeadline(time.Now().Add(time.Hour))
			go c.SetReadDeadline(time.Now())
			if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("nearer, from a goroutine: %v", err)
			}
			c.SetDeadline(time.Now().Add(time.Hour))
			c.Loop().Go(func() { c.SetDeadline(time.Now().Add(shortly)) })
			if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("nearer, from a coroutine: %v", err)
			}
			c.SetDeadline(time.Now().Add(shortly))
			c.Loop().Go(func() {
				c.SetDeadline(time.Time{})
				c.Loop().Task().Sleep(2 * shortly)
				c.Loop().Task().Block(func() { io.WriteString(client, "x") })
			})
			if n, err := c.Read(buf); n != 1 || err != nil {
				t.Errorf("farther: read %d, %v", n, err)
			}
		})
	})
}

func TestDialFails(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		l := g.Loop(0)

		ln := serve(t, g, echo)
		nobody := addr(ln)
		ln.Close()
		full := fullBacklog(t)
		on(t, l, func() {
			if _, err := l.Dial(nobody, time.Time{}); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("nobody listens: %v", err)
			}
			if _, err := l.Dial(loop.AddrFromPath(t.TempDir()+"/none"), time.Time{}); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("no such socket: %v", err)
			}
			if _, err := l.Dial(nobody, time.Now().Add(-time.Minute)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("too late: %v", err)
			}
			if _, err := l.Dial(loop.Addr{}, time.Time{}); err == nil {
				t.Error("dialed nothing")
			}
			timesOut(t, "dial", func(d time.Time) error {
				c, err := l.Dial(full, d)
				if err == nil {
					c.Close()
				}
				return err
			})
		})
	})
}

// Who dials can be told to give up.
func TestDialGivenUp(t *testing.T) {
	g := start(t, loop.Options{Loops: 1})
	l := g.Loop(0)
	full := fullBacklog(t)
	for _, soon := range []func(fn func()){l.Go, l.Post} {
		on(t, l, func() {
			var opening *loop.Conn
			soon(func() { opening.Close() }) // when this coroutine waits
			if c, err := l.DialInto(&opening, full, time.Time{}); c != nil || !errors.Is(err, net.ErrClosed) {
				t.Errorf("%v, %v; want that it was closed", c, err)
			}
		})
	}
}

// fullBacklog is an address whose host answers no more: its queue is full.
func fullBacklog(t *testing.T) loop.Addr {
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
		c, err := net.DialTimeout("tcp", ln.Addr().String(), 200*time.Millisecond)
		if err != nil {
			return loop.AddrFromPort(ln.Addr().(*net.TCPAddr).AddrPort())
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this system has no full backlog")
	return loop.Addr{}
}
