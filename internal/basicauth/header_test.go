package basicauth

import (
	"encoding/base64"
	"strings"
	"testing"
)

// basic is the Authorization value of a client that is well-behaved.
func basic(plain string) []byte {
	return []byte("Basic " + base64.StdEncoding.EncodeToString([]byte(plain)))
}

func TestParseHeader(t *testing.T) {
	good := func(header []byte, name, pass string) {
		t.Helper()
		var c credentials
		if !c.parse(header) || string(c.name()) != name || string(c.pass()) != pass {
			t.Errorf("%q: %q and %q, want %q and %q", header, c.name(), c.pass(), name, pass)
		}
	}
	// the examples of RFC 7617
	good([]byte("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "Aladdin", "open sesame")
	good([]byte("Basic dGVzdDoxMjPCow=="), "test", "123£")

	good([]byte("bAsIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "Aladdin", "open sesame")
	good(basic("a:"), "a", "")
	good(basic("a:b:c"), "a", "b:c") // only a name cannot have a colon
	good(basic("jos\xe9:\xff"), "jos\xe9", "\xff")
	long, longest := strings.Repeat("n", maxName), strings.Repeat("p", maxPassword)
	good(basic(long+":"+longest), long, longest)

	bad := func(header string) {
		t.Helper()
		var c credentials
		if c.parse([]byte(header)) {
			t.Errorf("%q: %q and %q, want nothing", header, c.name(), c.pass())
		}
	}
	// other schemes, and none
	bad("")
	bad("Basic")
	bad("Basic ")
	bad("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
	bad("BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==")
	bad("Basic\tQWxhZGRpbjpvcGVuIHNlc2FtZQ==")
	bad("QWxhZGRpbjpvcGVuIHNlc2FtZQ==")

	// one text has one encoding
	bad("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ")       // no padding
	bad("Basic QWxhZGRpbjpvcGVuIHNlc2FtZR==")     // bits after the end
	bad("Basic QWxhZGRpbjpv\r\ncGVuIHNlc2FtZQ==") // line ends, which the decoder skips
	bad("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== ")
	bad("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, Basic QTpC")
	bad("Basic YTpi\xff")
	bad("Basic _-_-") // the other alphabet

	// what no user can have
	bad(string(basic("no colon")))
	bad(string(basic(":no name")))
	bad(string(basic("a:b\x00")))
	bad(string(basic("a\n:b")))
	bad(string(basic("a:b\x7f")))
	bad(string(basic(long + "n:" + longest)))
	bad(string(basic(long + ":" + longest + "p")))
	bad(string(basic("a:" + longest + "p")))
	bad("Basic " + strings.Repeat("A", 1<<20))
}

// What is accepted is exactly what the same name and password are encoded to.
func FuzzParseHeader(f *testing.F) {
	f.Add([]byte("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="))
	f.Add([]byte("basic  dGVzdDoxMjPCow=="))
	f.Add(basic(strings.Repeat("n", maxName) + ":" + strings.Repeat("p", maxPassword)))
	f.Fuzz(func(t *testing.T, header []byte) {
		var c credentials
		if !c.parse(header) {
			return
		}
		again := string(basic(string(c.name()) + ":" + string(c.pass())))
		scheme, rest, _ := strings.Cut(string(header), " ")
		if !strings.EqualFold(scheme, "basic") || "Basic "+strings.TrimLeft(rest, " ") != again {
			t.Fatalf("%q became %q", header, again)
		}
		if len(c.name()) == 0 || len(c.name()) > maxName || len(c.pass()) > maxPassword || strings.Contains(string(c.name()), ":") {
			t.Fatalf("%q: %q and %q", header, c.name(), c.pass())
		}
	})
}
