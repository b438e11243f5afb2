package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"weir/internal/cidr"
	"weir/internal/config"
	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/internal/route"
)

// listener is a bound address. It outlives configurations: one that lists the
// same address again finds it here, with its connections.
type listener struct {
	s      *Server
	key    string
	socket *loop.Listener

	last    atomic.Pointer[listenerConfig] // newest committed; serves a drained listener's last requests
	retired atomic.Bool
	tunnels atomic.Int64 // open ones; once a tunnel, not once a request

	mu    sync.Mutex // Opened and Closed: once a connection, not once a request
	byIP  map[netip.Addr]int
	total int
}

// listenerConfig is a listener of one snapshot, compiled. Immutable.
type listenerConfig struct {
	ln       *listener
	name     string
	trusted  cidr.Set
	greeting greeting
	timeouts config.Timeouts
	limits   config.Limits
	routes   *route.Table[*site]
	unrouted *metrics.Route // counts requests that match nothing
}

// config is what the listener is to do now.
func (ln *listener) config() *listenerConfig { return ln.configIn(ln.s.current.Load()) }

// configIn finds the listener in a snapshot. A listener that snap does not have
// is draining: it goes on as it was.
func (ln *listener) configIn(snap *Snapshot) *listenerConfig {
	if lc := snap.listenerOf(ln); lc != nil {
		return lc
	}
	return ln.last.Load()
}

func (ln *listener) draining() bool { return ln.retired.Load() }

// retire stops accepting. Idle connections are closed, busy ones after their
// answer.
func (ln *listener) retire() {
	if ln.retired.Swap(true) {
		return
	}
	_ = ln.socket.Close() // closed before: nothing to stop
	ln.socket.CloseIdle()
}

// Bits of loop.Conn.Tag: what is known of a connection, parked or not.
const (
	overConnections uint8 = 1 << iota // one too many when it was opened
	overPerIP
	greeted // it was asked for a PROXY header, where one is wanted
)

// Opened counts a connection and decides whether it is one too many; it is told
// so when it asks for something (loop.Watcher).
func (ln *listener) Opened(c *loop.Conn) {
	lc := ln.config()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.total++; lc.limits.Connections > 0 && ln.total > lc.limits.Connections {
		c.Tag |= overConnections
	}
	ln.remember(c, &lc.limits)
	if lc.greeting != greetNone && lc.trusts(c.RemoteAddrPort().Addr().Unmap()) {
		c.Tag &^= overPerIP // it will say for whom it comes
	}
}

// Closed forgets a connection (loop.Watcher).
func (ln *listener) Closed(c *loop.Conn) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.total--
	ln.forget(c)
}

// remember counts a connection for its client's address. Its caller holds mu.
func (ln *listener) remember(c *loop.Conn, limits *config.Limits) {
	ip := c.RemoteAddrPort().Addr().Unmap()
	ln.byIP[ip]++
	if limits.ConnectionsPerIP > 0 && ln.byIP[ip] > limits.ConnectionsPerIP && ip.IsValid() {
		c.Tag |= overPerIP
	}
}

func (ln *listener) forget(c *loop.Conn) {
	ip := c.RemoteAddrPort().Addr().Unmap()
	if ln.byIP[ip]--; ln.byIP[ip] == 0 {
		delete(ln.byIP, ip)
	}
}

// bind opens the address of a listener.
func (s *Server) bind(l *config.Listener) (*listener, error) {
	network, address := "tcp", l.Address
	if path, ok := strings.CutPrefix(l.Address, "unix:"); ok {
		network, address = "unix", path
	}
	socket, err := s.inherited(l)
	if socket == nil && err == nil {
		socket, err = s.group.Listen(network, address)
	}
	if err != nil {
		return nil, fmt.Errorf("listener %s: cannot listen on %s: %w", l.Name, l.Address, hint(err))
	}
	ln := &listener{s: s, key: keyOf(l), socket: socket, byIP: make(map[netip.Addr]int)}
	socket.Watch(ln)
	return ln, nil
}

// hint says what would help against the two usual reasons.
func hint(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w (another program, or another Weir, has it: see who with `ss -ltnp`)", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w (ports below 1024 need root or CAP_NET_BIND_SERVICE)", err)
	}
	return err
}

// keyOf is the identity of a listener: its address. Where the system picks the
// port the name tells two of them apart.
func keyOf(l *config.Listener) string {
	if strings.HasSuffix(l.Address, ":0") {
		return l.Name + "@" + l.Address
	}
	return l.Address
}

// serve begins to accept.
func (ln *listener) serve() {
	ln.socket.Serve(func(c *loop.Conn) {
		ln.s.workers[c.Loop().Index()].serveConn(ln, c)
	}, ln.config().timeouts.ClientHeader)
}
