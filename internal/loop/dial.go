package loop

import (
	"net"
	"os"
	"time"
)

// Dial connects to a. It must be called from a coroutine of the loop, to which
// the connection then belongs, and gives up at deadline (zero: never), to within
// 10 ms. Errors are net.OpErrors around os.ErrDeadlineExceeded, net.ErrClosed
// (the group closes) or what the kernel said: errors.Is finds syscall.ECONNREFUSED.
func (l *Loop) Dial(a Addr, deadline time.Time) (*Conn, error) {
	return l.DialInto(nil, a, deadline)
}

// DialInto is Dial that can be given up: it sets *opening to the connection that
// is being made, and to close that makes it return net.ErrClosed. The portable
// implementation sets *opening at the end, and gives up at the deadline only.
func (l *Loop) DialInto(opening **Conn, a Addr, deadline time.Time) (*Conn, error) {
	l.current()
	at := l.g.since(deadline)
	switch {
	case !a.IsValid():
		return nil, dialError(a, &net.AddrError{Err: "no address", Addr: a.String()})
	case l.closing:
		return nil, dialError(a, net.ErrClosed)
	case at != 0 && at <= l.now:
		return nil, dialError(a, os.ErrDeadlineExceeded)
	}
	return l.dial(opening, a, deadline)
}

func dialError(a Addr, err error) error {
	network := "tcp"
	if a.path != "" {
		network = "unix"
	}
	return &net.OpError{Op: "dial", Net: network, Addr: a.net(), Err: os.NewSyscallError("connect", err)}
}
