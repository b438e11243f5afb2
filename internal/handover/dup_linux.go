package handover

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dup is another descriptor of a socket, which is left as it is: what File of
// package net returns makes it block.
func Dup(s syscall.Conn) (int, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if e := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return -1, e
	}
	return fd, os.NewSyscallError("fcntl", err)
}

// CloseFD closes a descriptor that nobody wants.
func CloseFD(fd int) { closeFD(fd) }
