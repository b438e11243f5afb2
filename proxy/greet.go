package proxy

import (
	"net/netip"

	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/internal/proxyproto"
)

// greeting says whether connections begin with a PROXY header.
type greeting uint8

const (
	greetNone    greeting = iota
	greetAccept           // they may
	greetRequire          // they have to
)

func greetingOf(word string) greeting {
	switch word {
	case "accept":
		return greetAccept
	case "require":
		return greetRequire
	}
	return greetNone
}

// greet reads the PROXY header in front of a connection's first request. It
// reports false where the connection ends: what begins like a header and is
// malformed says that nothing after it can be believed. Only trusted proxies are
// listened to; what a stranger sends is a request, and no good one.
func (c *clientConn) greet() bool {
	if c.Tag&greeted != 0 {
		return true
	}
	// Asked once: what was a connection of requests stays one, whatever the
	// configuration says later.
	c.Tag |= greeted
	lc := c.ln.config()
	required := lc.greeting == greetRequire
	switch {
	case lc.greeting == greetNone:
		return true
	case !lc.trusts(c.peer.addr):
		return !required || c.refuseGreeting()
	}
	for {
		h, n, err := proxyproto.Parse(c.in.buffered())
		switch {
		case err == proxyproto.ErrNone && !required:
			return true
		case err != nil:
			return c.refuseGreeting()
		case n > 0:
			c.in.r += n
			c.adopt(h)
			return true
		}
		room := c.in.room(c.w, proxyproto.MaxV2)
		c.armed = true
		c.Conn.SetReadDeadline(after(c.headStart, lc.timeouts.ClientHeader))
		if n, err = c.Conn.Read(room); err != nil {
			return false // closed by the loop: it did not park
		}
		c.in.e += n
	}
}

// refuseGreeting counts a connection that is closed without a word: it has not
// come to HTTP yet.
func (c *clientConn) refuseGreeting() bool {
	c.w.s.metrics.Error(c.w.id, metrics.BadRequest)
	return false
}

// adopt makes the client that a PROXY header names the peer of the connection,
// for as long as it is open.
func (c *clientConn) adopt(h proxyproto.Header) {
	if h.Local {
		return
	}
	c.ln.rename(c.Conn, h.Src, h.Dst)
	c.peer.addr = h.Src.Addr().Unmap()
	c.lc = nil // to be judged anew
	c.forwarded = fixedLines(c.forwarded, c.Conn, c.peer)
}

// rename counts a connection for another client address.
func (ln *listener) rename(c *loop.Conn, src, dst netip.AddrPort) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.forget(c)
	c.SetAddrs(src, dst)
	ln.remember(c, &ln.config().limits)
}
