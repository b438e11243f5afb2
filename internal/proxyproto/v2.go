package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// The 16 bytes that every header of version 2 has (section 2.2): the signature,
// version and command, family and transport, and the length of the rest.
const (
	v2Start  = "\r\n\r\n\x00\r\nQUIT\n"
	fixedLen = 16

	commandAt = 12
	familyAt  = 13
	lengthAt  = 14
)

// Versions with their commands, and the families with their transports that the
// document lists. It has no other pair of the two, not even of known ones.
const (
	localCommand = 0x20
	proxyCommand = 0x21

	unspec       = 0x00
	tcp4         = 0x11
	udp4         = 0x12
	tcp6         = 0x21
	udp6         = 0x22
	unixStream   = 0x31
	unixDatagram = 0x32
)

// maxUniqueID is in bytes (section 2.2.5).
const maxUniqueID = 128

// parseV2 reads a binary header (section 2.2).
//
// What follows a LOCAL command is left unread, its family too: the document has
// it discarded, and the connection accepted. UNSPEC means addresses of no bytes,
// which is how HAProxy sends TLVs without them.
func parseV2(b []byte) (h Header, n int, err error) {
	n, err = fixedPart(b)
	if err != nil || n == 0 || len(b) < n {
		return h, 0, err
	}
	h = Header{Version: 2, Local: true}
	if b[commandAt] == localCommand {
		return h, n, nil
	}
	b = b[:n:n]
	end := fixedLen + addressLen(b[familyAt])
	if block := b[fixedLen:end]; b[familyAt] != unspec && len(block) <= 36 {
		h.Local = false
		h.Src, h.Dst = addresses(block)
	}
	h.TLVs = b[end:]
	return h, n, checkTLVs(b, h.TLVs)
}

// fixedPart checks what has arrived of the first 16 bytes, and returns the length
// of the whole header once they say it.
func fixedPart(b []byte) (n int, err error) {
	if len(b) <= commandAt {
		return 0, nil
	}
	command := b[commandAt]
	switch {
	case command>>4 != 2:
		return 0, bad(2, "the byte behind the signature says version %d", command>>4)
	case command != localCommand && command != proxyCommand:
		return 0, bad(2, "command %d is not LOCAL (0) or PROXY (1)", command&15)
	case len(b) <= familyAt:
		return 0, nil
	}
	addresses := 0
	if command == proxyCommand {
		addresses = addressLen(b[familyAt])
	}
	if addresses < 0 {
		return 0, bad(2, "there is no family and transport %#02x", b[familyAt])
	}
	if len(b) < fixedLen {
		return 0, nil
	}
	n = fixedLen + int(binary.BigEndian.Uint16(b[lengthAt:]))
	switch {
	case n > MaxV2:
		return 0, bad(2, "it says that it has %d bytes; at most %d are accepted", n, MaxV2)
	case n < fixedLen+addresses:
		return 0, bad(2, "a length of %d bytes has no room for the %d of the addresses", n-fixedLen, addresses)
	}
	return n, nil
}

// addressLen is how many bytes the addresses of a family have with their ports;
// less than none if there is no such family.
func addressLen(family byte) int {
	switch family {
	case unspec:
		return 0
	case tcp4, udp4:
		return 2*4 + 2*2
	case tcp6, udp6:
		return 2*16 + 2*2
	case unixStream, unixDatagram:
		return 2 * 108
	}
	return -1
}

// addresses reads two IPv4 or two IPv6 addresses and the ports behind them.
func addresses(block []byte) (src, dst netip.AddrPort) {
	size := (len(block) - 4) / 2
	s, _ := netip.AddrFromSlice(block[:size])
	d, _ := netip.AddrFromSlice(block[size : 2*size])
	ports := block[2*size:]
	return netip.AddrPortFrom(s.Unmap(), binary.BigEndian.Uint16(ports)),
		netip.AddrPortFrom(d.Unmap(), binary.BigEndian.Uint16(ports[2:]))
}

// checkTLVs checks that the TLVs fill the end of a header exactly. A length that
// leads beyond it would have a later reader take the client's bytes for the
// proxy's (CVE-2026-47692).
func checkTLVs(header, tlvs []byte) error {
	sumAt := 0 // where in the header the checksum is
	for len(tlvs) > 0 {
		kind, value, rest, ok := cutTLV(tlvs)
		switch {
		case !ok:
			return bad(2, "the TLV %d bytes before the end of the header runs past it", len(tlvs))
		case kind == CRC32C && (len(value) != 4 || sumAt != 0):
			return bad(2, "there may be one checksum, of four bytes")
		case kind == CRC32C:
			sumAt = len(header) - len(rest) - 4
		case kind == UniqueID && len(value) > maxUniqueID:
			return bad(2, "the unique ID has %d bytes, more than %d", len(value), maxUniqueID)
		case kind == SSL && !validSSL(value):
			return bad(2, "the TLVs within the SSL one do not fill it")
		}
		tlvs = rest
	}
	if sumAt != 0 && checksum(header, sumAt) != binary.BigEndian.Uint32(header[sumAt:]) {
		return bad(2, "the checksum is wrong")
	}
	return nil
}

// validSSL checks the structure of an SSL TLV (section 2.2.6): a byte of flags,
// four of the verification's result, and TLVs.
func validSSL(value []byte) bool {
	if len(value) < 5 {
		return false
	}
	for rest, ok := value[5:], true; len(rest) > 0; {
		if _, _, rest, ok = cutTLV(rest); !ok {
			return false
		}
	}
	return true
}

// checksum computes the CRC32c of a header as if the four bytes at sumAt, where
// it belongs, were zero (section 2.2.3).
func checksum(header []byte, sumAt int) uint32 {
	sum := crc32.Update(0, castagnoli, header[:sumAt])
	sum = crc32.Update(sum, castagnoli, zeros)
	return crc32.Update(sum, castagnoli, header[sumAt+4:])
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeros      = make([]byte, 4)
)
