package loop_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/loop"
)

// census counts connections, and turns away those it has no room for.
type census struct{ room, opened, closed atomic.Int64 }

func (w *census) Opened(c *loop.Conn) {
	w.opened.Add(1)
	if w.room.Add(-1) < 0 {
		c.Close()
	}
}

func (w *census) Closed(*loop.Conn) { w.closed.Add(1) }

func TestWatch(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 2, Portable: portable})
		ln, err := g.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w := &census{}
		w.room.Store(2)
		ln.Watch(w)
		ln.Serve(func(c *loop.Conn) {
			nc, err := c.Detach()
			if err != nil {
				t.Error(err)
				return
			}
			nc.Close()
		}, 0)
		silent, detached := dial(t, ln), dial(t, ln)
		io.WriteString(detached, "x")
		eventually(t, "the detached one is still there", func() bool { return w.opened.Load() == 2 && w.closed.Load() == 1 })
		ended(t, dial(t, ln))
		silent.Close()
		eventually(t, "not told of the end", func() bool { return w.opened.Load() == 3 && w.closed.Load() == 3 })
	})
}

func TestWaitRead(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			var buf [4]byte
			if !c.Silent() {
				t.Error("nothing was sent, but it is not silent")
			}
			timesOut(t, "wait", func(d time.Time) error {
				c.SetReadDeadline(d)
				return c.WaitRead()
			})
			if err := c.WaitRead(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("past the deadline: %v", err)
			}
			c.SetReadDeadline(time.Time{})
			c.Loop().Go(func() { io.WriteString(client, "data") })
			if err := c.WaitRead(); err != nil || c.Silent() {
				t.Errorf("with bytes: %v, silent %v", err, c.Silent())
			}
			if n, err := c.Read(buf[:]); err != nil || string(buf[:n]) != "data" {
				t.Errorf("read %q, %v", buf[:n], err)
			}
			c.Loop().Go(func() { client.Close() })
			if err := c.WaitRead(); err != nil || c.Silent() {
				t.Errorf("with an end: %v, silent %v", err, c.Silent())
			}
			if _, err := c.Read(buf[:]); !errors.Is(err, io.EOF) {
				t.Errorf("read %v, want the end", err)
			}
			c.Close()
			if err := c.WaitRead(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("closed: %v", err)
			}
		})
	})
}
