package proxy

import (
	"bytes"
	"net/netip"

	"weir/internal/loop"
)

// peer is who is at the other end of a client's connection.
type peer struct {
	addr    netip.Addr // invalid for a unix socket
	trusted bool       // one of the listener's trusted_proxies: its forwarded headers are believed
}

// trusts reports whether forwarded headers from addr are believed. Who can open
// a unix socket has been let in by its permissions.
func (lc *listenerConfig) trusts(addr netip.Addr) bool {
	if !addr.IsValid() {
		return !lc.trusted.Empty()
	}
	return lc.trusted.Contains(addr)
}

// fixedLines makes the forwarded header lines that are the same for every
// request of a connection from an untrusted peer, and starts the one that is
// not: X-Forwarded-For, -Proto, -Port, and Forwarded up to its host.
func fixedLines(dst []byte, c *loop.Conn, p peer) []byte {
	dst = append(dst[:0], "X-Forwarded-For: "...)
	dst = appendClient(dst, p.addr)
	dst = append(dst, "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: "...)
	dst = appendPort(dst, c.LocalAddrPort())
	dst = append(dst, "\r\nForwarded: "...)
	dst = appendForwardedFor(dst, p.addr)
	return append(dst, ";proto=http"...)
}

func appendClient(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(dst, "unix"...)
	}
	return a.AppendTo(dst)
}

func appendPort(dst []byte, ap netip.AddrPort) []byte {
	if !ap.IsValid() {
		return append(dst, "80"...)
	}
	return appendInt(dst, int64(ap.Port()))
}

// appendForwardedFor writes the for= parameter of RFC 7239: IPv6 is bracketed
// and quoted.
func appendForwardedFor(dst []byte, a netip.Addr) []byte {
	switch {
	case !a.IsValid():
		return append(dst, "for=_unix"...)
	case a.Is4():
		return a.AppendTo(append(dst, "for="...))
	}
	return append(a.AppendTo(append(dst, `for="[`...)), `]"`...)
}

// clientOf finds the client behind trusted proxies: X-Forwarded-For is read
// from its end, past every address that is trusted itself.
func (lc *listenerConfig) clientOf(h *head, p peer) netip.Addr {
	client := p.addr
	if !p.trusted {
		return client
	}
	for k := len(h.lines) - 1; k >= 0; k-- {
		l := &h.lines[k]
		if l.kind != fieldForwardedFor {
			continue
		}
		rest := l.value
		for len(rest) > 0 {
			i := bytes.LastIndexByte(rest, ',')
			hop, err := parseHop(trim(rest[i+1:]))
			if err != nil {
				return client
			}
			client = hop
			if !lc.trusts(hop) {
				return client
			}
			rest = rest[:max(i, 0)]
		}
	}
	return client
}

// parseHop reads an address as proxies write it: plain, with a port, or in
// brackets. It allocates; only requests from trusted proxies get here.
func parseHop(b []byte) (netip.Addr, error) {
	s := string(b)
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap(), nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), nil
	}
	a, err := netip.ParseAddr(string(bytes.Trim(b, "[]")))
	return a.Unmap(), err
}

// appendForwarded adds the forwarded header lines to an outgoing head. What a
// stranger sent has been left out by outbound; what a trusted proxy sent is kept
// and continued.
func (ex *exchange) appendForwarded(dst []byte) []byte {
	cc := ex.cc
	if cc.peer.trusted {
		return ex.continueForwarded(dst)
	}
	dst = append(dst, cc.forwarded...)
	if len(ex.host) > 0 {
		dst = appendHostParam(dst, ex.host)
		dst = append(dst, "\r\nX-Forwarded-Host: "...)
		dst = append(dst, ex.host...)
	}
	return append(dst, crlf...)
}

func appendHostParam(dst, host []byte) []byte {
	dst = append(dst, `;host="`...)
	dst = append(dst, host...) // validHost: no quote, no backslash
	return append(dst, '"')
}

func (ex *exchange) continueForwarded(dst []byte) []byte {
	h, p := &ex.head, ex.cc.peer
	dst = append(dst, "X-Forwarded-For: "...)
	dst = appendValues(dst, h, fieldForwardedFor)
	dst = appendClient(dst, p.addr)
	dst = append(dst, crlf...)
	if !h.has(fieldForwardedProto) {
		dst = append(dst, "X-Forwarded-Proto: http\r\n"...)
	}
	if !h.has(fieldForwardedPort) {
		dst = append(dst, "X-Forwarded-Port: "...)
		dst = appendPort(dst, ex.cc.LocalAddrPort())
		dst = append(dst, crlf...)
	}
	if !h.has(fieldForwardedHost) && len(ex.host) > 0 {
		dst = append(dst, "X-Forwarded-Host: "...)
		dst = append(dst, ex.host...)
		dst = append(dst, crlf...)
	}
	dst = append(dst, "Forwarded: "...)
	for k := range h.lines {
		if l := &h.lines[k]; l.kind == fieldForwarded && len(l.value) > 0 {
			dst = append(append(dst, l.value...), ", "...)
		}
	}
	dst = append(appendForwardedFor(dst, p.addr), ";proto=http"...)
	if len(ex.host) > 0 {
		dst = appendHostParam(dst, ex.host)
	}
	return append(dst, crlf...)
}

func appendValues(dst []byte, h *head, kind field) []byte {
	for k := range h.lines {
		if l := &h.lines[k]; l.kind == kind && len(l.value) > 0 {
			dst = append(append(dst, l.value...), ", "...)
		}
	}
	return dst
}
