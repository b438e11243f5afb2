package loop

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The socket calls of a connection. They never block, so the scheduler need not
// know of them: raw calls save it the work, a twentieth of a small request.

func (c *Conn) recv(p []byte) (int, error) {
	if c.pipe != nil {
		return c.pipe.recv(p)
	}
	n, errno := recvfrom(c.fd, p, 0)
	switch {
	case errno == unix.EAGAIN:
		return 0, errAgain
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func recvfrom(fd int32, p []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// peek says whether a read would find something, and whether that is an end or
// an error.
func (c *Conn) peek() (readable, ended bool) {
	if c.pipe != nil {
		return c.pipe.peek()
	}
	if c.released { // the descriptor may be somebody else's by now
		return true, true
	}
	var b [1]byte
	n, errno := recvfrom(c.fd, b[:], unix.MSG_PEEK)
	return errno != unix.EAGAIN, errno != unix.EAGAIN && (errno != 0 || n == 0)
}

func (c *Conn) write(co *coro, p []byte) (n int, err error) {
	if c.pipe != nil {
		return c.pipe.write(c, co, p)
	}
	for n < len(p) {
		if co.moved >= fairShare {
			co.reschedule()
			if err := c.fault(); err != nil {
				return n, err
			}
		}
		if !c.writable {
			if err := c.awaitWrite(co); err != nil {
				return n, err
			}
		}
		k, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&p[n])), uintptr(len(p)-n), unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			n += int(k)
			co.moved += int(k)
		case unix.EAGAIN:
			c.writable = false
		case unix.EINTR:
		default:
			return n, c.fail("write", errno)
		}
	}
	return n, nil
}

func (c *Conn) closeSocket() {
	if c.pipe != nil {
		c.pipe.close(c.linger0.Load())
		return
	}
	if c.linger0.Load() {
		unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	unix.Close(int(c.fd))
}

func (c *Conn) shutdownWrite() error {
	if c.pipe != nil {
		return c.pipe.closeWrite()
	}
	return unix.Shutdown(int(c.fd), unix.SHUT_WR)
}

func (c *Conn) sockname() netip.AddrPort {
	if c.pipe != nil {
		return c.local
	}
	var from syscall.RawSockaddrAny
	size := uint32(unsafe.Sizeof(from))
	_, _, errno := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(c.fd), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return netip.AddrPort{}
	}
	return sockaddr(&from)
}

// detach makes a net.Conn of c's socket and takes c out of epoll.
func (c *Conn) detach() (net.Conn, error) {
	if c.pipe != nil {
		return c.detachPortable()
	}
	// FileConn takes a copy of a file, which in turn closes its descriptor when it
	// is collected: it gets a copy too, so that c survives an error.
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	// As the socket lives on, closing c's descriptor does not take it out of epoll.
	ep := c.l.poll.(*epoll)
	unix.EpollCtl(ep.fd, unix.EPOLL_CTL_DEL, int(c.fd), nil)
	unix.Close(int(c.fd))
	return nc, nil
}

// sockaddr is the IP address in a; zero if it is something else.
func sockaddr(a *syscall.RawSockaddrAny) netip.AddrPort {
	switch a.Addr.Family {
	case unix.AF_INET:
		in := (*syscall.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port(&in.Port))
	case unix.AF_INET6:
		in := (*syscall.RawSockaddrInet6)(unsafe.Pointer(a))
		ip := netip.AddrFrom16(in.Addr).Unmap()
		if in.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.Itoa(int(in.Scope_id)))
		}
		return netip.AddrPortFrom(ip, port(&in.Port))
	}
	return netip.AddrPort{}
}

// port reads what the kernel wrote in network order.
func port(p *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(p))
	return uint16(b[0])<<8 | uint16(b[1])
}

// outQueue is how many bytes the kernel holds that the peer has not acknowledged;
// -1 if it does not say.
func (c *Conn) outQueue() int32 {
	if c.pipe != nil || c.released {
		return -1
	}
	n, err := unix.IoctlGetInt(int(c.fd), unix.SIOCOUTQ)
	if err != nil {
		return -1
	}
	return int32(n)
}
