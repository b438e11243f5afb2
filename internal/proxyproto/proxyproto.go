// Package proxyproto reads and writes the header that a proxy puts in front of
// a connection to say for whom it opened it: the PROXY protocol, versions 1 and
// 2, as HAProxy's doc/proxy-protocol.txt has it. Sections named in comments are
// that document's.
//
// It works on bytes that have arrived and does not know connections. How long
// to wait for the rest of a header, whose headers are believed, and that a
// listener wants one at all is the caller's business: the document forbids to
// guess, for then every client could choose its own address.
//
// Reader and writer are ours. github.com/pires/go-proxyproto reads from a
// blocking bufio.Reader, gives up on a line that comes in two reads, looks into
// no TLV before it is asked to, and verifies no checksum: most of what it
// accepts would have to be looked at again, and it allocates for reading and for
// writing. The tests have it as the second opinion on both.
package proxyproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// The longest headers that Parse takes, in bytes.
const (
	// MaxV1 includes the CRLF (section 2.1: the worst case of a line).
	MaxV1 = 107

	// MaxV2 is 4 KiB behind the 16 bytes that every header has. The length field
	// would allow 64 KiB, which a sender could have us keep for each connection.
	// Addresses take 216 bytes at most; a certificate, the largest thing that
	// TLVs are known to carry, one or two KiB.
	MaxV2 = fixedLen + 4<<10
)

// ErrNone says that a connection does not begin with a PROXY header.
var ErrNone = errors.New("no PROXY header")

// Kinds of TLVs (sections 2.2.1 to 2.2.6).
const (
	ALPN      byte = 0x01 // the protocol that the client chose in its TLS handshake
	Authority byte = 0x02 // the host name that the client asked for, usually its SNI
	CRC32C    byte = 0x03 // a checksum of the header; Parse verifies and Append computes it
	UniqueID  byte = 0x05 // names the connection; at most 128 bytes
	SSL       byte = 0x20 // of the client's TLS: flags, verification, and TLVs of its own
)

// Header is what a PROXY header says.
type Header struct {
	Version int // 1 or 2

	// Local says that the header names no client that has an IP address: it is
	// UNKNOWN, LOCAL or UNSPEC, or about unix sockets. The connection's own
	// addresses hold; Src and Dst are invalid.
	Local bool

	// Src is the client, Dst what it connected to. An IPv4 address is one, even
	// where the header has it mapped into IPv6: rules for IPv4 networks must not
	// miss it.
	Src, Dst netip.AddrPort

	// TLVs is what follows the addresses in version 2: whole TLVs, as TLV reads
	// them. It is a view of the bytes that were parsed. Values are what the
	// sender wrote: no text is known to be printable, or a host name.
	TLVs []byte
}

// TLV is a piece of information besides the addresses (section 2.2).
type TLV struct {
	Kind  byte
	Value []byte
}

// TLV returns the value of the first TLV of a kind, which may be empty, and
// whether there is one. The value is a view of what was parsed.
func (h Header) TLV(kind byte) ([]byte, bool) {
	for rest := h.TLVs; len(rest) > 0; {
		k, value, after, ok := cutTLV(rest)
		if !ok {
			break
		}
		if k == kind {
			return value, true
		}
		rest = after
	}
	return nil, false
}

// Parse reads the header that b, the first bytes of a connection, begins with.
//
//   - n > 0: h is that header and n its length in bytes; what follows it is the
//     client's.
//   - n == 0 and no error: it may become a header. More bytes are needed, but
//     never more than MaxV2 in all.
//   - ErrNone: it is not one. Everything is the client's.
//   - any other error: it begins like a header and is malformed, or too long; the
//     error says in what. Nothing in b can be trusted, the connection has to be
//     closed (section 2.1).
//
// Errors come as early as the bytes allow. Parse does not change b, and allocates
// only errors; h refers to b.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case len(b) == 0:
		return Header{}, 0, nil
	case b[0] == v1Start[0] && begins(b, v1Start):
		h, n, err = parseV1(b)
	case b[0] == v2Start[0] && begins(b, v2Start):
		h, n, err = parseV2(b)
	default:
		return Header{}, 0, ErrNone
	}
	if n == 0 || err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

// begins reports whether b begins with a text, or is itself the beginning of it.
func begins(b []byte, with string) bool {
	n := min(len(b), len(with))
	return string(b[:n]) == with[:n]
}

// cutTLV takes the first TLV off b. It reports false if it runs past the end.
func cutTLV(b []byte) (kind byte, value, rest []byte, ok bool) {
	if len(b) < tlvHead {
		return 0, nil, nil, false
	}
	end := tlvHead + int(binary.BigEndian.Uint16(b[1:]))
	if end > len(b) {
		return b[0], nil, nil, false
	}
	return b[0], b[tlvHead:end:end], b[end:], true
}

// tlvHead is the length of a TLV's kind and length.
const tlvHead = 3

// bad makes the error of a malformed header. What it quotes of it is bounded, as
// the header is.
func bad(version int, format string, args ...any) error {
	return fmt.Errorf("PROXY header, version %d: %w", version, fmt.Errorf(format, args...))
}
