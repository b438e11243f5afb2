package loop

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	crowd = 16               // coroutines that work or wait, from which on
	pause = time.Millisecond // is made before a quiet loop looks what has happened
)

// quiet waits for an epoll instance in the runtime's own one. Between the two is
// a third, the gate, which is open only while the loop waits: otherwise each event
// would wake a thread of the runtime, which would find nobody to tell.
type quiet struct {
	ep    *epoll
	gate  *os.File
	fd    int // of gate
	raw   syscall.RawConn
	n     uintptr // what the last look found
	errno syscall.Errno
}

func newQuiet(ep *epoll) (*quiet, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// Or NewFile would not take it for something that can be polled.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	q := &quiet{ep: ep, gate: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, ep.fd, &unix.EpollEvent{}); err != nil {
		q.gate.Close()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	if q.raw, err = q.gate.SyscallConn(); err == nil {
		err = q.gate.SetReadDeadline(time.Time{}) // it fails if the runtime does not poll
	}
	if err != nil {
		q.gate.Close()
		return nil, err
	}
	return q, nil
}

// wait is epoll's wait. timeout is not 0.
func (q *quiet) wait(timeout time.Duration) (n uintptr, errno syscall.Errno) {
	if q.ep.l.busy >= crowd && (timeout < 0 || timeout > pause) {
		time.Sleep(pause)
		return q.ep.look() // if there is nothing, the loop waits again
	}
	until := time.Time{}
	if timeout > 0 {
		until = time.Now().Add(timeout)
	}
	_ = q.gate.SetReadDeadline(until)
	q.n, q.errno = 0, 0
	q.open(unix.EPOLLIN)
	_ = q.raw.Read(q.look) // the deadline is no error
	q.open(0)
	return q.n, q.errno
}

// open lets events through the gate, or none.
func (q *quiet) open(events uint32) {
	_ = unix.EpollCtl(q.fd, unix.EPOLL_CTL_MOD, q.ep.fd, &unix.EpollEvent{Events: events})
}

// look is false if there is nothing yet.
func (q *quiet) look(uintptr) bool {
	q.n, q.errno = q.ep.look()
	return q.n > 0 || q.errno != 0
}
