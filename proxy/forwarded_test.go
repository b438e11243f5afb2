package proxy_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/testkit"
)

// spoofed is what a client says of itself.
var spoofed = []string{"Host: site.example:80", "X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 7.7.7.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example",
	"X-Forwarded-Port: 443", "X-Forwarded-Server: s", "X-Forwarded-Prefix: /p", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6;proto=https"}

// A stranger's word counts for nothing.
func TestForwardedFromStrangers(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, ""))
	w := testkit.Start(t, setup{backends: at(b), listener: "trusted_proxies: [10.0.0.0/8]"}.yaml())
	_, port, _ := strings.Cut(w.Addr("web"), ":")
	same(t, without(sent(t, w, b, spoofed...), "X-Request-Id", "Via"),
		"Host: site.example:80", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Port: "+port,
		`Forwarded: for=127.0.0.1;proto=http;host="site.example:80"`, "X-Forwarded-Host: site.example:80")
	if r := records(t, w)[0]; r.ClientIP != "127.0.0.1" {
		t.Errorf("the client is %s", r.ClientIP)
	}
}

// A trusted proxy's word is passed on and continued.
func TestForwardedFromTrustedProxies(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, ""))
	w := testkit.Start(t, setup{backends: at(b), listener: "trusted_proxies: [127.0.0.0/8, 7.7.7.0/24]"}.yaml())
	got := sent(t, w, b, spoofed...)
	same(t, values(got, "X-Forwarded-For"), "6.6.6.6, 7.7.7.7, 127.0.0.1")
	same(t, values(got, "X-Forwarded-Proto"), "https")
	same(t, values(got, "X-Forwarded-Host"), "evil.example")
	same(t, values(got, "X-Forwarded-Port"), "443")
	same(t, values(got, "X-Forwarded-Prefix"), "/p")
	same(t, values(got, "X-Real-Ip"), "6.6.6.6")
	same(t, values(got, "Forwarded"), `for=6.6.6.6;proto=https, for=127.0.0.1;proto=http;host="site.example:80"`)

	// what it did not say is said
	got = sent(t, w, b, "Host: h")
	_, port, _ := strings.Cut(w.Addr("web"), ":")
	same(t, without(got, "X-Request-Id", "Via"), "Host: h", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Port: "+port,
		"X-Forwarded-Host: h", `Forwarded: for=127.0.0.1;proto=http;host="h"`)
}

// The client behind trusted proxies is the last address that is not one of
// them. It decides about routes and stands in the log.
func TestClientBehindTrustedProxies(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Named("inside"))
	w := testkit.Start(t, setup{
		listener: `trusted_proxies: [127.0.0.1, 10.0.0.0/8, "fd00::/8"]`,
		routes:   `{name: in, match: {client_ips: [192.0.2.0/24, "2001:db8::/32"]}, pool: web}, {name: out, respond: {body: outside}}`,
		backends: at(b),
	}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	var clients []string
	f := func(client, body string, lines ...string) {
		t.Helper()
		clients = append(clients, client)
		if r := c.Get("/", lines...); r.Body != body {
			t.Errorf("%q: %v, want %s", lines, r, body)
		}
	}
	f("127.0.0.1", "outside")
	f("192.0.2.1", "inside", "X-Forwarded-For: 192.0.2.1")
	f("192.0.2.1", "inside", "X-Forwarded-For: 8.8.8.8, 192.0.2.1, 10.0.0.1")
	f("192.0.2.1", "inside", "X-Forwarded-For: 8.8.8.8", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.1,10.0.0.2")
	f("8.8.8.8", "outside", "X-Forwarded-For: 192.0.2.1, 8.8.8.8")
	f("192.0.2.1", "inside", "X-Forwarded-For: 192.0.2.1:4711")
	f("2001:db8::1", "inside", "X-Forwarded-For: 2001:db8::1")
	f("2001:db8::1", "inside", "X-Forwarded-For: [2001:db8::1]:4711, fd00::1")
	f("2001:db8::1", "inside", `X-Forwarded-For: [2001:db8::1]`)
	f("192.0.2.1", "inside", "X-Forwarded-For: ::ffff:192.0.2.1")
	// what is no address ends the chain: the proxy that said it is the last known
	f("10.0.0.9", "outside", "X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.9")
	f("127.0.0.1", "outside", "X-Forwarded-For: 192.0.2.1, ")
	for i, r := range records(t, w) {
		if r.ClientIP != clients[i] {
			t.Errorf("request %d: client_ip %s, want %s", i, r.ClientIP, clients[i])
		}
	}
}

// Trust is looked up in the running configuration, also for connections that
// were open before it.
func TestTrustChangesOnOpenConnections(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	trusting := setup{backends: at(b), listener: "trusted_proxies: [127.0.0.1]"}.yaml()
	w := testkit.Start(t, strings.ReplaceAll(trusting, "127.0.0.1]", "10.0.0.1]"))
	c := testkit.Dial(t, w.Addr("web"))
	f := func(want string) {
		t.Helper()
		if r := c.Get("/", "X-Forwarded-For: 6.6.6.6"); !strings.Contains(r.Body, "\r\nX-Forwarded-For: "+want+"\r\n") {
			t.Errorf("want %s: %v", want, r)
		}
	}
	f("127.0.0.1")
	w.Apply(trusting)
	f("6.6.6.6, 127.0.0.1")
	w.Rollback(0)
	f("127.0.0.1")
}

// A Unix socket has no client address.
func TestForwardedOnUnixSocket(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, ""))
	path := filepath.Join(t.TempDir(), "s")
	w := testkit.Start(t, strings.Replace(before(b), "127.0.0.1:0", "unix:"+path, 1))
	got := sent(t, w, b, "Host: h", "X-Forwarded-For: 6.6.6.6")
	same(t, without(got, "X-Request-Id", "Via"), "Host: h", "X-Forwarded-For: unix", "X-Forwarded-Proto: http", "X-Forwarded-Port: 80",
		`Forwarded: for=_unix;proto=http;host="h"`, "X-Forwarded-Host: h")
	if r := records(t, w)[0]; r.ClientIP != "unix" {
		t.Errorf("the client is %s", r.ClientIP)
	}
}

// IPv6 addresses are bracketed and quoted where the syntax wants it.
func TestForwardedIPv6(t *testing.T) {
	if ln, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here")
	} else {
		ln.Close()
	}
	b := testkit.NewBackend(t, testkit.Answer(200, ""))
	w := testkit.Start(t, strings.Replace(before(b), "127.0.0.1:0", "[::1]:0", 1))
	_, port, _ := net.SplitHostPort(w.Addr("web"))
	same(t, without(sent(t, w, b, "Host: [::1]:80"), "X-Request-Id", "Via"), "Host: [::1]:80", "X-Forwarded-For: ::1", "X-Forwarded-Proto: http",
		"X-Forwarded-Port: "+port, `Forwarded: for="[::1]";proto=http;host="[::1]:80"`, "X-Forwarded-Host: [::1]:80")

	w.Close()

	// an IPv4 client of a dual-stack socket is an IPv4 client
	w = testkit.Start(t, strings.Replace(setup{backends: at(b), listener: "trusted_proxies: [127.0.0.1]"}.yaml(), "127.0.0.1:0", ":0", 1))
	_, port, _ = net.SplitHostPort(w.Addr("web"))
	c := testkit.Dial(t, "127.0.0.1:"+port)
	c.Get("/", "X-Forwarded-For: 192.0.2.1")
	same(t, values(strings.Split(b.Last(), "\r\n"), "X-Forwarded-For"), "192.0.2.1, 127.0.0.1")
	if r := records(t, w)[0]; r.ClientIP != "192.0.2.1" {
		t.Errorf("the client is %s", r.ClientIP)
	}
}
