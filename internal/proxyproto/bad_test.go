package proxyproto_test

import (
	"errors"
	"strings"
	"testing"

	"weir/internal/proxyproto"
)

type wrong struct{ header, why string }

var badV1 = []wrong{
	{"PROXY  TCP4 192.0.2.1 198.51.100.2 80 443\r\n", `"" is not TCP4`},
	{"PROXY\tTCP4 192.0.2.1 198.51.100.2 80 443\r\n", "no PROXY header"},
	{"PROXY tcp4 192.0.2.1 198.51.100.2 80 443\r\n", `"tcp4" is not TCP4`},
	{"PROXY TCP 192.0.2.1 198.51.100.2 80 443\r\n", `"TCP" is not TCP4`},
	{"PROXY TCP5 192.0.2.1 198.51.100.2 80 443\r\n", `"TCP5" is not TCP4`},
	{"PROXY UDP4 192.0.2.1 198.51.100.2 80 443\r\n", `"UDP4" is not TCP4`},
	{"PROXY UNKNOWNX\r\n", `"UNKNOWNX" is not TCP4`},
	{"PROXY UNKNOWN\x00\r\n", `is not TCP4`},
	{"PROXY \r\n", `"" is not TCP4`},
	{"PROXY TCP4\r\n", `"" is not an address`},
	{"PROXY TCP4 \r\n", `"" is not an address`},
	{"PROXY TCP4 192.0.2.1\r\n", `"" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80\r\n", `"" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 \r\n", `"" is not a port`},
	{"PROXY TCP4 192.0.2.1  198.51.100.2 80 443\r\n", `is not a`},
	{"PROXY TCP4  192.0.2.1 198.51.100.2 80 443\r\n", `"" is not an address`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80  443\r\n", `" 443" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 443 \r\n", `"443 " is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 443 x\r\n", `"443 x" is not a port`},
	{"PROXY TCP4 192.0.2.1\t198.51.100.2 80 443\r\n", `is not an address`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 443\x00\r\n", `is not a port`},

	// addresses
	{"PROXY TCP4 192.0.2 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 192.0.2.1. 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 .192.0.2 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 192.0.2.1.1 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 192.0.2.256 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 192.0.02.1 198.51.100.2 80 443\r\n", "is not an address"}, // octal?
	{"PROXY TCP4 192.0.2.1 198.51.100.00 80 443\r\n", "is not an address"},
	{"PROXY TCP4 192.0.2.-1 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 0xc0.0.2.1 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 3221225985 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 192.0.2.1:80 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 client.example 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 2001:db8::1 2001:db8::2 80 443\r\n", "is not an address"},
	{"PROXY TCP4 ::ffff:192.0.2.1 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP6 192.0.2.1 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP6 2001:db8::1 198.51.100.2 80 443\r\n", "is not an address"},
	{"PROXY TCP6 fe80::1%eth0 fe80::2 80 443\r\n", "is not an address"},
	{"PROXY TCP6 [2001:db8::1] 2001:db8::2 80 443\r\n", "is not an address"},
	{"PROXY TCP6 2001:db8::1/64 2001:db8::2 80 443\r\n", "is not an address"},
	{"PROXY TCP6 1::2::3 :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 ::: :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 : :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 :1:2:3:4:5:6:7 :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 1:2:3:4:5:6:7 :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 1:2:3:4:5:6:7: :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 1::2: :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 1:2:3:4:5:6:7:8: :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 1:2:3:4:5:6:7:8:9 :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 1:2:3:4:5:6:7:8:: :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 1:2:3:4::5:6:7:8 :: 80 443\r\n", "is not an address"}, // "::" for nothing
	{"PROXY TCP6 12345:: :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 g:: :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 ::ffff:192.0.2 :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 ::ffff:192.0.2.01 :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 ::192.0.2.1:1 :: 80 443\r\n", "is not an address"},
	{"PROXY TCP6 1:2:3:4:5:6:7:192.0.2.1 :: 80 443\r\n", "is not an address"},

	// ports
	{"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n", `"65536" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 99999\r\n", `"99999" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 080 443\r\n", `"080" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 00 443\r\n", `"00" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 +80 443\r\n", `"+80" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 -1\r\n", `"-1" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 http 443\r\n", `"http" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 0x50 443\r\n", `"0x50" is not a port`},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 4294967376 443\r\n", `is not a port`}, // 80, in 32 bits

	// ends of lines
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 443\n", "not with CRLF"},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 443\r", ""},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 443\rGET", "CR without LF"},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 443\r\r\n", "CR without LF"},
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 443\n\r\n", "not with CRLF"},
	{"PROXY UNKNOWN\n", "not with CRLF"},
	{"PROXY UNKNOWN a\rb\r\n", "CR without LF"},
	{"PROXY UNKNOWN a\nb\r\n", "not with CRLF"},

	// too long, by one and by much (CVE-2021-23409)
	{"PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", "no CRLF within 107 bytes"},
	{"PROXY UNKNOWN " + strings.Repeat("f", 100000), "no CRLF within 107 bytes"},
	{"PROXY TCP4 " + strings.Repeat("1", 100000), "no CRLF within 107 bytes"},
	{"PROXY GET / HTTP/1.1", `"GET" is not TCP4`}, // before the end of the line

	// not of this protocol
	{"PROXYTCP4 192.0.2.1 198.51.100.2 80 443\r\n", "no PROXY header"},
	{"PROXY\r\n", "no PROXY header"},
	{"proxy UNKNOWN\r\n", "no PROXY header"},
	{" PROXY UNKNOWN\r\n", "no PROXY header"},
	{"PUT / HTTP/1.1\r\n", "no PROXY header"},
	{"GET / HTTP/1.1\r\n", "no PROXY header"},
	{"\x16\x03\x01\x02\x00\x01\x00", "no PROXY header"}, // TLS
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "no PROXY header"},
	{"\x00", "no PROXY header"},
}

var badV2 = []wrong{
	{"\r\nGET / HTTP/1.1\r\n", "no PROXY header"}, // an empty line before a request
	{"\r\n\r\n\x00\r\nQUIT\r", "no PROXY header"},
	{"\n" + sign, "no PROXY header"},

	{v2(0x11, 0x11, block4), "says version 1"},
	{v2(0x31, 0x11, block4), "says version 3"},
	{v2(0x01, 0x11, block4), "says version 0"},
	{v2(0x22, 0x11, block4), "command 2"},
	{v2(0x2f, 0x11, block4), "command 15"},
	{v2(0xff, 0x11, block4), "says version 15"},

	// families and transports that there are not, and pairs of which one is unspecified
	{v2(0x21, 0x13, block4), "no family and transport 0x13"},
	{v2(0x21, 0x10, block4), "no family and transport 0x10"},
	{v2(0x21, 0x1f, block4), "no family and transport 0x1f"},
	{v2(0x21, 0x20, block6), "no family and transport 0x20"},
	{v2(0x21, 0x23, block6), "no family and transport 0x23"},
	{v2(0x21, 0x30, blockNix), "no family and transport 0x30"},
	{v2(0x21, 0x33, blockNix), "no family and transport 0x33"},
	{v2(0x21, 0x41, blockNix), "no family and transport 0x41"},
	{v2(0x21, 0xf1, blockNix), "no family and transport 0xf1"},
	{v2(0x21, 0x01), "no family and transport 0x01"},
	{v2(0x21, 0x02), "no family and transport 0x02"},
	{v2(0x21, 0x03), "no family and transport 0x03"},

	// lengths that are lies
	{v2(0x21, 0x11), "no room for the 12 of the addresses"},
	{v2(0x21, 0x11, block4[:11]), "a length of 11 bytes has no room"},
	{v2Long(11, 0x21, 0x11, block4), "a length of 11 bytes has no room"},
	{v2(0x21, 0x21, block4), "no room for the 36 of the addresses"},
	{v2(0x21, 0x22, block6[:35]), "no room for the 36 of the addresses"},
	{v2(0x21, 0x31, blockNix[:215]), "no room for the 216 of the addresses"},
	{v2(0x21, 0x32, block6), "no room for the 216 of the addresses"},
	{v2Long(13, 0x21, 0x11, block4) + "G", "runs past it"},
	{v2Long(12+3, 0x21, 0x11, block4+"GET / HTTP/1.1\r\n"), "runs past it"},

	// too long: at once, not when it is all there (CVE-2021-23409)
	{v2Long(4097, 0x21, 0x11, ""), "it says that it has 4113 bytes; at most 4112"},
	{v2Long(65535, 0x21, 0x11, block4), "65551 bytes"},
	{v2Long(65535, 0x20, 0x00, ""), "65551 bytes"},

	// TLVs that do not fill the rest (CVE-2026-47692)
	{v2(0x21, 0x11, block4, "\x02"), "runs past it"},
	{v2(0x21, 0x11, block4, "\x02\x00"), "runs past it"},
	{v2(0x21, 0x11, block4, tlvLong(1, 0x02, "")), "the TLV 3 bytes before the end"},
	{v2(0x21, 0x11, block4, tlvLong(4, 0x02, "a.b")), "runs past it"},
	{v2(0x21, 0x11, block4, tlvLong(65535, 0x02, "a.b")), "runs past it"},
	{v2(0x21, 0x11, block4, tlvLong(2, 0x02, "a.b")), "the TLV 1 bytes before the end"},
	{v2(0x21, 0x11, block4, tlv(0x01, "h2"), "\x04\x00"), "runs past it"},
	{v2(0x21, 0x00, block4), "runs past it"},
	{v2(0x21, 0x31, blockNix, "x"), "runs past it"},
	{v2(0x21, 0x11, block4, tlv(0x05, strings.Repeat("i", 129))), "the unique ID has 129 bytes"},

	// the same one level below
	{v2(0x21, 0x11, block4, tlv(0x20, "")), "within the SSL one"},
	{v2(0x21, 0x11, block4, tlv(0x20, "\x01\x00\x00\x00")), "within the SSL one"},
	{v2(0x21, 0x11, block4, tlv(0x20, "\x01\x00\x00\x00\x00\x21")), "within the SSL one"},
	{v2(0x21, 0x11, block4, tlv(0x20, "\x01\x00\x00\x00\x00"+tlvLong(8, 0x21, "TLSv1.3"))), "within the SSL one"},
	{v2(0x21, 0x11, block4, tlv(0x20, "\x01\x00\x00\x00\x00"+tlvLong(10, 0x21, "TLSv1.3")), tlv(0x01, "h2")), "within the SSL one"},

	// checksums
	{v2(0x21, 0x11, block4, noSum), "the checksum is wrong"},
	{flip(summed(v2(0x21, 0x11, block4, noSum)), 16), "the checksum is wrong"},
	{flip(summed(v2(0x21, 0x11, block4, noSum)), -1), "the checksum is wrong"},
	{flip(summed(v2(0x21, 0x11, block4, tlv(0xe0, "ab"), noSum)), 32), "the checksum is wrong"},
	{v2(0x21, 0x11, block4, tlv(0x03, "")), "one checksum, of four bytes"},
	{v2(0x21, 0x11, block4, tlv(0x03, "\x00\x00\x00")), "one checksum, of four bytes"},
	{v2(0x21, 0x11, block4, tlv(0x03, "\x00\x00\x00\x00\x00")), "one checksum, of four bytes"},
	{summed(v2(0x21, 0x11, block4, noSum, noSum)), "one checksum, of four bytes"},
}

func flip(header string, at int) string {
	b := []byte(header)
	b[(at+len(b))%len(b)] ^= 1
	return string(b)
}

func TestBad(t *testing.T) {
	for _, w := range append(append([]wrong{}, badV1...), badV2...) {
		_, n, err := proxyproto.Parse([]byte(w.header))
		none := errors.Is(err, proxyproto.ErrNone)
		switch {
		case n != 0:
			t.Errorf("%.200q: accepted", w.header)
		case w.why == "" && err == nil: // not yet decided
		case err == nil || !strings.Contains(err.Error(), w.why) || none != (w.why == proxyproto.ErrNone.Error()):
			t.Errorf("%.200q: %v, want %q", w.header, err, w.why)
		}
		steady(t, []byte(w.header))
	}
}

// steady checks that bytes to come change nothing that has been decided: a header
// stays what it is, an error an error of its kind.
func steady(t *testing.T, b []byte) {
	t.Helper()
	_, n, err := proxyproto.Parse(b)
	for i := range min(len(b), 300) {
		_, early, why := proxyproto.Parse(b[:i])
		switch {
		case early != 0 && early != n:
			t.Fatalf("%q: %d of %d bytes are a header of %d, all of them %d", b, i, len(b), early, n)
		case why != nil && (err == nil || errors.Is(err, proxyproto.ErrNone) != errors.Is(why, proxyproto.ErrNone)):
			t.Fatalf("%q: of %d bytes %v, of all %v", b, i, why, err)
		case early == 0 && why == nil && n > 0 && i >= n:
			t.Fatalf("%q: a header of %d bytes needs more than %d", b, n, i)
		}
	}
}

// Errors do not wait for bytes that change nothing.
func TestEarly(t *testing.T) {
	f := func(prefix string, none bool) {
		t.Helper()
		if _, _, err := proxyproto.Parse([]byte(prefix[:len(prefix)-1])); err != nil {
			t.Errorf("%q without its last byte: %v", prefix, err)
		}
		if _, _, err := proxyproto.Parse([]byte(prefix)); err == nil || errors.Is(err, proxyproto.ErrNone) != none {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	f("G", true)
	f("PU", true)
	f("PROXY:", true)
	f("\r\nG", true)
	f("\r\n\r\n\x00\r\nQUIP", true)

	f("PROXY X", false)
	f("PROXY TCP5", false)
	f("PROXY TCP44", false)
	f("PROXY UNKNOWNS", false)
	f("PROXY UNKNOWN\n", false)
	f("PROXY TCP4 a\n", false)
	f("PROXY TCP4 a\r", false) // the line is complete
	f("PROXY UNKNOWN\rX", false)
	f("PROXY UNKNOWN "+strings.Repeat("x", 92), false) // CRLF would end it at 108

	f(sign+"\x11", false)
	f(sign+"\x22", false)
	f(sign+"\x21\x13", false)
	f(sign+"\x21\x11\x00\x0b", false)
	f(sign+"\x20\x00\x10\x01", false)
	f(sign+"\x21\x11\x00\x0d"+block4+"\x02", false)
}
