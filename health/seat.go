package health

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"weir/internal/loop"
)

// maxSpareAge is how long a connection may be used for probes. What only shows
// when one is made is found out by then: a listener that no longer accepts, a
// process that only finishes its old connections while a new one serves.
const maxSpareAge = 2 * time.Minute

// seat is where a target is probed that needs no goroutine: on a loop, to which
// all of it belongs. It is also where a connection waits for the next probe.
type seat struct {
	pace    *Pace      // nil: the probes need goroutines
	conn    *loop.Conn // in use, or being made
	spare   *loop.Conn // kept: conn was clean; nil: none
	opened  time.Time  // when conn or spare was made
	every   time.Duration
	stopped bool

	// What is asked: http, or tcp, or always the same answer.
	http  bool
	wrong error
	q     inquiry
	tcp   TCP
	to    loop.Addr
}

// take makes s the place for the probes of t, if they need no goroutine.
func (s *seat) take(t Target, p *Pace) {
	if p.Loop == nil {
		return
	}
	addr := t.Addr
	switch c := t.Check.(type) {
	case TCP:
		addr, s.tcp = withPort(addr, c.Port), c
	case HTTP:
		addr, s.http = withPort(addr, c.Port), true
		s.wrong = s.q.prepare(c, addr)
	default:
		return
	}
	s.to, s.every = loopAddr(addr), t.Interval
	if s.to.IsValid() {
		s.pace = p
	}
}

// loopAddr is addr for a loop, which knows no names; not valid if it is one.
func loopAddr(addr string) loop.Addr {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return loop.AddrFromPath(path)
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return loop.Addr{}
	}
	return loop.AddrFromPort(ap)
}

// open is the opening of s.
func (s *seat) open(ctx context.Context) (net.Conn, error) {
	if s.stopped {
		return nil, net.ErrClosed
	}
	by, _ := ctx.Deadline()
	c, err := s.pace.Loop.DialInto(&s.conn, s.to, by)
	if err != nil {
		s.conn = nil
		return nil, notOpened(err)
	}
	s.conn, s.opened = c, s.pace.Loop.Now()
	if s.stopped { // the portable loop does not say so
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// visit makes one probe.
func (s *seat) visit(ctx context.Context) error {
	defer func() {
		if s.conn != nil { // closed already, but after a panic
			_ = s.conn.Close()
			s.conn = nil
		}
	}()
	switch {
	case s.wrong != nil:
		return s.wrong
	case s.http:
		return s.inquire(ctx, &s.q)
	}
	return s.tcp.probe(ctx, s.open)
}

// inquire asks q over the connection that was kept, if there is one that still
// works, and else over a new one. One that the backend closed before a byte of an
// answer is no failure: it may do so with whom it has not heard for a while.
func (s *seat) inquire(ctx context.Context, q *inquiry) error {
	in := s.pace.buffer()
	defer s.pace.buffers.Put(in)
	if s.reuse() {
		v := q.ask(ctx, s.conn, in)
		s.leave(v.clean)
		if !v.stale {
			return v.err
		}
	}
	conn, err := opening(s.open).hello(ctx, q.Port, q.Hello)
	if err != nil {
		return err
	}
	v := q.ask(ctx, conn, in)
	s.leave(v.clean && !q.Fresh)
	return v.err
}

// reuse makes the spare connection the one in use. It is false if there is none.
func (s *seat) reuse() bool {
	if s.spare == nil {
		return false
	}
	s.conn, s.spare = s.spare, nil
	s.pace.spares.Add(-1)
	s.conn.SetIdle(nil)
	return true
}

// leave ends the use of s.conn: it is kept for the next probe, if it may, or closed.
func (s *seat) leave(keep bool) {
	c := s.conn
	s.conn = nil
	if !keep || s.stopped || s.pace.Loop.Now().Add(s.every).Sub(s.opened) > maxSpareAge || !s.pace.spend() {
		_ = c.Close()
		return
	}
	s.spare = c
	c.SetIdle(s)
}

// Spoiled implements loop.IdleOwner: the backend has closed the spare connection,
// or said something that nobody has asked for.
func (s *seat) Spoiled(c *loop.Conn) {
	s.spare = nil
	s.pace.spares.Add(-1)
	_ = c.Close()
}

// stop ends the probe that is under way, if there is one, and closes what is open.
func (s *seat) stop() {
	s.stopped = true
	if s.conn != nil {
		_ = s.conn.Close()
	}
	if s.reuse() {
		s.leave(false)
	}
}

func (p *Pace) buffer() *incoming {
	if in, ok := p.buffers.Get().(*incoming); ok {
		return in
	}
	return new(incoming)
}

// spend counts one more connection that is kept. It is false if there are enough.
func (p *Pace) spend() bool {
	if p.spares.Add(1) <= p.Spares {
		return true
	}
	p.spares.Add(-1)
	return false
}
