package loop

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// ErrLater is what the function of HandOff returns when it cannot take a
// connection now and wants to be asked again.
var ErrLater = errors.New("not now")

// offerAgain is how soon a connection is offered again after ErrLater.
const offerAgain = 10 * time.Millisecond

// Resting is a connection between two requests: nothing of it has been read
// that was not acted on, so that another process can go on where this one was.
type Resting struct {
	FD            int            // the socket
	Remote, Local netip.AddrPort // as SetAddrs has it
	Tag           uint8
	Left          time.Duration // until it is closed, if it stays silent; 0: as long as the new owner lets one be
}

// HandOff makes connections that come to rest after ln was closed go to give
// instead of being closed. give runs on the loops and must not block; the
// descriptor is its own copy's matter: r.FD is closed when it returns. An error
// other than ErrLater closes the connection as usual. Only bytes of the
// connection itself go with it: it is not for connections that are encrypted here.
//
// It does nothing on connections that are not sockets of a loop (Options.Portable).
func (ln *Listener) HandOff(give func(r Resting) error) { ln.give.Store(&give) }

// answer is what became of an offer.
type answer uint8

const (
	keepIt   answer = iota // nobody wants it
	askLater               // somebody may
	taken                  // it is gone
)

// left is how long a parked connection may still be silent; 0: for ever.
func (c *Conn) left() time.Duration {
	if c.idleAt == 0 {
		return 0
	}
	return max(time.Duration(c.idleAt-c.l.now), time.Millisecond)
}

// offer gives a connection at rest, which may be silent for left, to whoever
// takes it.
func (c *Conn) offer(left time.Duration) answer {
	give := c.ln.give.Load()
	if give == nil || !c.ln.closed.Load() || c.pipe != nil || c.hup || c.released || c.closed.Load() {
		return keepIt
	}
	r := Resting{FD: int(c.fd), Remote: c.remote, Local: c.local, Tag: c.Tag, Left: left}
	switch err := (*give)(r); {
	case errors.Is(err, ErrLater):
		return askLater
	case err != nil:
		return keepIt
	}
	c.forgetEvents()
	c.closed.Store(true)
	c.release() // of our descriptor; the connection lives on with the other one
	return taken
}

// Adopt makes a connection that another process has handed off one of ln's, as
// if it had been accepted and been silent since. The descriptor r.FD is ln's
// from now on, also after an error.
func (ln *Listener) Adopt(r Resting) error {
	ln.mu.RLock() // as in acceptOne
	defer ln.mu.RUnlock()
	if ln.closed.Load() || !ln.served.Load() || ln.portable() {
		closeFD(r.FD)
		return net.ErrClosed
	}
	c := &Conn{l: ln.place(nil), ln: ln, fd: int32(r.FD), slot: -1, writable: true}
	c.remote, c.local, c.Tag = r.Remote, r.Local, r.Tag
	c.unix = ln.network == "unix"
	if r.Left > 0 {
		c.idleAt = ln.g.since(time.Now().Add(r.Left))
	}
	if !c.l.send(mail{op: opAdopt, conn: c}) {
		c.release()
		return net.ErrClosed
	}
	return nil
}

// Own makes the file of an inherited unix socket go when ln is closed.
func (ln *Listener) Own() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if name := ln.addr.String(); ln.network == "unix" && name != "" && name[0] != '@' && !ln.closed.Load() {
		ln.path = name
	}
}

// Disown makes the file of a unix socket stay when ln is closed: another process
// listens there.
func (ln *Listener) Disown() {
	ln.mu.Lock()
	ln.path = ""
	ln.mu.Unlock()
}

// Owns says whether the file of a unix socket goes when ln is closed.
func (ln *Listener) Owns() bool {
	ln.mu.RLock()
	defer ln.mu.RUnlock()
	return ln.path != ""
}
