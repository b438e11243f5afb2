package proxy_test

import (
	"strings"
	"testing"

	"weir/internal/loop"
	"weir/internal/testkit"
)

func TestExpectContinue(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, setup{
			routes:   `{name: up, match: {path: /up}, pool: web, limits: {body_bytes: 100KiB}}`,
			backends: at(b),
		}.yaml(), o)
		f := func(body string) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			for range 2 {
				c.Send("PUT /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n")
				if r := c.Read("PUT"); r.Status != 100 {
					t.Fatal(r)
				}
				c.Send(body)
				if r := c.Read("PUT"); r.Status != 200 || !strings.HasSuffix(r.Body, "\r\n\r\n"+body) || !r.Persists() {
					t.Fatal(r)
				}
			}
		}
		f("small")
		f(strings.Repeat("large", 10_000))
		if !strings.Contains(b.Last(), "Expect: 100-continue\r\n") {
			t.Errorf("Expect did not go on: %q", b.Last())
		}

		// what is refused is refused before the body is sent
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("PUT /other HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		refused(t, c.Read("PUT"), 404, "no_route")
		if !c.Closed() {
			t.Error("the connection goes on although a body may follow")
		}
		c = testkit.Dial(t, w.Addr("web"))
		c.Send("PUT /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 200000\r\n\r\n")
		refused(t, c.Read("PUT"), 413, "body_too_large")
		if !c.Closed() {
			t.Error("the connection goes on although a body may follow")
		}
	})
}

// A backend may refuse a body before it is sent, ask for it, or not know the
// question.
func TestExpectAsksTheBackend(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		const put = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
			return true
		})
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(put)
		if r := c.Read("PUT"); r.Status != 401 || r.Body != "no" || !c.Closed() {
			t.Fatal(r) // the body may come or not: nothing can follow
		}
		eventually(t, "the backend's connection, on which a body is due, is closed", func() bool { return b.Open.Load() == 0 })

		b.Become(func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
			return testkit.Echo(x)
		})
		c = testkit.Dial(t, w.Addr("web"))
		for range 2 {
			c.Send(put)
			for _, want := range []int{103, 100} {
				if r := c.Read("PUT"); r.Status != want {
					t.Fatalf("%v, want %d", r, want)
				}
			}
			c.Send("hello")
			if r := c.Read("PUT"); r.Status != 200 || !strings.HasSuffix(r.Body, "hello") || !r.Persists() {
				t.Fatal(r)
			}
		}
		// it says nothing: the client is asked all the same
		b.Become(testkit.Echo)
		c.Send(put)
		if r := c.Read("PUT"); r.Status != 100 {
			t.Fatal(r)
		}
		c.Send("hello")
		if r := c.Read("PUT"); r.Status != 200 || !strings.HasSuffix(r.Body, "hello") || !r.Persists() {
			t.Fatal(r)
		}
		// a client that does not wait is not told
		c.Send(put + "hello")
		if r := c.Read("PUT"); r.Status != 200 || strings.Contains(r.Body, "Expect") {
			t.Fatal(r)
		}
		// HTTP/1.0 knows no expectations, and nobody knows this one
		old := testkit.Dial(t, w.Addr("web"))
		old.Send("PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
		if r := old.Read("PUT"); r.Status != 200 {
			t.Fatal(r)
		}
		c.Send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\nContent-Length: 5\r\n\r\n")
		refused(t, c.Read("PUT"), 417, "expectation_failed")
		if !c.Closed() {
			t.Error("the connection goes on although a body may follow")
		}
	})
}

// Interim answers of a backend go to the client, but not 100: Weir said that.
func TestInterimAnswers(t *testing.T) {
	hint := testkit.Interim(103, testkit.Answer(200, "done"), "Link: </a.css>; rel=preload")
	b := testkit.NewBackend(t, testkit.Interim(100, hint))
	w := testkit.Start(t, before(b))
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if r := c.Read("GET"); r.Status != 103 || r.Header("Link") == "" {
		t.Error(r)
	}
	if r := c.Read("GET"); r.Status != 200 || r.Body != "done" {
		t.Error(r)
	}
	// what is of the backend's connection stays there
	b.Become(testkit.Interim(103, testkit.Answer(200, "done"), "X-A: 1", "Connection: close, X-B", "X-B: 2", "Content-Length: 5", "Transfer-Encoding: chunked", "x-c: 3"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if r := c.Read("GET"); r.Status == 103 {
		t.Errorf("two framings went on: %v", r)
		c.Read("GET")
	}
	b.Become(testkit.Interim(103, testkit.Answer(200, "done"), "X-A: 1", "Connection: close, X-B", "X-B: 2", "Content-Length: 5", "x-c: 3"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if r := c.Read("GET"); r.Status != 103 || strings.Join(r.Lines, "|") != "X-A: 1|x-c: 3" {
		t.Error(r)
	}
	if r := c.Read("GET"); r.Status != 200 || r.Body != "done" || !r.Persists() {
		t.Error(r)
	}
	b.Become(testkit.Interim(100, hint))
	// an HTTP/1.0 client knows none of them
	c = testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.0\r\n\r\n")
	if r := c.Read("GET"); r.Status != 200 || r.Body != "done" {
		t.Error(r)
	}
	// without end is not an answer
	endless := testkit.Answer(200, "never")
	for range 20 {
		endless = testkit.Interim(102, endless)
	}
	b.Become(endless)
	c = testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	r := c.Read("GET")
	for r.Status == 102 {
		r = c.Read("GET")
	}
	refused(t, r, 502, "bad_response")
}

func TestMethods(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, before(b))
	c := testkit.Dial(t, w.Addr("web"))
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get", "X-Y.Z"} {
		if r := c.Do(m + " /x"); r.Status != 200 || !strings.HasPrefix(r.Body, m+" /x HTTP/1.1\r\n") {
			t.Error(m, r)
		}
	}
	if r := c.Do("OPTIONS *"); !strings.HasPrefix(r.Body, "OPTIONS * HTTP/1.1\r\n") {
		t.Error(r)
	}
}

// Request targets and authorities.
func TestTargets(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, before(b))
	f := func(head, want string) {
		t.Helper()
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(head + "\r\n\r\n")
		if r := c.Read("GET"); r.Status != 200 || !strings.HasPrefix(r.Body, want+"\r\n") {
			t.Errorf("%q: %v, want %q", head, r, want)
		}
	}
	f("GET /a?b=c HTTP/1.1\r\nHost: h", "GET /a?b=c HTTP/1.1\r\nHost: h")
	f("GET /a HTTP/1.1\r\nHost: h.example:8080", "GET /a HTTP/1.1\r\nHost: h.example:8080")
	f("GET /a HTTP/1.1\r\nHost: [::1]:80", "GET /a HTTP/1.1\r\nHost: [::1]:80")
	// absolute form: its authority wins
	f("GET http://real.example/a?b HTTP/1.1\r\nHost: other", "GET /a?b HTTP/1.1\r\nHost: real.example")
	f("GET http://real.example:81 HTTP/1.1\r\nHost: other", "GET / HTTP/1.1\r\nHost: real.example:81")
	f("GET http://real.example?q HTTP/1.1\r\nHost: other", "GET /?q HTTP/1.1\r\nHost: real.example")
	f("GET HTTP://real.example/ HTTP/1.1\r\nHost: other", "GET / HTTP/1.1\r\nHost: real.example")
	// paths reach the backend in normal form
	f("GET /a/../b/./c//d HTTP/1.1\r\nHost: h", "GET /b/c/d HTTP/1.1\r\nHost: h")
	f("GET /%61%2f%7e?%61=%2f HTTP/1.1\r\nHost: h", "GET /a%2F~?%61=%2f HTTP/1.1\r\nHost: h")
	// HTTP/1.0 without Host: where the client connected
	f("GET / HTTP/1.0", "GET / HTTP/1.1\r\nHost: "+w.Addr("web"))
}

func TestBadRequests(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, before(b))
	f := func(head string) {
		t.Helper()
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(head + "\r\n\r\n")
		r := c.Read("GET")
		refused(t, r, 400, "bad_request")
		if r.Header("Connection") != "close" || !c.Closed() {
			t.Errorf("%q: the connection goes on", head)
		}
	}
	f("GET / HTTP/1.1")
	f("GET / HTTP/1.1\r\nHost:")
	f("GET / HTTP/1.1\r\nHost: a\r\nHost: b")
	f("GET / HTTP/1.1\r\nHost: a\r\nHost: a")
	f("GET / HTTP/1.1\r\nHost: a b")
	f("GET / HTTP/1.1\r\nHost: a,b")
	f("GET / HTTP/1.1\r\nHost: u@a")
	f("GET / HTTP/1.1\r\nHost: a/b")
	f("GET / HTTP/1.1\r\nHost: a:x")
	f("CONNECT a:443 HTTP/1.1\r\nHost: a:443")
	f("CONNECT / HTTP/1.1\r\nHost: a")
	f("GET http://u@a/ HTTP/1.1\r\nHost: a")
	f("GET ftp://a/ HTTP/1.1\r\nHost: a")
	f("GET * HTTP/1.1\r\nHost: a")
	f("GET /a#b HTTP/1.1\r\nHost: a")
	f("GET /?a#b HTTP/1.1\r\nHost: a")
	f("GET /../a HTTP/1.1\r\nHost: a")
	f("GET /%zz HTTP/1.1\r\nHost: a")
	f("GET /%00 HTTP/1.1\r\nHost: a")
	f("GET / HTTP/1.2\r\nHost: a")
	f("GET / HTTP/2.0\r\nHost: a")
	f("GET / FTP/1.1\r\nHost: a")
	f("GET /")
	f("GARBAGE")
	f("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n")
	f("GET / HTTP/1.1\r\nHost: a\r\nX A: b")
	f("GET / HTTP/1.1\r\nHost: a\r\nX-A : b")
	f("GET / HTTP/1.1\r\nHost: a\r\n: b")
	f("GET / HTTP/1.1\r\nHost: a\r\nX-A\r\nX-B: c")
	f("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c")
	f("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x01")
	f("GET / HTTP/1.1\nHost: a\n")
	f("GET / HTTP/1.1\r\nHost: a\nX-A: b")
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1")
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1")
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1")
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999")
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked")
	f("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity")
	f("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked")
	f("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked")
	f("POST / HTTP/1.0\r\nTransfer-Encoding: chunked")
	if n := b.Requests.Load(); n != 0 {
		t.Errorf("%d requests reached the backend: %q", n, b.Heads())
	}
}
