package loop_test

import (
	"io"
	"net"
	"testing"
	"time"

	"weir/internal/loop"
)

// ping makes a dialed connection of l and its peer, an echo on the same loop.
func ping(t testing.TB, g *loop.Group, fn func(l *loop.Loop, c *loop.Conn)) {
	t.Helper()
	ln := serve(t, g, echo)
	l := g.Loop(0)
	on(t, l, func() {
		c, err := l.Dial(addr(ln), time.Time{})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fn(l, c)
	})
}

// What every request does allocates nothing.
func TestNoAllocation(t *testing.T) {
	g := start(t, loop.Options{Loops: 1})
	ping(t, g, func(l *loop.Loop, c *loop.Conn) {
		buf := make([]byte, 64)
		task := l.Task()
		f := func(what string, fn func()) {
			t.Helper()
			fn() // what is made once is made now
			if n := testing.AllocsPerRun(200, fn); n != 0 {
				t.Errorf("%s allocates %v times", what, n)
			}
		}
		f("a round trip", func() {
			c.SetDeadline(l.Now().Add(time.Minute))
			c.Write(buf)
			c.Read(buf)
		})
		o := &owner{}
		f("idling", func() {
			c.SetIdle(o)
			c.SetIdle(nil)
			c.SetHangupTarget(c, 0)
			c.SetHangupTarget(nil, 0)
			_ = c.Readable() || c.HungUp()
		})
		f("Park and Wake", func() {
			task.Wake()
			task.Park(time.Time{})
		})
		wake := func() { task.Wake() }
		f("Park, and Wake from the loop", func() {
			l.Post(wake)
			task.Park(l.Now().Add(time.Minute))
		})
		f("Park until its deadline", func() { task.Park(l.Now().Add(time.Nanosecond)) })
		f("Go", func() { l.Go(wake); task.Park(time.Time{}) })
		f("Yield", task.Yield)
		f("addresses", func() { c.RemoteAddrPort(); c.LocalAddrPort() })
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	g := start(b, loop.Options{Loops: 1})
	ping(b, g, func(l *loop.Loop, c *loop.Conn) {
		buf := make([]byte, 128)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			c.SetDeadline(l.Now().Add(time.Minute))
			c.Write(buf)
			c.Read(buf)
		}
		b.StopTimer()
	})
}

// BenchmarkRoundTripNet is the same on goroutines.
func BenchmarkRoundTripNet(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err == nil {
			io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		}
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		c.SetDeadline(time.Now().Add(time.Minute))
		c.Write(buf)
		c.Read(buf)
	}
}

func BenchmarkYield(b *testing.B) {
	g := start(b, loop.Options{Loops: 1})
	l := g.Loop(0)
	on(b, l, func() {
		task := l.Task()
		b.ResetTimer()
		for range b.N {
			task.Yield()
		}
	})
}

// BenchmarkWakeOtherLoop sends a wake to another loop and waits for its answer.
func BenchmarkWakeOtherLoop(b *testing.B) {
	g := start(b, loop.Options{Loops: 2})
	var here, there *loop.Task
	ready := make(chan struct{})
	g.Loop(1).Go(func() {
		there = g.Loop(1).Task()
		close(ready)
		for there.Park(time.Time{}) {
			here.Wake()
		}
	})
	<-ready
	on(b, g.Loop(0), func() {
		here = g.Loop(0).Task()
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			there.Wake()
			here.Park(time.Time{})
		}
	})
}

func BenchmarkAcceptUseClose(b *testing.B) {
	g := start(b, loop.Options{Loops: 1})
	ln := serve(b, g, echo)
	l := g.Loop(0)
	on(b, l, func() {
		buf := make([]byte, 16)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			c, err := l.Dial(addr(ln), time.Time{})
			if err != nil {
				b.Error(err)
				return
			}
			c.Write(buf)
			c.Read(buf)
			c.Abort() // no port is left waiting
		}
	})
}
