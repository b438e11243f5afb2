package loop_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/loop"
)

func TestReset(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			client.(*net.TCPConn).SetLinger(0)
			client.Close()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: %v, want a reset", err)
			}
			var err error
			for err == nil {
				_, err = c.Write(make([]byte, 1<<20))
			}
			if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("write: %v, want a broken pipe", err)
			}
			if !c.HungUp() {
				t.Error("has not hung up")
			}
		})
	})
}

// What came before the end is read before the end, in pieces however small.
func TestDataThenEnd(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			io.WriteString(client, "abcdef")
			client.(*net.TCPConn).CloseWrite()
			for !c.HungUp() {
				c.Loop().Task().Sleep(time.Millisecond)
			}
			var buf [4]byte
			for _, want := range []string{"abcd", "ef", ""} {
				n, err := c.Read(buf[:])
				if string(buf[:n]) != want || (want == "") != errors.Is(err, io.EOF) {
					t.Errorf("read %q, %v; want %q", buf[:n], err, want)
				}
			}
			if n, err := c.Read(nil); n != 0 || err != nil {
				t.Errorf("reading nothing: %d, %v", n, err)
			}

			// the other direction is still open, until we close it
			c.Write([]byte("answer"))
			if err := c.CloseWrite(); err != nil {
				t.Errorf("CloseWrite: %v", err)
			}
			c.Loop().Task().Block(func() {
				hear(t, client, "answer")
				ended(t, client)
			})
		})
	})
}

func TestAbort(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			c.Abort()
			c.Loop().Task().Block(func() {
				if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the peer sees %v, want a reset", err)
				}
			})
		})
	})
}

// Close, by whomever, ends the waiting of reader and writer.
func TestCloseWhileWaiting(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		f := func(what string, end func(c *loop.Conn)) {
			t.Helper()
			g := start(t, loop.Options{Loops: 1, Portable: portable})
			pair(t, g, func(c *loop.Conn, client net.Conn) {
				l := c.Loop()
				me, left := l.Task(), 2
				done := func(op string, err error) {
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("%s: %s: %v, want %v", what, op, err, net.ErrClosed)
					}
					left--
					me.Wake()
				}
				l.Go(func() { _, err := c.Read(make([]byte, 1)); done("read", err) })
				l.Go(func() { _, err := c.Write(make([]byte, 64<<20)); done("write", err) })
				me.Sleep(20 * time.Millisecond) // both are waiting
				end(c)
				for left > 0 {
					me.Park(time.Time{})
				}
				if err := c.Close(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: second Close: %v", what, err)
				}
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: read after Close: %v", what, err)
				}
			})
		}
		f("a coroutine", func(c *loop.Conn) { c.Close() })
		f("a goroutine", func(c *loop.Conn) { go c.Close() })
	})
}

func TestHangupTarget(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		silent := serve(t, g, func(c *loop.Conn) { io.Copy(io.Discard, c) })
		work := func(before bool) {
			pair(t, g, func(c *loop.Conn, client net.Conn) {
				up, err := c.Loop().Dial(addr(silent), time.Time{})
				if err != nil {
					t.Error(err)
					return
				}
				defer up.Close()
				up.Write([]byte("request"))
				if before {
					client.Close()
					for !c.HungUp() {
						c.Loop().Task().Sleep(time.Millisecond)
					}
					c.SetHangupTarget(up, 0)
				} else {
					c.SetHangupTarget(up, 0)
					c.Loop().Go(func() { client.Close() })
				}
				if _, err := up.Read(make([]byte, 1)); !errors.Is(err, loop.ErrCanceled) {
					t.Errorf("pending read: %v", err)
				}
				if _, err := up.Write([]byte("x")); !errors.Is(err, loop.ErrCanceled) {
					t.Errorf("later write: %v", err)
				}
			})
		}
		work(false)
		work(true)

		// cleared: nothing is cancelled
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			up, err := c.Loop().Dial(addr(silent), time.Time{})
			if err != nil {
				t.Error(err)
				return
			}
			defer up.Close()
			c.SetHangupTarget(up, 0)
			c.SetHangupTarget(nil, 0)
			client.Close()
			for !c.HungUp() {
				c.Loop().Task().Sleep(time.Millisecond)
			}
			if _, err := up.Write([]byte("x")); err != nil {
				t.Errorf("write: %v", err)
			}
		})
	})
}

// One coroutine reads while another writes.
func TestFullDuplex(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		const size = 4 << 20
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			var peer sync.WaitGroup
			peer.Go(func() { client.Write(make([]byte, size)) })
			peer.Go(func() {
				if n, err := io.CopyN(io.Discard, client, size); err != nil {
					t.Errorf("the client got %d bytes, %v", n, err)
				}
			})
			l := c.Loop()
			l.Go(func() { c.Write(make([]byte, size)) })
			if n, err := io.CopyN(io.Discard, c, size); err != nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
			l.Task().Block(peer.Wait)
		})
	})
}

// Connections come and go as fast as they can, so that descriptors and slots are
// used again at once; nobody ever gets another's bytes.
func TestChurn(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 2, Portable: portable})
		ln := serve(t, g, func(c *loop.Conn) {
			var buf [8]byte
			if n, err := io.ReadFull(c, buf[:]); err == nil {
				c.Write(buf[:n])
			}
		})
		var all sync.WaitGroup
		for k := range 32 {
			all.Add(1)
			l := g.Loop(k % 2)
			l.Go(func() {
				defer all.Done()
				for i := range 50 {
					c, err := l.Dial(addr(ln), time.Time{})
					if err != nil {
						t.Error(err)
						return
					}
					mine := [8]byte{byte(k), byte(i), 3: byte(k), 7: 1}
					var got [8]byte
					c.Write(mine[:])
					if _, err := io.ReadFull(c, got[:]); err != nil || got != mine {
						t.Errorf("got %v, %v; want %v", got, err, mine)
					}
					if k%4 == 0 {
						c.Abort()
					} else {
						c.Close()
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		wait(t, done)
	})
}

// A coroutine that waits for something else is woken when a peer hangs up, and
// knows that it was this.
func TestHangupWakesTask(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			task := c.Loop().Task()
			c.SetHangupTask(task, 0)
			c.Loop().Go(task.Wake)
			if !task.Park(time.Now().Add(patience)) || task.Canceled() {
				t.Error("a plain wake-up counts as a hang-up")
			}
			c.Loop().Go(func() { client.Close() })
			if !task.Park(time.Now().Add(patience)) || !task.Canceled() {
				t.Error("the hang-up has not woken the task")
			}
			if task.Canceled() {
				t.Error("told twice")
			}
			c.SetHangupTask(task, 0) // it has hung up already
			if !task.Park(time.Now().Add(patience)) || !task.Canceled() {
				t.Error("nor the one of before")
			}
		})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			task := c.Loop().Task()
			c.SetHangupTask(task, 0)
			c.SetHangupTarget(nil, 0)
			client.Close()
			for !c.HungUp() {
				c.Loop().Task().Sleep(time.Millisecond)
			}
			if task.Canceled() {
				t.Error("untied, and cancelled")
			}
		})
	})
}
