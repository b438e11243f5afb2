package proxyproto_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"weir/internal/proxyproto"
)

func TestAppend(t *testing.T) {
	f := func(version int, src, dst, want string, tlvs ...proxyproto.TLV) {
		t.Helper()
		got := proxyproto.Append([]byte("before"), version, endpoint(src), endpoint(dst), tlvs...)
		if string(got) != "before"+want {
			t.Errorf("version %d, %s %s:\n%q, want\n%q", version, src, dst, got, "before"+want)
		}
	}
	name := proxyproto.TLV{Kind: proxyproto.Authority, Value: []byte("a.b")}

	f(1, "192.0.2.1:80", "198.51.100.2:443", "PROXY TCP4 192.0.2.1 198.51.100.2 80 443\r\n")
	f(1, "[2001:db8::1]:80", "[2001:db8::2]:0", "PROXY TCP6 2001:db8::1 2001:db8::2 80 0\r\n")
	f(1, "192.0.2.1:80", "198.51.100.2:443", "PROXY TCP4 192.0.2.1 198.51.100.2 80 443\r\n", name) // has no TLVs
	f(2, "192.0.2.1:80", "198.51.100.2:443", v2(0x21, 0x11, block4))
	f(2, "[2001:db8::1]:80", "[2001:db8::2]:443", v2(0x21, 0x21, block6))

	// both are of one family, which is IPv4 only if both are
	f(1, "[::ffff:192.0.2.1]:80", "198.51.100.2:443", "PROXY TCP4 192.0.2.1 198.51.100.2 80 443\r\n")
	f(1, "192.0.2.1:80", "[2001:db8::2]:443", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 80 443\r\n")
	f(1, "[2001:db8::1]:80", "198.51.100.2:443", "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 80 443\r\n")
	f(2, "[::ffff:192.0.2.1]:80", "[::ffff:198.51.100.2]:443", v2(0x21, 0x11, block4))
	f(2, "192.0.2.1:80", "[2001:db8::2]:443", v2(0x21, 0x21, mixed))

	// a zone means nothing to another machine
	f(1, "[fe80::1%eth0]:80", "[fe80::2%eth0]:443", "PROXY TCP6 fe80::1 fe80::2 80 443\r\n")

	// nothing to say, and so nothing about it
	f(1, "", "198.51.100.2:443", "PROXY UNKNOWN\r\n")
	f(1, "192.0.2.1:80", "", "PROXY UNKNOWN\r\n")
	f(2, "", "", v2(0x20, 0x00))
	f(2, "192.0.2.1:80", "", v2(0x20, 0x00), name)

	// TLVs
	f(2, "192.0.2.1:80", "198.51.100.2:443", v2(0x21, 0x11, block4, tlv(0x02, "a.b"), tlv(0x04, "")),
		name, proxyproto.TLV{Kind: 0x04})
	sum := proxyproto.TLV{Kind: proxyproto.CRC32C, Value: []byte("of another header")}
	f(2, "192.0.2.1:80", "198.51.100.2:443", summed(v2(0x21, 0x11, block4, tlv(0x02, "a.b"), noSum)),
		name, sum, sum)

	// what has no room is left out, what comes after it and has some is not
	huge := proxyproto.TLV{Kind: 0xe0, Value: bytes.Repeat([]byte("x"), 1<<16)}
	large := proxyproto.TLV{Kind: 0xe1, Value: bytes.Repeat([]byte("y"), 4096-12-3-5)}
	f(2, "192.0.2.1:80", "198.51.100.2:443",
		v2(0x21, 0x11, block4, tlv(0xe1, strings.Repeat("y", 4096-12-3-5)), tlv(0xe2, "ab")),
		huge, large, name, proxyproto.TLV{Kind: 0xe2, Value: []byte("ab")})
}

func endpoint(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}
