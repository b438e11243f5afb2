package proxyproto_test

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"

	"weir/internal/proxyproto"
)

const sign = "\r\n\r\n\x00\r\nQUIT\n"

// v2 makes a header with the right length.
func v2(command, family byte, rest ...string) string {
	all := strings.Join(rest, "")
	return v2Long(len(all), command, family, all)
}

// v2Long makes one that says it has n bytes behind the first 16.
func v2Long(n int, command, family byte, rest string) string {
	return sign + string([]byte{command, family, byte(n >> 8), byte(n)}) + rest
}

func tlv(kind byte, value string) string { return tlvLong(len(value), kind, value) }

func tlvLong(n int, kind byte, value string) string {
	return string([]byte{kind, byte(n >> 8), byte(n)}) + value
}

// noSum is the place for a checksum.
var noSum = tlv(0x03, "\x00\x00\x00\x00")

// summed computes the checksum of a header that has a place for it.
func summed(header string) string {
	b := []byte(header)
	at := strings.Index(header, noSum) + 3
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return string(b)
}

// Address blocks: 192.0.2.1:80 to 198.51.100.2:443 and so on.
var (
	block4   = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x00\x50\x01\xbb"
	block6   = unhex("20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "0050" + "01bb")
	mapped   = unhex("00000000000000000000ffffc0000201" + "00000000000000000000ffffc6336402" + "0050" + "01bb")
	mixed    = unhex("00000000000000000000ffffc0000201" + "20010db8000000000000000000000002" + "0050" + "01bb")
	blockNix = "/run/a.sock" + strings.Repeat("\x00", 97) + "/run/b.sock" + strings.Repeat("\x00", 97)
)

func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

const (
	pair4  = "192.0.2.1:80 198.51.100.2:443"
	pair6  = "[2001:db8::1]:80 [2001:db8::2]:443"
	isHere = "local" // the connection's own addresses
)

type good struct{ header, addrs, tlvs string }

var goodV1 = []good{
	{"PROXY TCP4 192.0.2.1 198.51.100.2 80 443\r\n", pair4, ""},
	{"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535 255.255.255.255:65535", ""}, // the longest
	{"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0 0.0.0.0:0", ""},
	{"PROXY TCP4 10.0.0.100 127.0.0.1 1 9\r\n", "10.0.0.100:1 127.0.0.1:9", ""},
	{"PROXY TCP6 2001:db8::1 2001:db8::2 80 443\r\n", pair6, ""},
	{"PROXY TCP6 2001:DB8::1 2001:0db8:0000:0000:0000:0000:0000:0002 80 443\r\n", pair6, ""}, // either case, all digits
	{"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", ""},
	{"PROXY TCP6 :: ::1 0 0\r\n", "[::]:0 [::1]:0", ""},
	{"PROXY TCP6 1:: 1:2:3:4:5:6:7:: 1 2\r\n", "[1::]:1 [1:2:3:4:5:6:7:0]:2", ""},
	{"PROXY TCP6 ::2:3:4:5:6:7:8 1::3:4:5:6:7:8 1 2\r\n", "[0:2:3:4:5:6:7:8]:1 [1:0:3:4:5:6:7:8]:2", ""},
	{"PROXY TCP6 1:2:3:4:5:6:7:8 1:2:3:4:5:6:1.2.3.4 1 2\r\n", "[1:2:3:4:5:6:7:8]:1 [1:2:3:4:5:6:102:304]:2", ""},
	// a client of a socket that is open for both families is an IPv4 client
	{"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 80 443\r\n", pair4, ""},
	{"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 80 443\r\n", "192.0.2.1:80 [2001:db8::2]:443", ""},
	{"PROXY UNKNOWN\r\n", isHere, ""},
	{"PROXY UNKNOWN \r\n", isHere, ""},
	{"PROXY UNKNOWN 192.0.2.1 198.51.100.2 80 443\r\n", isHere, ""},
	{"PROXY UNKNOWN anything \x00\xff at all\r\n", isHere, ""},
	{"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", isHere, ""}, // 107 bytes
}

var goodV2 = []good{
	{v2(0x21, 0x11, block4), pair4, ""},
	{v2(0x21, 0x12, block4), pair4, ""}, // UDP
	{v2(0x21, 0x21, block6), pair6, ""},
	{v2(0x21, 0x22, block6), pair6, ""},
	{v2(0x21, 0x21, mapped), pair4, ""},
	{v2(0x21, 0x21, mixed), "192.0.2.1:80 [2001:db8::2]:443", ""},
	{v2(0x21, 0x11, strings.Repeat("\x00", 12)), "0.0.0.0:0 0.0.0.0:0", ""},
	{v2(0x21, 0x31, blockNix), isHere, ""},
	{v2(0x21, 0x32, blockNix, tlv(0xe0, "x")), isHere, "e0=x"},
	{v2(0x21, 0x00), isHere, ""},
	{v2(0x21, 0x00, tlv(0x02, "a.b")), isHere, "02=a.b"}, // HAProxy's client has a unix socket
	// LOCAL: no address, or one, or what no header has; all of it is discarded
	{v2(0x20, 0x00), isHere, ""},
	{v2(0x20, 0x11), isHere, ""},
	{v2(0x20, 0x11, block4), isHere, ""},
	{v2(0x20, 0x21, block6, tlv(0x02, "a.b")), isHere, ""},
	{v2(0x20, 0x00, tlv(0x03, "none")), isHere, ""},
	{v2(0x20, 0x13, "rubbish"), isHere, ""},
	{v2(0x20, 0xff, tlvLong(9, 0x01, "h2")), isHere, ""},
	// TLVs
	{v2(0x21, 0x11, block4, tlv(0x01, "h2"), tlv(0x02, "example.com"), tlv(0x05, "id-1")), pair4, "01=h2 02=example.com 05=id-1"},
	{v2(0x21, 0x21, block6, tlv(0x04, ""), tlv(0x04, "\x00\x00\x00"), tlv(0x02, "")), pair6, "04= 02="}, // padding, an empty value
	{v2(0x21, 0x11, block4, tlv(0x02, "first"), tlv(0x02, "second")), pair4, "02=first"},
	{v2(0x21, 0x11, block4, tlv(0xea, "\x01vpce-1"), tlv(0xff, "?")), pair4, "ea=\x01vpce-1 ff=?"}, // AWS; kinds of the future
	{v2(0x21, 0x11, block4, tlv(0x05, strings.Repeat("i", 128))), pair4, "05=" + strings.Repeat("i", 128)},
	{v2(0x21, 0x11, block4, tlv(0x20, "\x01\x00\x00\x00\x00"+tlv(0x21, "TLSv1.3")+tlv(0x22, "me"))), pair4, ""},
	{v2(0x21, 0x11, block4, tlv(0x20, "\x00\x00\x00\x00\x01")), pair4, ""},
	{v2(0x21, 0x11, block4, tlv(0x20, "\x07\x00\x00\x00\x00"+tlv(0x28, strings.Repeat("c", 2000)))), pair4, ""}, // a certificate
	{v2(0x21, 0x11, block4, tlv(0x04, strings.Repeat("p", 4096-12-3))), pair4, ""},                              // the longest
	{summed(v2(0x21, 0x11, block4, noSum)), pair4, ""},
	{summed(v2(0x21, 0x00, tlv(0x02, "a.b"), noSum)), isHere, "02=a.b"},
	{summed(v2(0x21, 0x21, block6, tlv(0x01, "h2"), noSum)), pair6, "01=h2"},
	{summed(v2(0x21, 0x11, block4, noSum, tlv(0xea, "\x01vpce-1"), tlv(0x04, strings.Repeat("\x00", 36)))), pair4, "ea=\x01vpce-1"}, // AWS
}

func allGood() []good { return append(append([]good{}, goodV1...), goodV2...) }

// next is what clients send after a header: what would be one at its own place,
// what ends a line, what starts a TLV.
var next = []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY UNKNOWN\r\n", sign, "\r\n", "\n", "\x04\x00\x01x", "\x00", " "}

func TestGood(t *testing.T) {
	for _, g := range allGood() {
		check(t, g.header, g)
		for _, more := range next {
			check(t, g.header+more, g)
		}
		// of less than all nothing can be said
		for i := range g.header {
			if h, n, err := proxyproto.Parse([]byte(g.header[:i])); n != 0 || err != nil || h.Version != 0 {
				t.Errorf("the first %d bytes of %q: %+v, %d, %v", i, g.header, h, n, err)
			}
		}
	}
}

func check(t *testing.T, in string, g good) {
	t.Helper()
	b := []byte(in)
	h, n, err := proxyproto.Parse(b)
	if err != nil || n != len(g.header) {
		t.Errorf("%q: %d bytes, %v, want %d", in, n, err, len(g.header))
		return
	}
	if string(b) != in {
		t.Errorf("%q was changed", in)
	}
	version := 1
	if in[0] != 'P' {
		version = 2
	}
	addrs := isHere
	if !h.Local {
		addrs = h.Src.String() + " " + h.Dst.String()
	} else if h.Src.IsValid() || h.Dst.IsValid() {
		t.Errorf("%q: local, with addresses %v %v", in, h.Src, h.Dst)
	}
	if addrs != g.addrs || h.Version != version {
		t.Errorf("%q: version %d, %s, want %d, %s", in, h.Version, addrs, version, g.addrs)
	}
	for _, want := range strings.Fields(g.tlvs) {
		kind, value, _ := strings.Cut(want, "=")
		if got, ok := h.TLV(unhex(kind)[0]); !ok || string(got) != value {
			t.Errorf("%q: TLV %s is %q, %v, want %q", in, kind, got, ok, value)
		}
	}
	if _, ok := h.TLV(0x77); ok {
		t.Errorf("%q: has a TLV that nobody sent", in)
	}
}

// Values are views; whoever appends to one must not write over the next.
func TestTLVsAreViews(t *testing.T) {
	b := []byte(v2(0x21, 0x11, block4, tlv(proxyproto.ALPN, "h2"), tlv(proxyproto.Authority, "a.b")) + "GET")
	h, n, err := proxyproto.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	alpn, _ := h.TLV(proxyproto.ALPN)
	_ = append(alpn, "3333"...)
	_ = append(h.TLVs, "POST"...)
	if name, _ := h.TLV(proxyproto.Authority); string(name) != "a.b" || string(b[n:]) != "GET" {
		t.Errorf("the name became %q, the rest %q", name, b[n:])
	}
	if _, ok := (proxyproto.Header{TLVs: []byte{1, 0, 9}}).TLV(1); ok {
		t.Error("a TLV beyond the end was found")
	}
}

func TestAllocs(t *testing.T) {
	inputs := [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), nil}
	for _, g := range allGood() {
		inputs = append(inputs, []byte(g.header), []byte(g.header[:len(g.header)-1]))
	}
	for _, in := range inputs {
		n := testing.AllocsPerRun(100, func() {
			h, _, err := proxyproto.Parse(in)
			if err != nil && err != proxyproto.ErrNone {
				t.Fatal(err)
			}
			h.TLV(proxyproto.Authority)
		})
		if n != 0 {
			t.Errorf("%q: Parse allocates %v times, want 0", in, n)
		}
	}
	room, name := make([]byte, 0, 512), []byte("example.com")
	for _, pair := range pairs {
		for version := 1; version <= 2; version++ {
			src, dst := pair[0], pair[1]
			n := testing.AllocsPerRun(100, func() {
				proxyproto.Append(room, version, src, dst,
					proxyproto.TLV{Kind: proxyproto.Authority, Value: name}, proxyproto.TLV{Kind: proxyproto.CRC32C})
			})
			if n != 0 {
				t.Errorf("version %d, %v: Append allocates %v times, want 0", version, pair, n)
			}
		}
	}
}

var pairs = [][2]netip.AddrPort{
	{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("198.51.100.2:443")},
	{netip.MustParseAddrPort("[2001:db8::1]:80"), netip.MustParseAddrPort("[2001:db8::2]:443")},
	{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::2]:443")},
	{netip.MustParseAddrPort("[fe80::1%eth0]:80"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:443")},
	{},
}
