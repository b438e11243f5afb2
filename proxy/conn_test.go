package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// Both sides keep their connections: many requests, one connection each.
func TestKeepAlive(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Named("one"))
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		for range 20 {
			if r := c.Get("/"); r.Status != 200 || r.Body != "one" || !r.Persists() || r.Header("Connection") != "" {
				t.Fatal(r)
			}
		}
		if r := c.Post("/", "hello"); r.Body != "one" {
			t.Fatal(r)
		}
		if n := b.Conns.Load(); n != 1 {
			t.Errorf("%d connections to the backend, want 1", n)
		}
		// a client that ends its connection does not end the backend's
		if r := c.Get("/", "Connection: close"); r.Body != "one" || r.Header("Connection") != "close" {
			t.Error(r)
		}
		if !c.Closed() {
			t.Error("the connection is open after Connection: close")
		}
		testkit.Get(t, w.Addr("web"), "/")
		if n := b.Conns.Load(); n != 1 {
			t.Errorf("%d connections to the backend, want 1", n)
		}
	})
}

// A backend that ends its connection does not end the client's.
func TestBackendCloses(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "bye", "Connection: close"))
	w := testkit.StartOn(t, before(b), single)
	c := testkit.Dial(t, w.Addr("web"))
	for range 3 {
		if r := c.Get("/"); r.Body != "bye" || !r.Persists() {
			t.Fatal(r)
		}
	}
	if n := b.Conns.Load(); n != 3 {
		t.Errorf("%d connections to the backend, want 3", n)
	}
}

func TestHTTP10(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.ByPath(map[string]testkit.Manner{
			"/length":  testkit.Answer(200, "length"),
			"/chunked": testkit.Chunked([]string{"chu", "nked"}, nil),
			"/close":   testkit.Raw("HTTP/1.1 200 OK\r\n\r\nclose", false),
			"/old":     testkit.Raw("HTTP/1.0 200 OK\r\n\r\nold", false),
		}))
		w := testkit.StartOn(t, before(b), o)
		f := func(path, line, body, framing string, persists bool) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			c.Send("GET " + path + " HTTP/1.0\r\n" + line + "\r\n")
			r := c.Read("GET")
			if r.Status != 200 || r.Body != body || r.Framing != framing || r.Persists() != persists {
				t.Errorf("%s %q: %v, framing %s, persists %v", path, line, r, r.Framing, r.Persists())
			}
			if persists {
				c.Send("GET /length HTTP/1.0\r\n\r\n")
				if r := c.Read("GET"); r.Body != "length" {
					t.Error(r)
				}
			}
			if !c.Closed() {
				t.Errorf("%s %q: the connection goes on", path, line)
			}
		}
		f("/length", "", "length", "length", false)
		f("/length", "Connection: keep-alive\r\n", "length", "length", true)
		f("/length", "Connection: Keep-Alive\r\nHost: a\r\n", "length", "length", true)
		// HTTP/1.0 knows no chunks: the end is the close, whatever was asked for
		f("/chunked", "", "chunked", "close", false)
		f("/chunked", "Connection: keep-alive\r\n", "chunked", "close", false)
		f("/close", "Connection: keep-alive\r\n", "close", "close", false)
		f("/old", "", "old", "close", false)
	})
}

// A backend without framing: HTTP/1.1 clients get chunks and keep their connection.
func TestCloseDelimited(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Raw("HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nto the end", false))
	w := testkit.Start(t, before(b))
	c := testkit.Dial(t, w.Addr("web"))
	for range 2 {
		if r := c.Get("/"); r.Body != "to the end" || r.Framing != "chunked" || !r.Persists() || r.Proto != "HTTP/1.1" {
			t.Error(r, r.Framing)
		}
	}
}

func TestHead(t *testing.T) {
	b := testkit.NewBackend(t, testkit.ByPath(map[string]testkit.Manner{
		"/length":  testkit.Answer(200, "length"),
		"/chunked": testkit.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
		"/none":    testkit.Raw("HTTP/1.1 200 OK\r\n\r\n", true),
		"/304":     testkit.Raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", true),
		"/204":     testkit.Raw("HTTP/1.1 204 No Content\r\n\r\n", true),
	}))
	w := testkit.StartOn(t, before(b), single)
	c := testkit.Dial(t, w.Addr("web"))
	for _, path := range []string{"/length", "/chunked", "/none", "/304", "/204", "/nowhere"} {
		if r := c.Do("HEAD " + path); r.Body != "" || !r.Persists() {
			t.Error(path, r)
		}
	}
	if r := c.Do("HEAD /length"); r.Header("Content-Length") != "6" {
		t.Error(r)
	}
	if r := c.Get("/304"); r.Status != 304 || r.Header("Content-Length") != "99" || r.Framing != "none" {
		t.Error(r)
	}
	if r := c.Get("/length"); r.Body != "length" {
		t.Error(r)
	}
	if n := b.Conns.Load(); n != 1 {
		t.Errorf("%d connections to the backend, want 1", n)
	}
}

func TestPipelining(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		var all strings.Builder
		for i := range 10 {
			body := strings.Repeat("b", i*1000)
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", i, len(body), body)
		}
		text := all.String()
		c.Send(text)
		for i := range 10 {
			r := c.Read("POST")
			if !strings.HasPrefix(r.Body, fmt.Sprintf("POST /%d ", i)) || strings.Count(r.Body, "b") < i*1000 {
				t.Fatalf("answer %d: %v", i, r)
			}
		}
		// answers come while the next head is half there
		c.Send("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHo")
		if r := c.Read("GET"); !strings.HasPrefix(r.Body, "GET /a ") {
			t.Error(r)
		}
		c.Send("st: a\r\n\r\n")
		if r := c.Read("GET"); !strings.HasPrefix(r.Body, "GET /b ") {
			t.Error(r)
		}
	})
}

// The body of a pipelined request may come much later than its head. A
// connection that is quiet there is not at rest: it must not be parked, for
// then the body would be taken for the next request.
func TestPipelinedBodyComesLate(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.StartOn(t, before(b), single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n")
	if r := c.Read("GET"); !strings.HasPrefix(r.Body, "GET /a ") {
		t.Error(r)
	}
	if !c.Silent(parkedAfter) {
		t.Fatal("an answer came before the body did")
	}
	c.Send("GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n..")
	if r := c.Read("POST"); !strings.HasSuffix(r.Body, "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n..") || !strings.HasPrefix(r.Body, "POST /b ") {
		t.Error(r)
	}
	if n := b.Requests.Load(); n != 2 {
		t.Errorf("%d requests reached the backend, want 2: %q", n, b.Heads())
	}
}

// The last answer arrives although its client had more to say: closing with
// bytes unread would reset the connection and take the answer along.
func TestLastAnswerArrives(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Answer(200, strings.Repeat("a", 10_000)))
		w := testkit.StartOn(t, before(b), o)
		for _, first := range []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"} {
			for range 10 {
				c := testkit.Dial(t, w.Addr("web"))
				c.Send(first + strings.Repeat("GET /more HTTP/1.1\r\nHost: a\r\n\r\n", 5000))
				if r, err := c.TryRead("GET"); err != nil || r.Status != 200 || len(r.Body) != 10_000 || r.Err != nil {
					t.Fatal(r, err)
				}
			}
		}
	})
}

// A connection goes on after it was quiet for so long that it was parked.
func TestParkedConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		if r := c.Get("/"); r.Status != 200 {
			t.Fatal(r)
		}
		if !c.Silent(parkedAfter) {
			t.Fatal("bytes or an end on an idle connection")
		}
		if r := c.Post("/", "x"); r.Status != 200 || !strings.HasSuffix(r.Body, "x") {
			t.Error(r)
		}
	})
}
