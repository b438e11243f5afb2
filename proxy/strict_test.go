package proxy_test

import (
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// What cannot become a request is refused as soon as that is known: nobody waits
// for the rest of it.
func TestEarlyRefusals(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, before(b))
	f := func(begin string) {
		t.Helper()
		c := testkit.Dial(t, w.Addr("web"))
		start := time.Now()
		c.Send(begin)
		refused(t, c.Read("GET"), 400, "bad_request")
		if !c.Closed() || time.Since(start) > 5*time.Second {
			t.Errorf("%q: the connection goes on, or took %v", begin, time.Since(start))
		}
	}
	f("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") // a TLS handshake
	f("\x00")
	f("GET /\r\n") // HTTP/0.9
	f("GET / HTTP/1.1\n")
	f("GET /\x01")
	f("GET\t/")
	f("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n")
	f("GET / HTTP/1.1\r\nHost: a\rX: b")
	f("{\"json\"")
	f("\r\n\r\n\r\n\r\n\r\n")
	f("\nGET / HTTP/1.1\r\n")
	f("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if n := b.Requests.Load(); n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
}

// An empty line or two before a request are ignored, in pieces too.
func TestEmptyLinesBeforeARequest(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		for range 3 {
			c.Send("\r\n\r")
			if !c.Silent(30 * time.Millisecond) {
				t.Fatal("an empty line was answered")
			}
			c.Send("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if r := c.Read("GET"); r.Body != "ok" || !r.Persists() {
				t.Fatal(r)
			}
		}
	})
}

// A head may come byte by byte, before and after a kept connection was parked,
// and behind another request.
func TestHeadsInPieces(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		piece := func(text string) {
			t.Helper()
			for i := range text {
				c.Send(text[i : i+1])
				if i%16 == 0 {
					c.Silent(2 * time.Millisecond)
				}
			}
			if r := c.Read("GET"); r.Status != 200 {
				t.Fatal(r)
			}
		}
		head := "GET /a HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("x", 200) + "\r\n\r\n"
		piece(head)
		piece(head)
		c.Send(head + head[:30]) // and the beginning of another
		if r := c.Read("GET"); r.Status != 200 {
			t.Fatal(r)
		}
		piece(head[30:])
		time.Sleep(parkedAfter)
		piece(head)
		// a large head needs a larger buffer than the others
		large := "GET /large HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("x", 20_000) + "\r\n\r\n"
		c.Send(head + large + head + large)
		for i := range 4 {
			if r := c.Read("GET"); r.Status != 200 || strings.Contains(r.Body, "/large") != (i%2 == 1) {
				t.Fatalf("answer %d: %v", i, r)
			}
		}
	})
}

// TRACE goes on only where a route asks for it, and CONNECT never.
func TestTrace(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, setup{backends: at(b),
		routes: "{name: trace, match: {path: /trace, methods: [TRACE, GET]}, pool: web}, {name: all, pool: web}"}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	r := c.Do("TRACE /")
	refused(t, r, 405, "method_not_allowed")
	if r.Header("Allow") == "" || !r.Persists() {
		t.Error(r)
	}
	if r := c.Do("TRACE /trace", "Max-Forwards: 5"); r.Status != 200 || !strings.Contains(r.Body, "Max-Forwards: 4\r\n") {
		t.Error(r)
	}
	if r := c.Do("TRACE /trace", "Max-Forwards: 0", "Cookie: secret=1", "X-A: b"); r.Status != 200 || r.Header("Content-Type") != "message/http" ||
		!strings.HasPrefix(r.Body, "TRACE /trace HTTP/1.1\r\n") || !strings.Contains(r.Body, "X-A: b\r\n") || strings.Contains(r.Body, "secret") {
		t.Error(r)
	}
	if r := c.Do("OPTIONS /", "Max-Forwards: 0"); r.Status != 204 || r.Header("Allow") == "" {
		t.Error(r)
	}
	if r := c.Do("OPTIONS /", "Max-Forwards: 1"); !strings.Contains(r.Body, "Max-Forwards: 0\r\n") {
		t.Error(r)
	}
	// for other methods it says nothing
	if r := c.Do("GET /", "Max-Forwards: 0"); !strings.Contains(r.Body, "Max-Forwards: 0\r\n") {
		t.Error(r)
	}
	if n := b.Requests.Load(); n != 3 {
		t.Errorf("%d requests reached the backend, want 3", n)
	}
}

// Names that backends could take for those that Weir vouches for are refused.
func TestAliases(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, before(b))
	for _, name := range []string{"X_Forwarded_For", "x-forwarded_host", "X.Real.Ip", "Content_Length", "Transfer_Encoding", "X_Weir_Reason", "Host_"} {
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n" + name + ": 1\r\n\r\n")
		if name == "Host_" { // five letters are no host
			if r := c.Read("GET"); r.Status != 200 {
				t.Error(name, r)
			}
			continue
		}
		refused(t, c.Read("GET"), 400, "bad_request")
	}
	c := testkit.Dial(t, w.Addr("web"))
	if r := c.Get("/", "X_Custom: 1", "x.y: 2", "X-Weir-Reason: no_route", "Proxy: http://evil", "HTTP2-Settings: AA"); r.Status != 200 ||
		!strings.Contains(r.Body, "X_Custom: 1\r\nx.y: 2\r\n") || strings.Contains(r.Body, "no_route") || strings.Contains(r.Body, "evil") || strings.Contains(r.Body, "HTTP2") {
		t.Error(r)
	}
}

// A Connection line takes away what is the connection's, and nothing else.
func TestConnectionNamesFields(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, before(b))
	c := testkit.Dial(t, w.Addr("web"))
	r := c.Get("/", "Connection: X-A, X-Forwarded-For, Via, Host, Authorization, Range, X-Request-Id", "X-A: 1", "Authorization: Basic eA==", "Range: bytes=0-1")
	for _, want := range []string{"X-Forwarded-For: 127.0.0.1\r\n", "Via: 1.1 weir\r\n", "Host: ", "Authorization: Basic eA==\r\n", "Range: bytes=0-1\r\n", "X-Request-Id: "} {
		if !strings.Contains(r.Body, want) {
			t.Errorf("%q is not in %q", want, r.Body)
		}
	}
	if strings.Contains(r.Body, "X-A") {
		t.Error(r)
	}
}

// What frames, routes or vouches cannot come behind a body.
func TestRequestTrailers(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, before(b))
	f := func(status int, trailers string, lines ...string) *testkit.Reply {
		t.Helper()
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nX-Role: user\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + trailers + "\r\n")
		r := c.Read("POST")
		if r.Status != status {
			t.Errorf("%q: %v", trailers, r)
		}
		return r
	}
	for _, bad := range []string{"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Host: b\r\n", "X A: b\r\n", "X-A: b\n", " folded\r\n"} {
		f(400, bad)
	}
	f(200, "X-Sum: 1\r\n")
	f(200, "X-Role: admin\r\nAuthorization: x\r\nCookie: a=b\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nIf-Match: x\r\nContent-Type: text/html\r\n")
}

// The operator's rules hold for what a client writes otherwise, or later.
func TestRulesHoldForAliasesAndTrailers(t *testing.T) {
	var tail strings.Builder
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		for !strings.HasSuffix(tail.String(), "0\r\n\r\n") {
			c, err := x.R.ReadByte()
			if err != nil {
				return false
			}
			tail.WriteByte(c)
		}
		x.Write("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Secret: 1\r\nX-Sum: 1\r\n\r\n")
		return false
	})
	w := testkit.Start(t, setup{backends: at(b), route: "request_headers: {remove: [X-User], set: {X-Tenant: a}, add: {X-More: b}}, response_headers: {remove: [X-Secret]}"}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("POST / HTTP/1.1\r\nHost: a\r\nX_User: root\r\nx.tenant: b\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-User: root\r\nX-Tenant: b\r\nx_more: c\r\nX-Hop: d\r\n\r\n")
	r := c.Read("POST")
	if strings.Join(r.Trailers, "|") != "X-Sum: 1" {
		t.Errorf("trailers of the answer: %q", r.Trailers)
	}
	if tail.String() != "0\r\n\r\n" {
		t.Errorf("trailers of the request: %q", tail.String())
	}
	if head := b.Last(); strings.Contains(head, "root") || strings.Contains(head, ": b\r\nx") || !strings.Contains(head, "X-Tenant: a\r\n") {
		t.Errorf("the head: %q", head)
	}
}

// What every line is compared with is bounded.
func TestConnectionOptions(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.Start(t, before(b))
	c := testkit.Dial(t, w.Addr("web"))
	if r := c.Get("/", "Connection: "+strings.Repeat("a,", 30)+"keep-alive"); r.Status != 200 {
		t.Error(r)
	}
	refused(t, c.Get("/", "Connection: "+strings.Repeat("a,", 129)), 400, "bad_request")
	for _, twice := range []string{"Expect: 100-continue\r\nExpect: x", "Max-Forwards: 1\r\nMax-Forwards: 2"} {
		c = testkit.Dial(t, w.Addr("web"))
		refused(t, c.Do("OPTIONS /", twice), 400, "bad_request")
	}
}

// Bodies of answers that Weir makes itself do not cost the connection when they
// are here already.
func TestRefusedBodiesAreSkipped(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.Start(t, setup{backends: at(b), routes: "{name: some, match: {path: /some}, pool: web}, {name: fixed, match: {path: /fixed}, respond: {body: fixed}}"}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	// the body looks like a request: it is a body
	body := "GET /some HTTP/1.1\r\nHost: a\r\n\r\n"
	c.Send("POST /fixed HTTP/1.1\r\nHost: a\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body + "GET /some HTTP/1.1\r\nHost: a\r\n\r\n")
	if r := c.Read("POST"); r.Body != "fixed" || !r.Persists() {
		t.Fatal(r)
	}
	if r := c.Read("GET"); r.Body != "ok" {
		t.Fatal(r)
	}
	refused(t, c.Post("/none", "body"), 404, "no_route")
	if r := c.Get("/some"); r.Body != "ok" {
		t.Fatal(r)
	}
	if n := b.Requests.Load(); n != 2 {
		t.Errorf("%d requests reached the backend, want 2", n)
	}
	// one that is not here ends it
	c.Send("POST /fixed HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
	if r := c.Read("POST"); r.Body != "fixed" || r.Persists() || !c.Closed() {
		t.Fatal(r)
	}
}

// An answer to something else than was asked is none.
func TestSwitchesNobodyAskedFor(t *testing.T) {
	var answer string
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool { return testkit.Raw(answer, false)(x) })
	w := testkit.Start(t, setup{backends: at(b), routes: "{name: plain, match: {path: /plain}, pool: web, upgrades: []}, {name: ws, pool: web, upgrades: [websocket]}"}.yaml())
	f := func(path, asked, a string, status int) {
		t.Helper()
		answer = a
		c := testkit.Dial(t, w.Addr("web"))
		lines := []string{"Connection: Upgrade", "Upgrade: " + asked}
		if r := c.Get(path, lines...); r.Status != status {
			t.Errorf("%s as %q answered %q: %v", path, asked, a, r)
		}
	}
	switched := func(to string) string {
		return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + to + "\r\n\r\n"
	}
	f("/", "websocket", switched("websocket"), 101)
	f("/", "websocket", switched("WebSocket"), 101)
	f("/", "websocket", switched("other"), 502)
	f("/", "websocket", "HTTP/1.1 101 Switching Protocols\r\n\r\n", 502)
	f("/", "websocket", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 502)
	f("/", "other", switched("other"), 502) // it was not passed on, so nobody asked
	f("/", "websocket, h2c", switched("h2c"), 502)
	f("/plain", "websocket", switched("websocket"), 502)
	f("/plain", "websocket", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200)
	if strings.Contains(b.Last(), "Upgrade") {
		t.Errorf("it was passed on: %q", b.Last())
	}
}

// Answers are read as strictly as requests.
func TestImpossibleAnswers(t *testing.T) {
	var answer string
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool { return testkit.Raw(answer, true)(x) })
	w := testkit.StartOn(t, alone(b, ""), single)
	for _, a := range []string{
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\nbody",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("a", 300) + ": b\r\nContent-Length: 2\r\n\r\nok",
	} {
		answer = a
		c := testkit.Dial(t, w.Addr("web"))
		r := c.Get("/")
		refused(t, r, 502, "bad_response")
		eventually(t, "the connection is given up", func() bool { return b.Open.Load() == 0 })
	}
}
