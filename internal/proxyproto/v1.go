package proxyproto

import (
	"bytes"
	"net/netip"
)

// v1Start is what a header of version 1 begins with. A receiver may take five
// bytes for the sign of one, but the space has to follow, so that "PROXYX" is a
// word of some other protocol.
const v1Start = "PROXY "

// parseV1 reads a line (section 2.1). The line is judged before its LF is there:
// once there is a CR, nothing in it can change.
func parseV1(b []byte) (h Header, n int, err error) {
	if len(b) < len(v1Start) {
		return h, 0, nil
	}
	within := b[:min(len(b), MaxV1-1)] // a later CR would have its LF beyond MaxV1
	cr := bytes.IndexAny(within, "\r\n")
	switch {
	case cr < 0 && !mayBegin(within[len(v1Start):]):
		return h, 0, badProtocol(within[len(v1Start):])
	case cr < 0 && len(within) == MaxV1-1:
		return h, 0, bad(1, "no CRLF within %d bytes", MaxV1)
	case cr < 0:
		return h, 0, nil
	case b[cr] == '\n':
		return h, 0, bad(1, "the line ends with LF, not with CRLF")
	}
	if h, err = parseLine(b[len(v1Start):cr]); err != nil {
		return h, 0, err
	}
	switch after := b[cr+1:]; {
	case len(after) == 0:
		return h, 0, nil
	case after[0] != '\n':
		return h, 0, bad(1, "there is a CR without LF")
	}
	return h, cr + 2, nil
}

// mayBegin reports whether the unfinished rest of a line can still name a
// protocol that there is.
func mayBegin(rest []byte) bool {
	return begins(rest, "TCP4 ") || begins(rest, "TCP6 ") || begins(rest, "UNKNOWN ")
}

// parseLine reads what stands between "PROXY " and CRLF. The spaces between the
// fields are single: another one makes an empty field, which none may be, or
// ends up in the last one, which is a number.
func parseLine(line []byte) (h Header, err error) {
	h.Version = 1
	protocol, rest, _ := bytes.Cut(line, space)
	parse := parseIPv4
	switch string(protocol) {
	case "UNKNOWN":
		h.Local = true // what follows is to be ignored
		return h, nil
	case "TCP4":
	case "TCP6":
		parse = parseIPv6
	default:
		return h, badProtocol(protocol)
	}
	src, rest, _ := bytes.Cut(rest, space)
	dst, rest, _ := bytes.Cut(rest, space)
	srcPort, dstPort, _ := bytes.Cut(rest, space)
	if h.Src, err = endpoint(parse, src, srcPort); err != nil {
		return h, err
	}
	h.Dst, err = endpoint(parse, dst, dstPort)
	return h, err
}

func badProtocol(rest []byte) error {
	name, _, _ := bytes.Cut(rest, space)
	return bad(1, "%q is not TCP4, TCP6 or UNKNOWN", name)
}

func endpoint(parse func([]byte) (netip.Addr, bool), addr, port []byte) (netip.AddrPort, error) {
	a, ok := parse(addr)
	if !ok {
		return netip.AddrPort{}, bad(1, "%q is not an address of the family that the line names", addr)
	}
	p, ok := decimal(port, 1<<16-1)
	if !ok {
		return netip.AddrPort{}, bad(1, "%q is not a port from 0 to 65535 without leading zeros", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}

// parseIPv4 reads four numbers. netip.ParseAddr would do the same, but wants a
// string, which it keeps for its error: an allocation for each address.
func parseIPv4(b []byte) (netip.Addr, bool) {
	var a [4]byte
	for i := range a {
		part, rest, more := bytes.Cut(b, dot)
		v, ok := decimal(part, 255)
		if !ok || more != (i < 3) {
			return netip.Addr{}, false
		}
		a[i], b = byte(v), rest
	}
	return netip.AddrFrom4(a), true
}

// parseIPv6 reads eight groups of hexadecimal digits, of which "::" may stand
// for one or more that are zero. The last two may be written as an IPv4 address:
// the document's words do not have that form, but getnameinfo writes mapped
// addresses so, and with it everybody who sends them. A zone is no part of an
// address that another machine could use.
func parseIPv6(b []byte) (netip.Addr, bool) {
	var a [16]byte
	n, gap := 0, -1 // bytes of a that are known; where "::" stands
	if bytes.HasPrefix(b, colons) {
		gap, b = 0, b[2:]
	}
	for n < len(a) && len(b) > 0 {
		v, digits := hexGroup(b)
		if digits > 0 && digits < len(b) && b[digits] == '.' {
			v4, ok := parseIPv4(b)
			if !ok || n > 12 {
				return netip.Addr{}, false
			}
			as4 := v4.As4()
			n, b = n+copy(a[n:], as4[:]), nil
			break
		}
		if digits == 0 {
			return netip.Addr{}, false
		}
		a[n], a[n+1] = byte(v>>8), byte(v)
		n, b = n+2, b[digits:]
		if len(b) == 0 {
			break
		}
		if bytes.HasPrefix(b, colons) && gap < 0 {
			gap, b = n, b[2:]
			continue
		}
		if len(b) == 1 || b[0] != ':' { // another "::" leaves a group without digits
			return netip.Addr{}, false
		}
		b = b[1:]
	}
	if len(b) > 0 || (n == len(a)) != (gap < 0) {
		return netip.Addr{}, false
	}
	if gap >= 0 { // what was read behind the gap belongs to the end
		behind := copy(a[len(a)-(n-gap):], a[gap:n])
		clear(a[gap : len(a)-behind])
	}
	return netip.AddrFrom16(a), true
}

// hexGroup reads up to four hexadecimal digits and says how many there are. A
// fifth is the next thing, and wrong.
func hexGroup(b []byte) (v uint16, digits int) {
	for digits < min(len(b), 4) {
		c := b[digits]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return v, digits
		}
		v = v<<4 | uint16(c)
		digits++
	}
	return v, digits
}

// decimal reads a number up to a limit of at most five digits, without sign and
// leading zeros.
func decimal(b []byte, limit int) (v int, ok bool) {
	if len(b) == 0 || len(b) > 5 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, v <= limit
}

var space, dot, colons = []byte{' '}, []byte{'.'}, []byte("::")
