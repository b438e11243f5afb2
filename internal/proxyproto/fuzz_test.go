package proxyproto_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	pires "github.com/pires/go-proxyproto"

	"weir/internal/proxyproto"
)

func addHeaders(f *testing.F) {
	for _, g := range allGood() {
		f.Add([]byte(g.header))
		f.Add([]byte(g.header + "GET / HTTP/1.1\r\n\r\n"))
	}
	for _, w := range append(append([]wrong{}, badV1...), badV2...) {
		f.Add([]byte(w.header))
	}
}

// FuzzParse looks at bytes that somebody sent: what is decided of a part holds for
// the whole, and a header that was read and written again says the same.
func FuzzParse(f *testing.F) {
	addHeaders(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		h, n, err := proxyproto.Parse(b)
		if !bytes.Equal(b, before) {
			t.Fatalf("%q became %q", before, b)
		}
		steady(t, b)
		switch {
		case err != nil && (n != 0 || h.Version != 0):
			t.Fatalf("%q: %v, and %+v of %d bytes", b, err, h, n)
		case n == 0 && err == nil && len(b) >= proxyproto.MaxV2:
			t.Fatalf("%q: still wants more", b)
		case n == 0:
			return
		case n > len(b) || h.Version == 1 && n > proxyproto.MaxV1 || n > proxyproto.MaxV2:
			t.Fatalf("%q: a header of %d bytes", b, n)
		case h.Local == h.Src.IsValid() || h.Local == h.Dst.IsValid() || h.Src.Addr().Is4In6() || h.Dst.Addr().Is4In6():
			t.Fatalf("%q: %+v", b, h)
		}
		again(t, h)
	})
}

// again writes a header that was read, and reads it.
func again(t *testing.T, h proxyproto.Header) {
	t.Helper()
	tlvs := split(t, h.TLVs)
	b := proxyproto.Append(nil, h.Version, h.Src, h.Dst, tlvs...)
	got, n, err := proxyproto.Parse(append(b, "GET"...))
	if err != nil || n != len(b) {
		t.Fatalf("%+v was written as %q: %v", h, b, err)
	}
	if got.Version != h.Version || got.Local != h.Local || got.Src != h.Src || got.Dst != h.Dst {
		t.Fatalf("%+v was written as %q: %+v", h, b, got)
	}
	if h.Local {
		tlvs = nil // LOCAL has none, what was UNSPEC may have had
	}
	for i, have := range split(t, got.TLVs) {
		if have.Kind != tlvs[i].Kind || have.Kind != proxyproto.CRC32C && !bytes.Equal(have.Value, tlvs[i].Value) {
			t.Fatalf("%+v was written as %q: TLV %d is %+v", h, b, i, have)
		}
	}
	if len(split(t, got.TLVs)) != len(tlvs) {
		t.Fatalf("%+v was written as %q: not all TLVs", h, b)
	}
}

func split(t *testing.T, b []byte) (all []proxyproto.TLV) {
	t.Helper()
	for len(b) > 0 {
		end := 3 + int(binary.BigEndian.Uint16(b[1:]))
		all = append(all, proxyproto.TLV{Kind: b[0], Value: b[3:end]})
		b = b[end:]
	}
	return all
}

// FuzzDifferential compares with the library that other Go programs read headers
// with. Who is stricter has to have one of the reasons that are known.
func FuzzDifferential(f *testing.F) {
	addHeaders(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := proxyproto.Parse(b)
		r := bytes.NewReader(b)
		br := bufio.NewReaderSize(r, 2*proxyproto.MaxV2)
		theirs, theirErr := pires.Read(br)
		switch {
		case err == nil && n > 0 && theirErr == nil:
			if used := len(b) - r.Len() - br.Buffered(); used != n {
				t.Fatalf("%q: %d bytes, the library takes %d", b, n, used)
			}
			same(t, b, h, theirs)
		case err == nil && n > 0 && !stricter(b):
			t.Fatalf("%q: %+v, the library: %v", b, h, theirErr)
		case n == 0 && theirErr == nil && !laxer(b, theirs):
			t.Fatalf("%q: %v, the library: %+v", b, err, theirs)
		}
	})
}

// stricter tells what the library refuses though the document allows it: with
// LOCAL a family that there is not ("ignored"), and UNSPEC for a client ("free to
// accept").
func stricter(b []byte) bool {
	command, family := b[12], pires.AddressFamilyAndProtocol(b[13])
	switch family {
	case pires.TCPv4, pires.UDPv4, pires.TCPv6, pires.UDPv6, pires.UnixStream, pires.UnixDatagram:
		return false
	case pires.UNSPEC:
		return b[0] == '\r' && command == 0x21
	}
	return b[0] == '\r' && command == 0x20
}

// laxer tells what the library accepts though the document does not: TLVs it has
// not looked at, and a CR in the middle of an UNKNOWN line.
func laxer(b []byte, h *pires.Header) bool {
	if h.Version == 1 {
		line, _, _ := bytes.Cut(b, []byte("\n"))
		return h.Command.IsLocal() && bytes.IndexByte(line, '\r') < len(line)-1
	}
	tlvs, err := h.TLVs()
	if err != nil {
		return true
	}
	for _, v := range tlvs {
		switch byte(v.Type) {
		case proxyproto.CRC32C, proxyproto.SSL, proxyproto.UniqueID:
			return true
		}
	}
	return false
}

func same(t *testing.T, b []byte, h proxyproto.Header, theirs *pires.Header) {
	t.Helper()
	local := theirs.Command.IsLocal() || theirs.TransportProtocol.IsUnix()
	if h.Version != int(theirs.Version) || h.Local != local {
		t.Fatalf("%q: %+v, the library: %+v", b, h, theirs)
	}
	if !local && (h.Src != addrPort(theirs.SourceAddr) || h.Dst != addrPort(theirs.DestinationAddr)) {
		t.Fatalf("%q: %+v, the library: %+v", b, h, theirs)
	}
	tlvs, err := theirs.TLVs()
	if err != nil && !theirs.Command.IsLocal() {
		t.Fatalf("%q: the library finds wrong TLVs: %v", b, err)
	}
	for i, v := range split(t, h.TLVs) {
		if v.Kind != byte(tlvs[i].Type) || v.Kind != 0x04 && !bytes.Equal(v.Value, tlvs[i].Value) {
			t.Fatalf("%q: TLV %d is %+v, the library: %+v", b, i, v, tlvs[i])
		}
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// FuzzAppend compares what is written, byte by byte.
func FuzzAppend(f *testing.F) {
	f.Add(1, "192.0.2.1", "198.51.100.2", uint16(80), uint16(443), "")
	f.Add(2, "2001:db8::1", "::ffff:1.2.3.4", uint16(0), uint16(65535), "a.b")
	f.Add(2, "fe80::1%eth0", "::", uint16(1), uint16(2), "")
	f.Add(1, "", "1.2.3.4", uint16(1), uint16(2), "x")
	f.Fuzz(func(t *testing.T, version int, src, dst string, srcPort, dstPort uint16, name string) {
		s, _ := netip.ParseAddr(src)
		d, _ := netip.ParseAddr(dst)
		sp, dp := netip.AddrPortFrom(s, srcPort), netip.AddrPortFrom(d, dstPort)
		if version != 1 {
			version = 2
		}
		tlvs := []proxyproto.TLV{{Kind: proxyproto.Authority, Value: []byte(name)}}
		got := proxyproto.Append(nil, version, sp, dp, tlvs...)

		h := pires.HeaderProxyFromAddrs(byte(version), net.TCPAddrFromAddrPort(sp), net.TCPAddrFromAddrPort(dp))
		if !h.Command.IsLocal() && len(name) < 4000 {
			if err := h.SetTLVs([]pires.TLV{{Type: pires.PP2_TYPE_AUTHORITY, Value: []byte(name)}}); err != nil {
				t.Fatal(err)
			}
		}
		want, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) && len(name) < 4000 {
			t.Errorf("version %d, %v %v %q:\n%q, the library:\n%q", version, sp, dp, name, got, want)
		}
		if _, n, err := proxyproto.Parse(got); err != nil || n != len(got) {
			t.Errorf("version %d, %v %v %q: %q: %v", version, sp, dp, name, got, err)
		}
	})
}

func allLines() (lines []string) {
	for _, g := range goodV1 {
		lines = append(lines, g.header)
	}
	for _, w := range badV1 {
		lines = append(lines, w.header)
	}
	return lines
}

// FuzzAddress compares our reading of addresses with the standard library's, which
// knows zones besides.
func FuzzAddress(f *testing.F) {
	f.Add("fe80::1%a")
	for _, line := range allLines() {
		if fields := strings.Fields(line); len(fields) == 6 {
			f.Add(fields[2])
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, " \r\n") || len(s) > 60 {
			return
		}
		want, err := netip.ParseAddr(s)
		for family, ok := range map[string]bool{"TCP4": want.Is4(), "TCP6": want.Is6() && want.Zone() == ""} {
			other := map[string]string{"TCP4": "0.0.0.0", "TCP6": "::"}[family]
			h, n, ours := proxyproto.Parse([]byte("PROXY " + family + " " + s + " " + other + " 1 2\r\n"))
			if (n > 0) != ok || ok && h.Src.Addr() != want.Unmap() {
				t.Errorf("%s %q: %v %v, the standard library: %v %v", family, s, h.Src, ours, want, err)
			}
		}
	})
}
