package loop

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Neither side of Weir waits to fill a packet, and dead peers are found. Accepted sockets have it from the
// listener, which is Linux's doing and not ours.
func TestSocketOptions(t *testing.T) {
	g, err := New(Options{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ln, err := g.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, c *Conn) {
		if on, err := unix.GetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); on == 0 || err != nil {
			t.Errorf("%s: TCP_NODELAY is %d, %v", what, on, err)
		}
		if idle, err := unix.GetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); idle != probeAfter || err != nil {
			t.Errorf("%s: TCP_KEEPIDLE is %d, %v; want %d", what, idle, err, probeAfter)
		}
	}
	ln.Serve(func(c *Conn) { check("accepted", c) }, 0)
	done := make(chan struct{})
	l := g.Loop(0)
	l.Go(func() {
		defer close(done)
		c, err := l.Dial(AddrFromPort(ln.Addr().(*net.TCPAddr).AddrPort()), time.Time{})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		check("dialed", c)
		c.Write([]byte("x"))
		c.Read(make([]byte, 1)) // the end: the handler has returned
	})
	<-done
}

// An event for an earlier user of a slot is not taken for the present one's.
func TestStaleEvent(t *testing.T) {
	l := &Loop{}
	c := &Conn{l: l, gen: 7}
	l.conns = []*Conn{c}
	ep := &epoll{l: l}
	ep.dispatch(&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: 0, Pad: 6})
	if c.readable || c.hup {
		t.Error("an event of generation 6 reached generation 7")
	}
	ep.dispatch(&unix.EpollEvent{Events: unix.EPOLLIN, Fd: 0, Pad: 7})
	if !c.readable {
		t.Error("an event did not arrive")
	}
}
