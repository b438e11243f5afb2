package ratelimit

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
)

// KeyAddr is the key of a client's address: all of an IPv4 address, the first
// 64 bits of an IPv6 one, for whoever has one of those has the whole /64 (RFC
// 6177). An IPv4 address written as IPv6 is the IPv4 address. It does not allocate.
func (l *Limiter) KeyAddr(a netip.Addr) uint64 {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return maphash.Bytes(l.seed, b[:])
	}
	b := a.As16() // zeroes for the zero Addr
	return maphash.Bytes(l.seed, b[:8])
}

// KeyBytes is the key of anything else: a header's value, a user's name. The
// bytes stay the caller's. It does not allocate.
func (l *Limiter) KeyBytes(b []byte) uint64 { return maphash.Bytes(l.seed, b) }

// Mix makes one key of two, in this order: the same client under another rule
// has a bucket of its own. At least one must be of KeyAddr or KeyBytes.
func Mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, bits.RotateLeft64(b, 32)^0xd1b54a32d192ed03)
	return hi ^ lo
}
