package loop

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// All that will ever be asked of a socket, asked once. Edge-triggered: what
	// is known (readable, writable) is not told again.
	watched = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

	// mailEvent marks the eventfd; a listener's mark is mailEvent minus its id,
	// and what is not negative is the slot of a connection.
	mailEvent = -1

	acceptBatch = 64 // connections taken before others get their turn
)

// epoll is the poller on Linux.
type epoll struct {
	l      *Loop
	fd     int
	mail   int // eventfd
	quiet  *quiet
	events [256]unix.EpollEvent
}

func newPoller(l *Loop) (poller, error) {
	if l.g.o.Portable {
		return newBell(l), nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	mail, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	// Edge-triggered, so that each write is told once and nobody has to read it.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: mailEvent}
	ep := &epoll{l: l, fd: fd, mail: mail}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, mail, &ev); err != nil {
		ep.close()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	if l.g.o.Quiet {
		if ep.quiet, err = newQuiet(ep); err != nil {
			ep.close()
			return nil, err
		}
	}
	return ep, nil
}

func (ep *epoll) add(c *Conn) error {
	ev := unix.EpollEvent{Events: watched, Fd: c.slot, Pad: int32(c.gen)}
	return unix.EpollCtl(ep.fd, unix.EPOLL_CTL_ADD, int(c.fd), &ev)
}

func (ep *epoll) wake() {
	one := uint64(1)
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(ep.mail), uintptr(unsafe.Pointer(&one)), 8)
}

func (ep *epoll) close() {
	unix.Close(ep.mail)
	unix.Close(ep.fd)
	if ep.quiet != nil {
		ep.quiet.gate.Close()
	}
}

func (ep *epoll) wait(timeout time.Duration) {
	var n uintptr
	var errno syscall.Errno
	at, size := uintptr(unsafe.Pointer(&ep.events[0])), uintptr(len(ep.events))
	switch {
	case timeout == 0:
		n, errno = ep.look()
	case ep.quiet != nil:
		n, errno = ep.quiet.wait(timeout)
	default:
		ms := ^uintptr(0)
		if timeout > 0 {
			ms = uintptr((timeout + time.Millisecond - 1) / time.Millisecond)
		}
		// Not raw: a thread that waits in the kernel unknown to the scheduler keeps
		// its P, and stops the garbage collector of the whole process.
		n, _, errno = syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep.fd), at, size, ms, 0, 0)
	}
	ep.l.tick()
	if errno != 0 { // EINTR: the next batch comes at once
		return
	}
	for i := range ep.events[:n] {
		ep.dispatch(&ep.events[i])
	}
}

// look is a wait that does not.
func (ep *epoll) look() (n uintptr, errno syscall.Errno) {
	at, size := uintptr(unsafe.Pointer(&ep.events[0])), uintptr(len(ep.events))
	n, _, errno = syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep.fd), at, size, 0, 0, 0)
	return n, errno
}

func (ep *epoll) dispatch(ev *unix.EpollEvent) {
	switch {
	case ev.Fd == mailEvent:
	case ev.Fd < 0:
		ep.accept(mailEvent - ev.Fd)
	default:
		c := ep.l.conns[ev.Fd]
		if c == nil || c.gen != uint32(ev.Pad) {
			return
		}
		const broken = unix.EPOLLHUP | unix.EPOLLERR
		c.event(ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|broken) != 0,
			ev.Events&(unix.EPOLLOUT|broken) != 0,
			ev.Events&(unix.EPOLLRDHUP|broken) != 0, ev.Events&broken != 0)
	}
}

// socket is what a Listener listens with: a descriptor in the epolls of all
// loops, or the net.Listener of a portable group.
type socket struct {
	nl net.Listener
	fd int
}

// probeAfter is the silence in seconds after which the kernel asks whether the
// other side of a connection is still there. A tunnel to a machine that lost its
// power would stay for ever otherwise.
const probeAfter = 120

// maxUnsent is how many bytes the kernel takes for a client beyond those that are
// under way. It would take megabytes, and hold them for as long as a client that
// reads slowly likes.
const maxUnsent = 256 << 10

// tune sets what every TCP socket here has: nobody waits to fill a packet, and
// dead peers are found.
func tune(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probeAfter))
}

// newSocket takes the socket from nl, which it closes, unless portable.
func newSocket(nl net.Listener, portable bool) (socket, error) {
	if portable {
		return socket{nl: nl}, nil
	}
	defer nl.Close()
	raw, err := nl.(syscall.Conn).SyscallConn()
	if err != nil {
		return socket{}, err
	}
	fd := -1
	var failure error
	err = raw.Control(func(old uintptr) {
		// A copy, because the original is in the runtime's own epoll, where each
		// connection would be announced too.
		fd, failure = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
		if _, ok := nl.(*net.TCPListener); ok && failure == nil {
			// Accepted sockets inherit it: no call for each.
			failure = errors.Join(tune(fd), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent))
		}
	})
	if err := errors.Join(err, failure); err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return socket{}, err
	}
	return socket{fd: fd}, nil
}

func (s socket) close() error {
	if s.nl != nil {
		return s.nl.Close()
	}
	return unix.Close(s.fd)
}

// serve shows the socket to all loops.
func (s socket) serve(ln *Listener) {
	if s.nl != nil {
		ln.g.wg.Go(func() { ln.acceptPortable(s.nl) })
		return
	}
	for _, l := range ln.g.loops {
		l.poll.(*epoll).listen(ln)
	}
}

// listen adds ln's socket. EPOLLEXCLUSIVE wakes one sleeping loop, not all.
func (ep *epoll) listen(ln *Listener) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: mailEvent - ln.id}
	return unix.EpollCtl(ep.fd, unix.EPOLL_CTL_ADD, ln.fd, &ev)
}

// hide takes the socket out of all loops. Closing it would not: another process
// may share it, and epoll would go on to wake us for connections that it takes.
func (s socket) hide(ln *Listener) {
	if s.nl != nil {
		return
	}
	for _, l := range ln.g.loops {
		_ = unix.EpollCtl(l.poll.(*epoll).fd, unix.EPOLL_CTL_DEL, s.fd, nil) // a loop that pauses has done so
	}
}

// accept takes what waits at listener id.
func (ep *epoll) accept(id int32) {
	ln := ep.l.g.listener(id)
	if ln == nil {
		return
	}
	for range acceptBatch {
		switch ep.acceptOne(ln) {
		case 0, unix.EINTR, unix.ECONNABORTED:
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			ep.pause(ln)
			return
		default:
			return
		}
	}
}

// acceptOne accepts a connection and gives it to its loop.
func (ep *epoll) acceptOne(ln *Listener) syscall.Errno {
	var from syscall.RawSockaddrAny
	size := uint32(unsafe.Sizeof(from))
	// While it is held the descriptor stays what it is. It is held until the
	// connection has arrived, so that CloseIdle after Close misses none.
	ln.mu.RLock()
	defer ln.mu.RUnlock()
	// The kernel says that Serve was called; Go's memory model has to hear it
	// too, for what was set up before it, such as Watch, to be seen here.
	if ln.closed.Load() || !ln.served.Load() {
		return unix.EBADF
	}
	fd, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(ln.fd), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return errno
	}
	c := &Conn{l: ln.place(ep.l), ln: ln, fd: int32(fd), slot: -1, writable: true}
	c.remote = sockaddr(&from)
	c.unix = ln.network == "unix"
	if c.l == ep.l {
		ep.l.adopt(c)
	} else if !c.l.send(mail{op: opAdopt, conn: c}) {
		c.release()
	}
	return 0
}

// pause stops this loop's accepting for a while: the process is out of file
// descriptors, and epoll would go on about the connections that wait.
func (ep *epoll) pause(ln *Listener) {
	ln.mu.RLock()
	defer ln.mu.RUnlock()
	if ln.closed.Load() || unix.EpollCtl(ep.fd, unix.EPOLL_CTL_DEL, ln.fd, nil) != nil {
		return
	}
	p := &paused{ep: ep, ln: ln}
	p.timer.owner = p
	ep.l.timers.set(&p.timer, ep.l.now+int64(acceptPause))
}

// paused is a listener that one loop does not look at for now.
type paused struct {
	ep    *epoll
	ln    *Listener
	timer timer
}

// expire implements expirer.
func (p *paused) expire(int64) {
	p.ln.mu.RLock()
	defer p.ln.mu.RUnlock()
	if !p.ln.closed.Load() {
		p.ep.listen(p.ln)
	}
}
