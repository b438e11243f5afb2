//go:build !linux

package handover

import (
	"errors"
	"syscall"
	"time"
)

type channel struct{}

func (*channel) send(message, ...int) error     { return errors.ErrUnsupported }
func (*channel) receive() (message, int, error) { return message{}, -1, errors.ErrUnsupported }
func (*channel) hurry()                         {}
func (*channel) close()                         {}
func closeFD(int)                               {}

// monotonic is for systemd, which is not here.
func monotonic() time.Duration { return 0 }

// Inherit finds nothing: sockets are passed on Linux only.
func Inherit() (*Inherited, error) { return nil, nil }
func start(string, []string, offer) (*Child, error) {
	return nil, errors.ErrUnsupported
}

// Dup is for Linux.
func Dup(syscall.Conn) (int, error) { return -1, errors.ErrUnsupported }

// CloseFD closes a descriptor that nobody wants.
func CloseFD(fd int) { closeFD(fd) }
