package admin_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"weir/internal/admin"
)

func TestTokenGuardsChangesAndTexts(t *testing.T) {
	r := newRig(t, func(o *admin.Options) { o.Token = func() (string, error) { return "s3cret", nil } })

	// what anybody may know
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/v1/status", "/v1/pools", "/v1/versions"} {
		r.do("GET", path, "").is(200)
	}

	// what shows a configuration, costs much, or changes something
	f := func(method, path, body string) {
		t.Helper()
		a := r.do(method, path, body)
		a.problem(401, "token")
		if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
			t.Errorf("%s %s: WWW-Authenticate is %q", method, path, got)
		}
		r.do(method, path, body, "Authorization", "Bearer wrong").problem(401, "token")
		r.do(method, path, body, "Authorization", "Bearer ").problem(401, "token")
		r.do(method, path, body, "Authorization", "Basic s3cret").problem(401, "token")
		if a := r.do(method, path, body, "Authorization", "Bearer s3cret"); a.StatusCode == 401 {
			t.Errorf("%s %s: refused with the token", method, path)
		}
	}
	f("GET", "/v1/config", "")
	f("GET", "/v1/versions/1", "")
	f("GET", "/v1/versions/1/diff/1", "")
	f("GET", "/debug/pprof/cmdline", "")
	f("PUT", "/v1/config", second)
	f("POST", "/v1/rollback", "{}")
	f("POST", "/v1/unpin", "")
	f("PUT", "/v1/pools/api/backends/127.0.0.1:1", `{"admin":"ready"}`)
}

func TestTokenThatCannotBeReadRefuses(t *testing.T) {
	r := newRig(t, func(o *admin.Options) {
		o.Token = func() (string, error) { return "", errors.New("no such file") }
	})
	r.do("PUT", "/v1/config", second).problem(503, "token-unreadable")
	r.do("PUT", "/v1/config", second, "Authorization", "Bearer ").problem(503, "token-unreadable")
	if version, _ := r.control.Config(); version != 1 {
		t.Errorf("version %d runs, want 1", version)
	}
}

func TestForeignOriginsChangeNothing(t *testing.T) {
	r := newRig(t, nil)
	host := strings.TrimPrefix(r.url, "http://")
	f := func(allowed bool, header ...string) {
		t.Helper()
		a := r.do("POST", "/v1/unpin", "", header...)
		if allowed {
			a.is(200)
		} else {
			a.problem(403, "cross-origin")
		}
	}
	// a program, and a page that was loaded from here
	f(true)
	f(true, "Origin", "http://"+host, "Sec-Fetch-Site", "same-origin")
	f(true, "Origin", "https://"+host) // behind something that ends TLS
	f(true, "Sec-Fetch-Site", "same-origin")

	// a page of anybody else's
	f(false, "Origin", "http://evil.example")
	f(false, "Origin", "null")
	f(false, "Origin", "http://127.0.0.1:1")
	f(false, "Origin", "::not an origin::")
	f(false, "Sec-Fetch-Site", "cross-site")
	f(false, "Sec-Fetch-Site", "same-site")
	f(false, "Sec-Fetch-Site", "none") // nobody types a POST into an address bar
	f(false, "Origin", "http://"+host, "Sec-Fetch-Site", "cross-site")

	// reading a text is as good as changing it, reading a status is not
	r.do("GET", "/v1/config", "", "Origin", "http://evil.example").problem(403, "cross-origin")
	r.do("GET", "/v1/status", "", "Origin", "http://evil.example").is(200)
}

func TestHostOnLoopback(t *testing.T) {
	r := newRig(t, func(o *admin.Options) { o.Addr = loopback })
	f := func(host string, allowed bool) {
		t.Helper()
		if a := r.do("GET", "/v1/status", "", "Host", host); allowed {
			a.is(200)
		} else {
			a.problem(403, "foreign-host")
		}
	}
	f("localhost", true)
	f("LOCALHOST:1234", true) // a tunnel from another port
	f("localhost.:9900", true)
	f("weir.localhost", true)
	f("127.0.0.1:9900", true)
	f("127.9.9.9", true)
	f("[::1]:9900", true)
	f("[::1]", true)

	f("rebound.example", false)
	f("rebound.example:9900", false)
	f("127.0.0.1.example", false)
	f("localhost.example", false)
	f("notlocalhost", false)
	f("10.0.0.1:9900", false)
	f("[2001:db8::1]:9900", false)
}

// Who is reached from elsewhere goes by any name, and has a token.
func TestHostElsewhere(t *testing.T) {
	r := newRig(t, func(o *admin.Options) { o.Addr = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 9900} })
	for _, host := range []string{"weir.example", "10.0.0.1:9900", "localhost"} {
		r.do("GET", "/v1/status", "", "Host", host).is(200)
	}
}

func TestChangesAreLoggedWithTheirAuthor(t *testing.T) {
	r := newRig(t, nil)
	r.do("GET", "/v1/status", "", "X-Weir-Author", "ann").is(200)
	if n := r.logs.Len(); n != 0 {
		t.Errorf("%d log lines about reading, want none", n)
	}
	r.do("PUT", "/v1/config", second, "X-Weir-Author", "ann").is(200)
	r.do("PUT", "/v1/config", broken, "X-Weir-Author", "bob\u202e"+strings.Repeat("x", 200)).is(422)
	r.do("POST", "/v1/rollback", "{}").is(200)

	entries := r.logs.All()
	if len(entries) != 3 {
		t.Fatalf("%d log lines, want 3", len(entries))
	}
	f := func(i int, author, message string) {
		t.Helper()
		if got := entries[i].ContextMap()["author"]; got != author || entries[i].Message != message {
			t.Errorf("line %d: %q by %q, want %q by %q", i, entries[i].Message, got, message, author)
		}
	}
	f(0, "ann (127.0.0.1)", "admin request")
	// nothing that turns the line around, and not a page of it
	f(1, "bob"+strings.Repeat("x", 61)+" (127.0.0.1)", "admin request refused")
	f(2, "127.0.0.1", "admin request")

	// the history has it too
	if v, _, err := r.control.Version(2); err != nil || v.Author != "ann (127.0.0.1)" {
		t.Errorf("version 2 is by %q (%v)", v.Author, err)
	}
}
