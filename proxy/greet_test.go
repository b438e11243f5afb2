package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/proxyproto"
	"weir/internal/testkit"
)

func hello(version int, src, dst string) string {
	return string(proxyproto.Append(nil, version, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)))
}

const ask4 = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

func TestProxyProtocol(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, setup{backends: at(b), listener: "trusted_proxies: [127.0.0.1, 10.0.0.1], proxy_protocol: require"}.yaml(), o)
		f := func(hello, client, port string) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			for i := range hello { // in pieces
				c.Send(hello[i : i+1])
				if i%10 == 0 {
					c.Silent(time.Millisecond)
				}
			}
			for i := range 2 {
				if i == 1 {
					time.Sleep(parkedAfter) // it is remembered
				}
				c.Send(ask4)
				r := c.Read("GET")
				if !strings.Contains(r.Body, "X-Forwarded-For: "+client+"\r\n") || !strings.Contains(r.Body, "X-Forwarded-Port: "+port+"\r\n") {
					t.Errorf("%q: %v", hello, r)
				}
			}
		}
		own := w.Addr("web")[len("127.0.0.1:"):]
		f(hello(1, "192.0.2.1:1000", "192.0.2.2:443"), "192.0.2.1", "443")
		f(hello(2, "192.0.2.1:1000", "192.0.2.2:443"), "192.0.2.1", "443")
		f(hello(2, "[2001:db8::1]:1000", "[2001:db8::2]:80"), "2001:db8::1", "80")
		f("PROXY UNKNOWN\r\n", "127.0.0.1", own)
		bad := func(begin string) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			c.Send(begin)
			if all, _ := rest(c); all != "" {
				t.Errorf("%q was answered: %q", begin, all)
			}
		}
		n := b.Requests.Load()
		bad(ask4)
		bad("PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n" + ask4)
		bad("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n" + ask4)
		bad("\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00")
		if b.Requests.Load() != n {
			t.Error("a request without a header reached the backend")
		}
		// the client it names is no proxy to be trusted, unless it is one
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(hello(1, "192.0.2.1:1000", "192.0.2.2:443") + "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
		if r := c.Read("GET"); strings.Contains(r.Body, "6.6.6.6") {
			t.Error(r)
		}
		c = testkit.Dial(t, w.Addr("web"))
		c.Send(hello(1, "10.0.0.1:1000", "192.0.2.2:443") + "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n")
		if r := c.Read("GET"); !strings.Contains(r.Body, "X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\n") {
			t.Error(r)
		}
	})
}

// Without being required it is believed where it comes, and from strangers never.
func TestProxyProtocolOfStrangers(t *testing.T) {
	greeting := hello(1, "192.0.2.1:1000", "192.0.2.2:443")
	f := func(listener, text string, check func(t *testing.T, c *testkit.Client)) {
		t.Run(listener, func(t *testing.T) {
			b := testkit.NewBackend(t, testkit.Echo)
			c := testkit.Dial(t, testkit.Start(t, setup{backends: at(b), listener: listener}.yaml()).Addr("web"))
			c.Send(text)
			check(t, c)
		})
	}
	from := func(client string) func(t *testing.T, c *testkit.Client) {
		return func(t *testing.T, c *testkit.Client) {
			if r := c.Read("GET"); !strings.Contains(r.Body, "X-Forwarded-For: "+client+"\r\n") {
				t.Error(r)
			}
		}
	}
	bad := func(t *testing.T, c *testkit.Client) { refused(t, c.Read("GET"), 400, "bad_request") }
	f("trusted_proxies: [127.0.0.1], proxy_protocol: accept", ask4, from("127.0.0.1"))
	f("trusted_proxies: [127.0.0.1], proxy_protocol: accept", greeting+ask4, from("192.0.2.1"))
	f("proxy_protocol: accept", greeting+ask4, bad)
	f("proxy_protocol: accept", ask4, from("127.0.0.1"))
	f("trusted_proxies: [10.0.0.1], proxy_protocol: accept", greeting+ask4, bad)
	f("trusted_proxies: [127.0.0.1]", greeting+ask4, bad)
	f("trusted_proxies: [10.0.0.1], proxy_protocol: require", greeting+ask4, func(t *testing.T, c *testkit.Client) {
		if all, _ := rest(c); all != "" {
			t.Errorf("a stranger got %q", all)
		}
	})
}

// What was a connection of requests before a change stays one.
func TestProxyProtocolComesLater(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	plain := setup{backends: at(b), listener: "trusted_proxies: [127.0.0.1]"}
	w := testkit.Start(t, plain.yaml())
	busy, parked := testkit.Dial(t, w.Addr("web")), testkit.Dial(t, w.Addr("web"))
	parked.Get("/")
	time.Sleep(parkedAfter)
	busy.Get("/")
	plain.listener += ", proxy_protocol: require"
	w.Apply(plain.yaml())
	for range 2 {
		for _, c := range []*testkit.Client{busy, parked} {
			if r := c.Get("/"); r.Body != "ok" {
				t.Fatal(r)
			}
		}
		time.Sleep(parkedAfter)
	}
	c := testkit.Dial(t, w.Addr("web"))
	c.Send(ask4)
	if all, _ := rest(c); all != "" {
		t.Errorf("a new connection without a header was answered: %q", all)
	}
}

// connections_per_ip counts clients, not the proxy before them.
func TestProxyProtocolConnectionsPerIP(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.Start(t, setup{backends: at(b), defaults: "limits: {connections_per_ip: 2}",
		listener: "trusted_proxies: [127.0.0.1], proxy_protocol: require"}.yaml())
	open := func(client string) (*testkit.Client, int) {
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(hello(2, client+":1000", "192.0.2.2:443") + ask4)
		return c, c.Read("GET").Status
	}
	for i, client := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		first, status := open(client)
		if status != 200 {
			t.Errorf("%s: %d", client, status)
		}
		open(client)
		third, status := open(client)
		if status != 429 {
			t.Errorf("third connection of %s: %d", client, status)
		}
		third.Conn.Close()
		first.Conn.Close()
		eventually(t, "two are gone", func() bool { return w.Proxy.Status().Listeners[0].Connections == 2*i+1 })
		if _, status := open(client); status != 200 {
			t.Errorf("one more connection of %s: %d", client, status)
		}
	}
}

// A backend is told for whom its connection is, and it is only for that one.
func TestSendProxyProtocol(t *testing.T) {
	for _, version := range []int{1, 2} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		heads := make(chan proxyproto.Header, 100)
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go greeted(c, heads)
			}
		}()
		w := testkit.Start(t, setup{backends: []string{`{address: "` + ln.Addr().String() + `"}`},
			pool: "send_proxy_protocol: v" + itoa(version) + "\nhealth: {active: {interval: 100ms}}\n"}.yaml())
		if h := await(t, heads, "a probe"); !h.Local {
			t.Errorf("a probe names a client: %+v", h)
		}
		w.Await("web", ln.Addr().String(), "up")
		for range 3 {
			c := testkit.Dial(t, w.Addr("web"))
			for range 2 {
				if r := c.Get("/"); r.Status != 200 {
					t.Fatal(r)
				}
				h := await(t, heads, "a connection")
				for h.Local { // a probe's
					h = await(t, heads, "a connection")
				}
				if h.Version != version || h.Src.String() != c.Conn.LocalAddr().String() || h.Dst.String() != w.Addr("web") {
					t.Errorf("%+v, want from %v to %v", h, c.Conn.LocalAddr(), w.Addr("web"))
				}
			}
		}
		w.Close()
	}
}

// greeted answers one connection that begins with a PROXY header.
func greeted(c net.Conn, heads chan<- proxyproto.Header) {
	defer c.Close()
	r := bufio.NewReader(c)
	for want := 1; ; {
		b, err := r.Peek(want)
		h, n, perr := proxyproto.Parse(b)
		if n > 0 {
			_, _ = r.Discard(n)
			h.TLVs = nil
			heads <- h
			break
		}
		if err != nil || perr != nil {
			return
		}
		want = len(b) + 1
	}
	for {
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}
