// Package health finds out whether an address is fit to serve: what a check
// is, how many results make a verdict, and when to ask again.
//
// It owns the probe goroutines and the streak of results behind each verdict.
// It does not know pools, balancing or what happens to a backend that is down.
package health

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Check probes one address once. Probe returns nil if the address is healthy,
// and otherwise what a person should read about it. It returns soon after ctx
// ends. addr is "127.0.0.1:80", "[::1]:80" or "unix:/run/app.sock". A Check is
// used by many goroutines at once and holds no state of a probe.
type Check interface {
	Probe(ctx context.Context, addr string) error
}

// TCP is the Check that is content when a connection opens. The zero value
// connects to the backend's own port.
type TCP struct {
	Port  int    // asked instead of the backend's own port; 0: the backend's own. Unix sockets have none
	Hello []byte // sent to the backend's own port: it may want a PROXY header
}

// Probe connects to addr and closes the connection again, without a byte sent
// but the Hello.
func (c TCP) Probe(ctx context.Context, addr string) error {
	conn, err := dialHello(ctx, withPort(addr, c.Port), c.Port, c.Hello)
	if err != nil {
		return err
	}
	// What the close says is no verdict on the backend: it accepted.
	_ = conn.Close()
	return nil
}

// dial opens a connection that no probe has used before.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	d := net.Dialer{KeepAlive: -1} // it lives for one probe
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// dialHello opens a connection and sends hello on it, unless it goes to a port
// that only answers checks.
func dialHello(ctx context.Context, addr string, port int, hello []byte) (net.Conn, error) {
	conn, err := dial(ctx, addr)
	if err != nil || port != 0 || len(hello) == 0 {
		return conn, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // the write below says if it is closed
	}
	if _, err := conn.Write(hello); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// withPort returns addr with its port replaced, for backends that answer
// checks on a port of their own.
func withPort(addr string, port int) string {
	if port == 0 || strings.HasPrefix(addr, "unix:") {
		return addr
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr // the dial will say what is wrong with it
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
