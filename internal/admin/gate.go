package admin

import (
	"net"
	"sync"
)

// Gate is the admin API's listener, which can stand aside for another process
// that listens on the same socket, and come back.
type Gate struct {
	addr net.Addr

	mu     sync.Mutex
	owned  bool          // the file of a unix socket goes with it
	ln     net.Listener  // nil: it stands aside
	news   chan struct{} // closed when ln or closed changes
	closed bool
	moved  func(aside bool) // of Serve: what else stands aside
}

// NewGate takes ln over. owned says whether the file of a unix socket goes when
// it is closed.
func NewGate(ln net.Listener, owned bool) *Gate {
	g := &Gate{addr: ln.Addr(), ln: ln, news: make(chan struct{})}
	g.Own(owned)
	return g
}

// Accept waits for a connection, and while the gate stands aside for its return.
func (g *Gate) Accept() (net.Conn, error) {
	for {
		g.mu.Lock()
		ln, news, closed := g.ln, g.news, g.closed
		g.mu.Unlock()
		switch {
		case closed:
			return nil, net.ErrClosed
		case ln == nil:
			<-news
			continue
		}
		conn, err := ln.Accept()
		if err != nil && g.Listener() != ln {
			continue // it was closed by Aside
		}
		return conn, err
	}
}

// Listener is what it listens with now; nil while it stands aside.
func (g *Gate) Listener() net.Listener {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ln
}

// Aside stops accepting. The file of a unix socket stays; what has been accepted
// is answered, and then asked to connect anew.
func (g *Gate) Aside() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.ln == nil {
		return
	}
	setOwned(g.ln, false)
	_ = g.ln.Close() // it is open
	g.ln = nil
	g.change()
}

// Return accepts again, on ln, which it takes over.
func (g *Gate) Return(ln net.Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.ln != nil {
		_ = ln.Close()
		return
	}
	g.ln = ln
	g.change()
}

// Own says whether the file of a unix socket goes when the gate is closed.
func (g *Gate) Own(owned bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owned = owned
	setOwned(g.ln, owned)
}

// Owns is what was said last.
func (g *Gate) Owns() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.owned
}

// Close closes it for good.
func (g *Gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return net.ErrClosed
	}
	g.closed = true
	defer g.change()
	if g.ln == nil {
		return nil
	}
	return g.ln.Close()
}

// Addr is where it listens.
func (g *Gate) Addr() net.Addr { return g.addr }

// change tells who waits. Its caller holds mu.
func (g *Gate) change() {
	close(g.news)
	g.news = make(chan struct{})
	if g.moved != nil && !g.closed {
		g.moved(g.ln == nil)
	}
}

// follow makes moved hear whether the gate stands aside, from now on.
func (g *Gate) follow(moved func(aside bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved = moved
}

func setOwned(ln net.Listener, owned bool) {
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(owned)
	}
}
