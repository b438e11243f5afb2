package handover

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// Notifier tells a service manager how this process is (sd_notify(3)). The zero
// one tells nobody.
type Notifier struct{ socket string }

// NewNotifier reads NOTIFY_SOCKET.
func NewNotifier() Notifier { return Notifier{os.Getenv("NOTIFY_SOCKET")} }

// Wanted says whether anybody is told.
func (n Notifier) Wanted() bool { return n.socket != "" }

// notifyTimeout bounds the wait for a service manager that does not read.
const notifyTimeout = time.Second

// Ready says that the service serves.
func (n Notifier) Ready(status string) error { return n.send("READY=1", "STATUS="+status) }

// Main says which process is the service from now on: when it ends, the service
// does.
func (n Notifier) Main(pid int) error { return n.send(fmt.Sprintf("MAINPID=%d", pid)) }

// Reloading says that the configuration is read; Ready follows.
func (n Notifier) Reloading() error {
	return n.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()))
}

// Stopping says that the service ends, not only this process.
func (n Notifier) Stopping() error { return n.send("STOPPING=1", "STATUS=finishing what runs") }

func (n Notifier) send(lines ...string) error {
	if n.socket == "" {
		return nil
	}
	name := n.socket
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@") {
		return fmt.Errorf("NOTIFY_SOCKET is %q: neither a path nor an abstract socket", name)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(notifyTimeout))
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}
