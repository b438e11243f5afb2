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

// parking echoes messages and parks when none comes for a moment. It counts
// how often it was started and how often it parked.
type parking struct {
	limit          time.Duration
	starts, parked atomic.Int64
	err            atomic.Value // the last that was not ErrParked
}

func (p *parking) handle(c *loop.Conn) {
	p.starts.Add(1)
	var buf [512]byte
	for {
		n, err := c.ReadIdle(buf[:], time.Millisecond, p.limit)
		if errors.Is(err, loop.ErrParked) {
			p.parked.Add(1)
			return
		}
		if err != nil {
			p.err.Store(err)
			return
		}
		c.Write(buf[:n])
	}
}

func TestParking(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		p := &parking{}
		ln := serve(t, g, p.handle)
		c := dial(t, ln)
		for i := range int64(5) {
			say(t, c, "hello", "hello")
			eventually(t, "not parked", func() bool { return p.parked.Load() == i+1 })
		}
		if n := p.starts.Load(); n != 5 {
			t.Errorf("the handler was started %d times, want 5", n)
		}
		// a parked connection that ends starts nothing
		c.Close()
		eventually(t, "the connection is still there", func() bool { return ln.Conns() == 0 })
		if n := p.starts.Load(); n != 5 {
			t.Errorf("the end of a parked connection has started the handler")
		}
	})
}

// Nothing is lost if the byte comes while the handler, told to park, returns.
func TestParkingRace(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		var parked atomic.Int64
		ln := serve(t, g, func(c *loop.Conn) {
			var buf [16]byte
			for {
				n, err := c.ReadIdle(buf[:], 0, 0)
				if errors.Is(err, loop.ErrParked) {
					parked.Add(1)
					// the client's next message arrives now
					c.Loop().Task().Sleep(20 * time.Millisecond)
					return
				}
				if err != nil {
					return
				}
				c.Write(buf[:n])
			}
		})
		c := dial(t, ln)
		for i := range int64(5) {
			say(t, c, "hello", "hello")
			eventually(t, "not parked", func() bool { return parked.Load() == i+1 })
		}
	})
}

func TestSilence(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		p := &parking{limit: shortly}
		ln, err := g.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Serve(p.handle, shortly)

		// who never says anything is closed
		c, begin := dial(t, ln), time.Now()
		ended(t, c)
		if d := time.Since(begin); d < shortly/2 { // it was accepted a little before we looked
			t.Errorf("closed after %v, want %v", d, shortly)
		}
		if p.starts.Load() != 0 {
			t.Error("the handler was started without a byte")
		}

		// and who says nothing more, once the limit is over
		c = dial(t, ln)
		say(t, c, "hello", "hello")
		begin = time.Now()
		ended(t, c)
		if d := time.Since(begin); d < shortly/2 {
			t.Errorf("closed after %v, want %v", d, shortly)
		}

		ln.SetFirst(0)
		c = dial(t, ln)
		ln.SetHandler(echo)
		say(t, c, "new", "new")
	})
}

func TestCloseIdle(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 2, Portable: portable})
		p := &parking{}
		var idle atomic.Int64
		ln := serve(t, g, func(c *loop.Conn) {
			var buf [16]byte
			n, _ := c.Read(buf[:])
			switch string(buf[:n]) {
			case "park":
				c.Write(buf[:n])
				p.handle(c)
			case "idle": // long in the waiting part of ReadIdle
				c.Write(buf[:n])
				idle.Add(1)
				_, err := c.ReadIdle(buf[:], time.Hour, 0)
				p.err.Store(err)
			case "busy":
				c.Write(buf[:n])
				echo(c)
			case "more": // not idle yet: asks for more later
				c.Write(buf[:n])
				c.Read(buf[:])
				_, err := c.ReadIdle(buf[:], 0, 0)
				p.err.Store(err)
			}
		})
		silent, parked, waiting, busy, more := dial(t, ln), dial(t, ln), dial(t, ln), dial(t, ln), dial(t, ln)
		say(t, parked, "park", "park")
		say(t, waiting, "idle", "idle")
		say(t, busy, "busy", "busy")
		say(t, more, "more", "more")
		eventually(t, "not parked", func() bool { return p.parked.Load() == 1 && idle.Load() == 1 && ln.Conns() == 5 })

		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			t.Error("a closed listener accepts")
		}
		ln.CloseIdle()
		for _, c := range []net.Conn{silent, parked, waiting} {
			ended(t, c)
		}
		eventually(t, "ReadIdle has not returned", func() bool { return p.err.Load() != nil })
		if err := p.err.Load().(error); !errors.Is(err, io.EOF) {
			t.Errorf("ReadIdle of a closed listener: %v, want EOF", err)
		}

		// those that work go on, and end at the next boundary
		say(t, busy, "on", "on")
		io.WriteString(more, "x")
		ended(t, more)
		eventually(t, "one too many is open", func() bool { return ln.Conns() == 1 })
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	})
}

// owner is a pool of one.
type owner struct{ spoiled []*loop.Conn }

func (o *owner) Spoiled(c *loop.Conn) { o.spoiled = append(o.spoiled, c); c.Close() }

func TestIdleOwner(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		f := func(what string, spoil func(net.Conn)) {
			t.Helper()
			g := start(t, loop.Options{Loops: 1, Portable: portable})
			l := g.Loop(0)
			peers := make(chan net.Conn, 1)
			nl, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer nl.Close()
			go func() {
				c, _ := nl.Accept()
				peers <- c
			}()
			on(t, l, func() {
				c, err := l.Dial(loop.AddrFromPort(nl.Addr().(*net.TCPAddr).AddrPort()), time.Time{})
				if err != nil {
					t.Error(err)
					return
				}
				var peer net.Conn
				l.Task().Block(func() { peer = <-peers })
				defer peer.Close()

				// used, put away and taken again, with a read that fills its buffer: all is well
				o := &owner{}
				for range 3 {
					io.WriteString(peer, "12345")
					c.Read(make([]byte, 5))
					if c.Readable() {
						t.Errorf("%s: readable with nothing to read", what)
					}
					c.SetIdle(o)
					l.Task().Sleep(10 * time.Millisecond)
					c.SetIdle(nil)
				}
				if len(o.spoiled) != 0 {
					t.Errorf("%s: spoiled by nothing", what)
				}
				c.SetIdle(o)
				spoil(peer)
				for len(o.spoiled) == 0 {
					l.Task().Sleep(time.Millisecond)
				}
				l.Task().Sleep(10 * time.Millisecond)
				if len(o.spoiled) != 1 || o.spoiled[0] != c {
					t.Errorf("%s: spoiled %d times", what, len(o.spoiled))
				}
			})
		}
		f("closed", func(c net.Conn) { c.Close() })
		f("half-closed", func(c net.Conn) { c.(*net.TCPConn).CloseWrite() })
		f("reset", func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() })
		f("bytes", func(c net.Conn) { io.WriteString(c, "surprise") })
	})
}

// A connection that is spoiled already when it is put away is told of too.
func TestIdleTooLate(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			client.Close()
			for !c.Readable() {
				c.Loop().Task().Sleep(time.Millisecond)
			}
			o := &owner{}
			c.SetIdle(o)
			if len(o.spoiled) != 0 {
				t.Error("told inside SetIdle")
			}
			c.Loop().Task().Sleep(time.Millisecond)
			if len(o.spoiled) != 1 {
				t.Errorf("told %d times, want 1", len(o.spoiled))
			}
		})
	})
}

// A dialed connection has nobody to start again: ReadIdle only waits.
func TestReadIdleOfDialed(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		ln := serve(t, g, echo)
		l := g.Loop(0)
		on(t, l, func() {
			c, err := l.Dial(addr(ln), time.Time{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := c.ReadIdle(make([]byte, 1), 0, shortly); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("ReadIdle: %v, want a timeout", err)
			}
		})
	})
}
