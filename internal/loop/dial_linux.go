package loop

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// backlogPause is how long a dial waits that found the backlog of a unix socket full.
const backlogPause = 5 * time.Millisecond

func (l *Loop) dial(opening **Conn, a Addr, deadline time.Time) (*Conn, error) {
	if l.g.o.Portable {
		return l.dialPortable(opening, a, deadline)
	}
	family, to, err := a.sockaddr()
	if err != nil {
		return nil, dialError(a, err)
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, dialError(a, err)
	}
	if family != unix.AF_UNIX {
		_ = tune(fd) // without it the connection works, only less well
	}
	c := &Conn{l: l, fd: int32(fd), slot: -1, remote: a.port, unix: a.path != ""}
	if opening != nil {
		*opening = c
	}
	if err := c.connect(to, deadline); err != nil {
		c.closed.Store(true)
		c.release()
		return nil, dialError(a, err)
	}
	return c, nil
}

// connect connects c's socket and waits for it.
func (c *Conn) connect(to unix.Sockaddr, deadline time.Time) error {
	by := c.l.g.since(deadline)
	err := unix.Connect(int(c.fd), to)
	for err == unix.EAGAIN && c.unix {
		// The backlog is full. TCP would try again by itself.
		c.l.Task().Sleep(backlogPause)
		if c.l.closing || c.closed.Load() {
			return net.ErrClosed
		}
		if c.past(by) {
			return os.ErrDeadlineExceeded
		}
		err = unix.Connect(int(c.fd), to)
	}
	pending := err == unix.EINPROGRESS || err == unix.EINTR
	if err != nil && !pending {
		return err
	}
	// Not before connect: epoll reports a hang-up of a socket without a peer.
	if err := c.l.register(c); err != nil {
		return err
	}
	if c.writable = !pending; pending {
		c.writeBy.Store(by)
		if err := c.awaitWrite(c.l.current()); err != nil {
			return err
		}
		c.writeBy.Store(0)
		errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return err
		}
		if errno != 0 {
			return syscall.Errno(errno)
		}
	}
	// TCP lets a socket connect to itself if its port is chosen to be the one it
	// dials. Nobody listens there.
	if !c.unix && c.LocalAddrPort() == c.remote {
		return unix.ECONNREFUSED
	}
	return nil
}

// sockaddr is a as the kernel wants it.
func (a Addr) sockaddr() (family int, to unix.Sockaddr, err error) {
	ip := a.port.Addr()
	switch {
	case a.path != "":
		return unix.AF_UNIX, &unix.SockaddrUnix{Name: a.path}, nil
	case ip.Is4():
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.port.Port()), Addr: ip.As4()}, nil
	}
	zone, err := zoneID(ip.Zone())
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.port.Port()), Addr: ip.As16(), ZoneId: zone}, err
}

// zoneID is the number of the interface an IPv6 zone names.
func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	dev, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return uint32(dev.Index), nil
}
