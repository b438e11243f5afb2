package loop

import (
	"net"
	"net/netip"
)

// Addr is where to dial: an IP address and port, or the path of a unix socket.
// It is comparable; the zero Addr is invalid.
type Addr struct {
	port netip.AddrPort
	path string
}

// AddrFromPort is the TCP address ap. An IPv4 address in IPv6 clothes is IPv4.
func AddrFromPort(ap netip.AddrPort) Addr {
	return Addr{port: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}
}

// AddrFromPath is a unix socket. A path that begins with @ is abstract (Linux).
func AddrFromPath(p string) Addr { return Addr{path: p} }

// IsValid is false for the zero Addr and those made of nothing.
func (a Addr) IsValid() bool { return a.path != "" || a.port.IsValid() }

// String is "127.0.0.1:80", "[::1]:80" or "unix:/run/x.sock".
func (a Addr) String() string {
	if a.path != "" {
		return "unix:" + a.path
	}
	return a.port.String()
}

// net is the address as package net writes it.
func (a Addr) net() net.Addr {
	if a.path != "" {
		return &net.UnixAddr{Name: a.path, Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a.port)
}

func (c *Conn) network() string {
	if c.unix {
		return "unix"
	}
	return "tcp"
}

// RemoteAddrPort is the peer's address; zero for a unix socket. It does not
// allocate.
func (c *Conn) RemoteAddrPort() netip.AddrPort { return c.remote }

// SetAddrs makes a connection have other addresses than its socket: those of the
// client for whom a proxy opened it. It is called on the loop.
func (c *Conn) SetAddrs(remote, local netip.AddrPort) {
	c.remote, c.local = remote, local
}

// LocalAddrPort is the address on this side, which costs a system call the
// first time; zero for a unix socket. It does not allocate.
func (c *Conn) LocalAddrPort() netip.AddrPort {
	if !c.unix && !c.local.IsValid() && !c.released {
		c.local = c.sockname()
	}
	return c.local
}

// RemoteAddr implements net.Conn; it allocates. A unix socket has no name here.
func (c *Conn) RemoteAddr() net.Addr {
	if c.unix {
		return &net.UnixAddr{Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(c.remote)
}

// LocalAddr implements net.Conn; it allocates for TCP.
func (c *Conn) LocalAddr() net.Addr {
	switch {
	case c.unix && c.ln != nil:
		return c.ln.addr
	case c.unix:
		return &net.UnixAddr{Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(c.LocalAddrPort())
}

// addrPort is the IP address in a, unmapped; zero if a is something else.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
