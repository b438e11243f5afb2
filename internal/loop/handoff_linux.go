package loop

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Dup is another descriptor of the socket, for another process to listen with.
// It is the caller's to close. Connections that wait when ln is closed stay in
// the backlog as long as it is open.
func (ln *Listener) Dup() (int, error) {
	ln.mu.RLock()
	defer ln.mu.RUnlock()
	if ln.closed.Load() {
		return -1, net.ErrClosed
	}
	if ln.portable() {
		return -1, errors.ErrUnsupported
	}
	// Not through net.TCPListener.File: using what that returns makes the socket
	// block, for everybody who shares it.
	fd, err := unix.FcntlInt(uintptr(ln.fd), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl", err)
}

// Dup is r with a descriptor of its own.
func (r Resting) Dup() (Resting, error) {
	fd, err := unix.FcntlInt(uintptr(r.FD), unix.F_DUPFD_CLOEXEC, 0)
	r.FD = fd
	return r, os.NewSyscallError("fcntl", err)
}

func (ln *Listener) portable() bool { return ln.nl != nil }

// forgetEvents takes c out of epoll, in which the socket would stay when our
// descriptor of it is closed.
func (c *Conn) forgetEvents() {
	_ = unix.EpollCtl(c.l.poll.(*epoll).fd, unix.EPOLL_CTL_DEL, int(c.fd), nil)
}

func closeFD(fd int) { _ = unix.Close(fd) }
