package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// channel is one end of the socket pair. Messages keep their bounds.
type channel struct {
	conn *net.UnixConn
	raw  syscall.RawConn
}

// newChannel takes fd over.
func newChannel(fd int) (*channel, error) {
	f := os.NewFile(uintptr(fd), "handover")
	if f == nil {
		return nil, fmt.Errorf("descriptor %d is not open", fd)
	}
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		_ = nc.Close()
		return nil, fmt.Errorf("descriptor %d is not a unix socket", fd)
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		_ = uc.Close()
		return nil, err
	}
	_ = uc.SetWriteBuffer(1 << 20) // connections come in bursts; the kernel's bound is good enough
	return &channel{uc, raw}, nil
}

// send does not block: ErrBusy says that the other side has to read first.
func (ch *channel) send(m message, fds ...int) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	if e := ch.raw.Control(func(fd uintptr) {
		err = syscall.Sendmsg(int(fd), text, rights, nil, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
	}); e != nil {
		return e
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ETOOMANYREFS) || errors.Is(err, syscall.EINTR) {
		return ErrBusy
	}
	return os.NewSyscallError("sendmsg", err)
}

// receive waits for a message. fd is -1 if none came with it.
func (ch *channel) receive() (m message, fd int, err error) {
	text, rights := make([]byte, maxMessage), make([]byte, syscall.CmsgSpace(4*4))
	n, k, _, _, err := ch.conn.ReadMsgUnix(text, rights)
	fd = -1
	if err == nil && n == 0 {
		err = net.ErrClosed // the other side is gone
	}
	if err != nil {
		return m, fd, err
	}
	parts, err := syscall.ParseSocketControlMessage(rights[:k])
	if err != nil {
		return m, fd, err
	}
	for _, p := range parts {
		list, err := syscall.ParseUnixRights(&p)
		if err != nil {
			continue
		}
		for _, one := range list {
			if fd >= 0 {
				closeFD(fd)
			}
			fd = one
		}
	}
	if err := json.Unmarshal(text[:n], &m); err != nil && fd >= 0 {
		closeFD(fd)
		fd = -1
	}
	return m, fd, nil // what is no JSON has no type, and is ignored
}

// hurry makes receive end once it has read what is there.
func (ch *channel) hurry() { _ = ch.conn.SetReadDeadline(time.Now().Add(lastWords)) }

// lastWords is how long a process that has ended may still be heard.
const lastWords = 50 * time.Millisecond

func (ch *channel) close() { _ = ch.conn.Close() }

func closeFD(fd int) { _ = syscall.Close(fd) }
