package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// firstFD is where systemd's descriptors begin.
const firstFD = 3

// Inherit finds out what this process was given, and hides it from the programs
// that it starts: the variables are gone afterwards, and the descriptors close
// on exec. Call it once, before anything is started.
func Inherit() (*Inherited, error) {
	value, pid := os.Getenv(env), os.Getenv("LISTEN_PID")
	count, names := os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range ours {
		_ = os.Unsetenv(name)
	}
	switch {
	case value != "":
		return fromParent(value)
	case pid != "" && pid == strconv.Itoa(os.Getpid()):
		return fromSystemd(count, names)
	}
	return nil, nil
}

func fromParent(value string) (*Inherited, error) {
	var o offer
	if err := json.Unmarshal([]byte(value), &o); err != nil {
		return nil, fmt.Errorf("%s: %w", env, err)
	}
	syscall.CloseOnExec(o.Channel)
	for _, s := range o.Sockets {
		syscall.CloseOnExec(s.FD)
	}
	ch, err := newChannel(o.Channel)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", env, err)
	}
	return &Inherited{Parent: newParent(ch), sockets: o.Sockets}, nil
}

// fromSystemd follows sd_listen_fds(3).
func fromSystemd(count, names string) (*Inherited, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS is %q, which is not a number of sockets", count)
	}
	in := new(Inherited)
	called := strings.Split(names, ":")
	for i := range n {
		fd := firstFD + i
		syscall.CloseOnExec(fd)
		address, err := boundTo(fd)
		if err != nil {
			name := ""
			if i < len(called) {
				name = called[i]
			}
			return nil, fmt.Errorf("socket activation: descriptor %d (%s): %w", fd, name, err)
		}
		in.sockets = append(in.sockets, Socket{Address: address, FD: fd})
	}
	return in, nil
}

// boundTo is the address of a stream socket that listens.
func boundTo(fd int) (string, error) {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	if kind != syscall.SOCK_STREAM || listens == 0 {
		return "", errors.New("it is no stream socket that listens: the unit needs ListenStream= and Accept=no")
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return net.JoinHostPort(net.IP(sa.Addr[:]).String(), strconv.Itoa(sa.Port)), nil
	case *syscall.SockaddrInet6:
		return net.JoinHostPort(net.IP(sa.Addr[:]).String(), strconv.Itoa(sa.Port)), nil
	case *syscall.SockaddrUnix:
		return "unix:" + sa.Name, nil
	}
	return "", fmt.Errorf("its address is neither TCP nor a unix socket")
}
