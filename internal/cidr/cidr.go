// Package cidr tells whether an address is in any of many networks.
//
// Networks are compiled once into ranges that are sorted and do not touch, so
// that looking up is one binary search. It does not know what being in a set
// leads to, nor where the networks come from.
package cidr

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Set is a set of addresses. It never changes, so any number of goroutines may
// ask it; the zero value is the empty set.
//
// A client that came in over IPv6 as ::ffff:192.0.2.1 (RFC 4291, section
// 2.5.5.2) is the IPv4 client 192.0.2.1, and only IPv4 networks hold it: ::/0
// means every client with an IPv6 address of its own.
type Set struct {
	v4 []span[uint32]
	v6 []span[wide]
}

// span is the addresses from first to last, both included.
type span[T any] struct{ first, last T }

// wide is an IPv6 address as a number. As a netip.Addr it would be half as
// long again, and hold a pointer for the garbage collector to follow.
type wide struct{ hi, lo uint64 }

// New compiles a set that holds the addresses of all prefixes. Bits after a
// prefix's length do not matter, networks may overlap, and the zero Prefix
// holds nothing. Prefixes within ::ffff:0:0/96 are IPv4 networks. The slice
// stays the caller's.
func New(prefixes []netip.Prefix) Set {
	var s Set
	for _, p := range prefixes {
		if !p.IsValid() {
			continue
		}
		a, bits := p.Addr(), p.Bits()
		if a.Is4In6() && bits >= 96 {
			a, bits = a.Unmap(), bits-96
		}
		if a.Is4() {
			s.v4 = append(s.v4, span4(number4(a), bits))
		} else {
			s.v6 = append(s.v6, span6(number6(a), bits))
		}
	}
	s.v4 = merge(s.v4, cmp.Compare[uint32], func(a uint32) uint32 { return a + 1 })
	s.v6 = merge(s.v6, wide.compare, wide.next)
	return s
}

// Empty reports whether the set holds no address at all.
func (s *Set) Empty() bool { return len(s.v4) == 0 && len(s.v6) == 0 }

// Contains reports whether a is in the set. A zone is ignored, for no network
// has one. The zero Addr is in no set.
func (s *Set) Contains(a netip.Addr) bool {
	a = a.Unmap()
	switch {
	case a.Is4():
		return contains4(s.v4, number4(a))
	case a.Is6():
		return contains6(s.v6, number6(a))
	}
	return false
}

// contains4 and contains6 are the same search. Written once for both kinds, each
// comparison would be a call.
func contains4(spans []span[uint32], a uint32) bool {
	below, above := 0, len(spans) // spans[:below] start at or before a, spans[above:] after it
	for below < above {
		mid := int(uint(below+above) / 2)
		if spans[mid].first <= a {
			below = mid + 1
		} else {
			above = mid
		}
	}
	return below > 0 && a <= spans[below-1].last
}

func contains6(spans []span[wide], a wide) bool {
	below, above := 0, len(spans)
	for below < above {
		mid := int(uint(below+above) / 2)
		if !a.less(spans[mid].first) {
			below = mid + 1
		} else {
			above = mid
		}
	}
	return below > 0 && !spans[below-1].last.less(a)
}

// merge sorts spans and joins those that overlap or touch.
func merge[T comparable](spans []span[T], compare func(a, b T) int, next func(T) T) []span[T] {
	if len(spans) == 0 {
		return nil
	}
	slices.SortFunc(spans, func(a, b span[T]) int { return compare(a.first, b.first) })
	merged := spans[:1]
	for _, s := range spans[1:] {
		end := &merged[len(merged)-1]
		switch {
		case compare(s.first, end.last) > 0 && s.first != next(end.last):
			merged = append(merged, s)
		case compare(s.last, end.last) > 0:
			end.last = s.last
		}
	}
	return slices.Clip(slices.Clone(merged)) // not holding on to what was joined
}

func span4(a uint32, bits int) span[uint32] {
	host := ^uint32(0) >> bits // shifting by 32 gives 0
	return span[uint32]{a &^ host, a | host}
}

func span6(a wide, bits int) span[wide] {
	host := wide{^uint64(0) >> bits, ^uint64(0)}
	if bits > 64 {
		host.lo >>= bits - 64
	}
	return span[wide]{wide{a.hi &^ host.hi, a.lo &^ host.lo}, wide{a.hi | host.hi, a.lo | host.lo}}
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func number6(a netip.Addr) wide {
	b := a.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a wide) less(b wide) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func (a wide) compare(b wide) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

// next of the last address is the first: no span follows that one anyway.
func (a wide) next() wide {
	a.lo++
	if a.lo == 0 {
		a.hi++
	}
	return a
}
