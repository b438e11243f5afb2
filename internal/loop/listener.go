package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// acceptPause is how long a listener rests when the process has run out of file
// descriptors. Clients wait in the backlog meanwhile.
const acceptPause = 100 * time.Millisecond

// Listener is a bound address. Connections wait in its backlog until Serve.
type Listener struct {
	g       *Group
	id      int32
	network string
	addr    net.Addr
	path    string // of a unix socket, to be removed
	watcher atomic.Pointer[Watcher]

	handle atomic.Pointer[func(*Conn)]
	first  atomic.Int64 // ns a new connection may be silent; 0: for ever
	give   atomic.Pointer[func(Resting) error]
	conns  atomic.Int64
	closed atomic.Bool
	served atomic.Bool // Serve was called

	mu sync.RWMutex // guards socket: for reading while it is used, for writing to close it
	socket
}

// Listen binds network ("tcp" or "unix") and address: "127.0.0.1:80",
// "[::1]:80", ":80" (IPv4 and IPv6) or a path. The file of a unix socket that
// nobody listens on any more is replaced. Nothing is accepted before Serve.
func (g *Group) Listen(network, address string) (*Listener, error) {
	if network == "unix" {
		removeStale(address)
	}
	// Multipath TCP, net's default, knows fewer socket options.
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	nl, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	path := ""
	if network == "unix" && address != "" && address[0] != '@' {
		path = address
	}
	return g.makeListener(nl, path)
}

// Inherit makes a Listener of nl, which somebody else has bound, and takes nl
// over. The file of a unix socket stays when the Listener is closed, unless Own
// is called.
func (g *Group) Inherit(nl net.Listener) (*Listener, error) { return g.makeListener(nl, "") }

func (g *Group) makeListener(nl net.Listener, path string) (*Listener, error) {
	ln := &Listener{g: g, network: nl.Addr().Network(), addr: nl.Addr(), path: path}
	if u, ok := nl.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // we take the socket from u and remove the file ourselves
	}
	var err error
	if ln.socket, err = newSocket(nl, g.o.Portable); err != nil {
		return nil, fmt.Errorf("listen %s %s: %w", ln.network, ln.addr, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errors.Join(net.ErrClosed, ln.socket.close(), ln.unlink())
	}
	g.lastID++
	ln.id = g.lastID
	g.listeners[ln.id] = ln
	return ln, nil
}

// listener finds an open listener by its id.
func (g *Group) listener(id int32) *Listener {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listeners[id]
}

// removeStale removes a unix socket that refuses connections: its owner died
// without cleaning up. Anything else is left for bind to complain about.
func removeStale(path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		c.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		os.Remove(path)
	}
}

// Addr is the bound address, with the port the system chose if it was 0.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Serve begins to accept, on all loops, and returns at once. It is called once. A new connection
// is parked at birth: handle runs on a coroutine when its first byte comes; it
// is closed if it stays silent for first (0: no limit). When handle returns, the
// connection is closed, unless it was parked, detached or kept.
func (ln *Listener) Serve(handle func(*Conn), first time.Duration) {
	ln.SetHandler(handle)
	ln.SetFirst(first)
	ln.mu.RLock()
	defer ln.mu.RUnlock()
	if !ln.closed.Load() && !ln.served.Swap(true) {
		ln.socket.serve(ln)
	}
}

// SetFirst changes how long connections accepted from now on may be silent.
func (ln *Listener) SetFirst(d time.Duration) { ln.first.Store(int64(d)) }

// SetHandler changes the handler for connections that wake from now on.
func (ln *Listener) SetHandler(handle func(*Conn)) { ln.handle.Store(&handle) }

// Conns is the number of open connections ln has accepted.
func (ln *Listener) Conns() int { return int(ln.conns.Load()) }

// CloseIdle closes connections that are parked or, if ln is closed, wait
// in ReadIdle; what HandOff was given takes them instead. It returns at once; the loops do it as soon as they get to it.
// Connections of a closed listener that would park later are closed anyway.
func (ln *Listener) CloseIdle() {
	for _, l := range ln.g.loops {
		l.Post(func() {
			for _, c := range l.conns {
				switch {
				case c == nil || c.ln != ln:
				case c.parked:
					if c.offer(c.left()) != askLater {
						c.closed.Store(true)
						c.release()
					}
				case c.quiet:
					c.wakeReader() // ReadIdle looks whether ln is closed
				}
			}
		})
	}
}

// Close stops accepting; what has been accepted goes on. The address can be
// bound again when it returns. A second Close returns net.ErrClosed.
func (ln *Listener) Close() error {
	if ln.closed.Swap(true) {
		return net.ErrClosed
	}
	ln.g.mu.Lock()
	delete(ln.g.listeners, ln.id)
	ln.g.mu.Unlock()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.served.Load() {
		ln.socket.hide(ln)
	}
	return errors.Join(ln.unlink(), ln.socket.close())
}

func (ln *Listener) unlink() error {
	if ln.path == "" {
		return nil
	}
	if err := os.Remove(ln.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// place counts a new connection of ln and picks the loop for it: here, which
// costs nothing, unless another loop has clearly less to do.
func (ln *Listener) place(here *Loop) *Loop {
	ln.conns.Add(1)
	to := ln.g.fewest()
	if here != nil {
		if least := to.accepted.Load(); here.accepted.Load() <= least+least/16+1 {
			to = here
		}
	}
	to.accepted.Add(1)
	return to
}
