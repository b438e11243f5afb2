package cidr_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/internal/cidr"
)

func prefixes(list string) (parsed []netip.Prefix) {
	for p := range strings.FieldsSeq(list) {
		parsed = append(parsed, netip.MustParsePrefix(p))
	}
	return parsed
}

func TestContains(t *testing.T) {
	f := func(networks, in, out string) {
		t.Helper()
		s := cidr.New(prefixes(networks))
		for a := range strings.FieldsSeq(in) {
			if !s.Contains(netip.MustParseAddr(a)) {
				t.Errorf("%s is not in %q", a, networks)
			}
		}
		for a := range strings.FieldsSeq(out) {
			if s.Contains(netip.MustParseAddr(a)) {
				t.Errorf("%s is in %q", a, networks)
			}
		}
	}
	// the ends of a network, and what is next to them
	f("10.0.0.0/8", "10.0.0.0 10.255.255.255", "9.255.255.255 11.0.0.0 ::a00:0")
	f("2001:db8::/32", "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff:: 2001:db9::")
	f("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1:: 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff")
	f("2001:db8::8/125", "2001:db8::8 2001:db8::f", "2001:db8::7 2001:db8::10")

	// one address, and all of them
	f("192.0.2.1/32 ::1/128", "192.0.2.1 ::1", "192.0.2.0 192.0.2.2 :: ::2")
	f("0.0.0.0/0", "0.0.0.0 255.255.255.255", ":: ::1")
	f("::/0", ":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0 192.0.2.1")

	// bits after the prefix do not matter
	f("192.0.2.77/24", "192.0.2.1", "192.0.3.1")

	// networks inside, next to and far from each other, in any order
	f("10.1.0.0/16 10.0.0.0/8 11.0.0.0/8 192.0.2.0/24", "10.1.2.3 10.2.0.0 11.255.255.255 192.0.2.255", "12.0.0.0 192.0.1.255")

	// an IPv4 client is one, however its address is written
	f("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1")
	f("::ffff:10.0.0.0/104", "10.0.0.1 ::ffff:10.0.0.1", "11.0.0.1")
	f("::ffff:0:0/96", "1.2.3.4", "::1")
	f("::/0 ::ffff:0.0.0.0/95", "::1", "1.2.3.4 ::ffff:1.2.3.4")

	// zones are of the machine, not of the network
	f("fe80::/10", "fe80::1%eth0 fe80::1", "fec0::1%eth0")
}

func TestEmpty(t *testing.T) {
	var zero cidr.Set
	for name, s := range map[string]cidr.Set{
		"zero value": zero, "of nothing": cidr.New(nil), "of an invalid prefix": cidr.New(make([]netip.Prefix, 1)),
	} {
		if !s.Empty() || s.Contains(netip.IPv4Unspecified()) || s.Contains(netip.IPv6Unspecified()) {
			t.Errorf("%s: not empty", name)
		}
	}
	s := cidr.New(prefixes("::1/128"))
	if s.Empty() {
		t.Error("::1/128 is empty")
	}
	if s.Contains(netip.Addr{}) {
		t.Error("the zero address is in a set")
	}
}

// New must not sort the slice that it was given.
func TestNewLeavesItsArgument(t *testing.T) {
	given := prefixes("192.0.2.0/24 10.0.0.0/8 ::1/128")
	kept := slices.Clone(given)
	cidr.New(given)
	if !slices.Equal(given, kept) {
		t.Errorf("became %v", given)
	}
}

// naive asks every prefix in turn.
func naive(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Contains(a)
	})
}

// check compares the set with naive at the networks' ends and beside them,
// which is where it could go wrong, and at addresses of the caller's.
func check(t *testing.T, networks []netip.Prefix, more ...netip.Addr) {
	t.Helper()
	s := cidr.New(networks)
	ask := more
	for _, p := range networks {
		first, last := p.Masked().Addr(), lastOf(p)
		ask = append(ask, first, first.Prev(), last, last.Next())
	}
	for _, a := range ask {
		if got, want := s.Contains(a), naive(networks, a); got != want {
			t.Fatalf("%v in %v: %v, want %v", a, networks, got, want)
		}
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// network makes a prefix from bytes: few distinct ones, so that they meet.
func network(kind, bits byte, a uint32) netip.Prefix {
	switch kind % 4 {
	case 0, 1:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], a)
		return netip.PrefixFrom(netip.AddrFrom4(b), int(bits%33))
	case 2:
		b := [16]byte{10: 0xff, 11: 0xff}
		binary.BigEndian.PutUint32(b[12:], a)
		return netip.PrefixFrom(netip.AddrFrom16(b), int(bits)%129)
	}
	var b [16]byte
	binary.BigEndian.PutUint32(b[:], a)
	binary.BigEndian.PutUint32(b[6:], a*a)
	binary.BigEndian.PutUint32(b[12:], ^a)
	return netip.PrefixFrom(netip.AddrFrom16(b), int(bits)%129)
}

func TestAgainstNaive(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		networks := make([]netip.Prefix, random.IntN(40))
		for i := range networks {
			a := random.Uint32()
			if random.IntN(2) == 0 {
				a &= 0xff0000ff // neighbours and duplicates
			}
			networks[i] = network(byte(random.Uint32()), byte(random.Uint32()), a)
		}
		more := network(byte(random.Uint32()), 0, random.Uint32()).Addr()
		check(t, networks, more, more.WithZone("eth0"))
	}
}

func FuzzContains(f *testing.F) {
	f.Add([]byte("\x00\x08\x0a\x00\x00\x00\x03\x20\x0a\x00\x00\x00"), uint32(0x0a000001))
	f.Add([]byte("\x02\x68\x0a\x00\x00\x00\x02\x5f\x0a\x00\x00\x00\x03\x00\x00\x00\x00\x00"), uint32(1))
	f.Fuzz(func(t *testing.T, made []byte, a uint32) {
		var networks []netip.Prefix
		for ; len(made) >= 6 && len(networks) < 100; made = made[6:] {
			networks = append(networks, network(made[0], made[1], binary.BigEndian.Uint32(made[2:])))
		}
		check(t, networks, network(0, 0, a).Addr(), network(2, 0, a).Addr(), network(3, 0, a).Addr())
	})
}

// many makes n networks as a blocklist has them: /16 to /32, or /32 to /64.
func many(n int, v6 bool) []netip.Prefix {
	random := rand.New(rand.NewPCG(3, 4))
	networks := make([]netip.Prefix, n)
	for i := range networks {
		if v6 {
			networks[i] = network(3, byte(32+random.IntN(33)), random.Uint32())
		} else {
			networks[i] = network(0, byte(16+random.IntN(17)), random.Uint32())
		}
	}
	return networks
}

func TestAllocContains(t *testing.T) {
	s := cidr.New(append(many(1000, false), many(1000, true)...))
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth0")
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	n := testing.AllocsPerRun(1000, func() {
		s.Contains(four)
		s.Contains(six)
		s.Contains(mapped)
	})
	if n != 0 {
		t.Errorf("Contains allocates %v times, want 0", n)
	}
}

// Addresses are taken in turn from many: the same one again and again would
// teach the processor the way.
func BenchmarkContains(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		for _, v6 := range []bool{false, true} {
			b.Run(fmt.Sprintf("v6=%v/%d", v6, n), func(b *testing.B) {
				s := cidr.New(many(n, v6))
				var clients [4096]netip.Addr
				for i, p := range many(len(clients)*2, v6)[len(clients):] {
					clients[i] = p.Addr()
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					s.Contains(clients[i%len(clients)])
				}
			})
		}
	}
}
