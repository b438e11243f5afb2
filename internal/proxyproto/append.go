package proxyproto

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Append appends to b the header of a connection from src to dst: a line for
// version 1, otherwise a header of version 2 for TCP.
//
// If one address is IPv4 and the other is not, it is written mapped into IPv6:
// both have to be of one family, and the document wants no UNKNOWN where the
// addresses can be said. Zones are left out. If either address is invalid, the
// header is UNKNOWN or LOCAL, which tells the receiver to use the addresses of
// the connection. A health check, which is for nobody, is such a connection.
//
// TLVs follow in their order, except in version 1 and in LOCAL headers, which
// have none. A CRC32C is computed whatever its Value is, and only the first
// counts. A TLV that would make the header longer than MaxV2 is left out. A
// UniqueID must not be longer than 128 bytes.
//
// Append allocates only if b has no room. It keeps nothing.
func Append(b []byte, version int, src, dst netip.AddrPort, tlvs ...TLV) []byte {
	named := src.IsValid() && dst.IsValid()
	switch {
	case version == 1 && !named:
		return append(b, "PROXY UNKNOWN\r\n"...)
	case version == 1:
		return appendV1(b, src, dst)
	case !named:
		return append(append(b, v2Start...), localCommand, unspec, 0, 0)
	}
	return appendV2(b, src, dst, tlvs)
}

func appendV1(b []byte, src, dst netip.AddrPort) []byte {
	s, d := oneFamily(src.Addr(), dst.Addr())
	if s.Is4() {
		b = append(b, "PROXY TCP4 "...)
	} else {
		b = append(b, "PROXY TCP6 "...)
	}
	b = append(s.AppendTo(b), ' ')
	b = append(d.AppendTo(b), ' ')
	b = strconv.AppendUint(b, uint64(src.Port()), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(dst.Port()), 10)
	return append(b, "\r\n"...)
}

func appendV2(b []byte, src, dst netip.AddrPort, tlvs []TLV) []byte {
	start := len(b)
	b = append(b, v2Start...)
	if s, d := oneFamily(src.Addr(), dst.Addr()); s.Is4() {
		s4, d4 := s.As4(), d.As4()
		b = append(b, proxyCommand, tcp4, 0, 0)
		b = append(append(b, s4[:]...), d4[:]...)
	} else {
		s16, d16 := s.As16(), d.As16()
		b = append(b, proxyCommand, tcp6, 0, 0)
		b = append(append(b, s16[:]...), d16[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b, sumAt := appendTLVs(b, start, tlvs)
	header := b[start:]
	binary.BigEndian.PutUint16(header[lengthAt:], uint16(len(header)-fixedLen))
	if sumAt > 0 {
		binary.BigEndian.PutUint32(header[sumAt:], checksum(header, sumAt))
	}
	return b
}

// appendTLVs appends what fits into the header that begins at start. sumAt is
// where in it the checksum belongs; 0 if none is wanted.
func appendTLVs(b []byte, start int, tlvs []TLV) (_ []byte, sumAt int) {
	for _, t := range tlvs {
		value := t.Value
		if t.Kind == CRC32C {
			value = zeros
		}
		if len(b)-start+tlvHead+len(value) > MaxV2 || t.Kind == CRC32C && sumAt > 0 {
			continue
		}
		b = append(b, t.Kind)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		if t.Kind == CRC32C {
			sumAt = len(b) - start
		}
		b = append(b, value...)
	}
	return b, sumAt
}

// oneFamily returns both addresses as IPv4 if they are, as IPv6 otherwise.
func oneFamily(src, dst netip.Addr) (netip.Addr, netip.Addr) {
	src, dst = src.Unmap(), dst.Unmap()
	if src.Is4() && dst.Is4() {
		return src, dst
	}
	return netip.AddrFrom16(src.As16()), netip.AddrFrom16(dst.As16())
}
