//go:build !linux

package loop

import (
	"net"
	"net/netip"
	"time"
)

// Without epoll everything is portable.

func newPoller(l *Loop) (poller, error) { return newBell(l), nil }

func (c *Conn) recv(p []byte) (int, error)            { return c.pipe.recv(p) }
func (c *Conn) write(co *coro, p []byte) (int, error) { return c.pipe.write(c, co, p) }
func (c *Conn) peek() (readable, ended bool)          { return c.pipe.peek() }
func (c *Conn) closeSocket()                          { c.pipe.close(c.linger0.Load()) }
func (c *Conn) shutdownWrite() error                  { return c.pipe.closeWrite() }
func (c *Conn) sockname() netip.AddrPort              { return c.local }
func (c *Conn) detach() (net.Conn, error)             { return c.detachPortable() }
func (c *Conn) outQueue() int32                       { return -1 }

func (l *Loop) dial(opening **Conn, a Addr, deadline time.Time) (*Conn, error) {
	return l.dialPortable(opening, a, deadline)
}

// socket is what a Listener listens with.
type socket struct{ nl net.Listener }

func newSocket(nl net.Listener, _ bool) (socket, error) { return socket{nl}, nil }

func (s socket) serve(ln *Listener) { ln.g.wg.Go(func() { ln.acceptPortable(s.nl) }) }
func (s socket) hide(*Listener)     {}
func (s socket) close() error       { return s.nl.Close() }
