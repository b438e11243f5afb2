package handover

import (
	"os"
	"syscall"
)

// start executes path. Descriptors go through ForkExec as numbers: an os.File
// would take sockets out of their non-blocking mode, also for those who accept
// on them now.
func start(path string, args []string, o offer) (*Child, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	defer closeFD(pair[1])
	ch, err := newChannel(pair[0])
	if err != nil {
		return nil, err
	}
	files := []uintptr{0, 1, 2, uintptr(pair[1])}
	o.Channel = 3
	there := make([]Socket, len(o.Sockets))
	for i, s := range o.Sockets {
		files = append(files, uintptr(s.FD))
		there[i] = s
		there[i].FD = 4 + i
	}
	o.Sockets = there
	environ, err := environment(o)
	if err != nil {
		ch.close()
		return nil, err
	}
	pid, err := syscall.ForkExec(path, append([]string{path}, args...), &syscall.ProcAttr{Env: environ, Files: files})
	if err != nil {
		ch.close()
		return nil, err
	}
	process, err := os.FindProcess(pid)
	if err != nil { // it is our child: it cannot be gone
		ch.close()
		return nil, err
	}
	return &Child{PID: pid, ch: ch, process: process}, nil
}
