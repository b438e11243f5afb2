//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// onePool is a proxy of the test's own process, for backends with bad manners.
// Timeouts are short, nothing is ejected.
func onePool(backends ...string) string {
	var b strings.Builder
	b.WriteString(`
defaults:
  timeouts: {client_header: 500ms, client_body_idle: 500ms, connect: 500ms, response: 500ms}
listeners:
  - {name: web, address: "127.0.0.1:0", protocol: http, routes: [{name: all, pool: web}]}
pools:
  web:
    health: {passive: {consecutive_errors: 0}}
    backends:
`)
	for _, a := range backends {
		fmt.Fprintf(&b, "      - {address: %q}\n", a)
	}
	return b.String()
}

// eachEngine runs f on epoll and on goroutines.
func eachEngine(t *testing.T, f func(t *testing.T, o loop.Options)) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable=%v", portable), func(t *testing.T) { f(t, loop.Options{Loops: 2, Portable: portable}) })
	}
}

// What a backend does wrong becomes a 502 or 504 with its reason, or a body
// that can be seen to be cut; never a clean answer, and never somebody else's.
func TestBadBackends(t *testing.T) {
	eachEngine(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, onePool(b.Addr()), o)
		f := func(name string, m testkit.Manner, want string) {
			t.Helper()
			b.Become(m)
			began := time.Now()
			r := testkit.Get(t, w.Addr("web"), "/")
			got := fmt.Sprintf("%d %s", r.Status, r.Header("X-Weir-Reason"))
			if r.Err != nil {
				got += "cut"
			}
			if strings.TrimSpace(got) != want {
				t.Errorf("%s: %s, want %s\n%v", name, got, want, r)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s: took %v", name, took)
			}
		}
		f("close before the head", testkit.CloseBeforeHead, "502 upstream_reset")
		f("close in the head", testkit.CloseInHead, "502 upstream_reset")
		f("reset", testkit.Reset, "502 upstream_reset")
		f("never answer", testkit.NeverAnswer, "504 upstream_timeout")
		f("huge header", testkit.HugeHeader(1<<20), "502 bad_response")
		f("endless header", testkit.EndlessHeader, "502 bad_response")
		f("not HTTP", testkit.Raw("SSH-2.0-OpenSSH_9.9\r\n\r\n", false), "502 bad_response")
		f("a status of letters", testkit.Raw("HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", false), "502 bad_response")
		f("two lengths", testkit.Raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false), "502 bad_response")
		f("a length of letters", testkit.Raw("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false), "502 bad_response")
		f("a space in a field name", testkit.Raw("HTTP/1.1 200 OK\r\nA B: c\r\nContent-Length: 0\r\n\r\n", false), "502 bad_response")
		f("an upgrade nobody asked for", testkit.Raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", false), "502 bad_response")
		// What is small is held back until it is whole, so the failure can be told.
		f("close after the head", testkit.CloseAfterHead, "502 upstream_reset")
		f("reset in the body", testkit.ResetInBody, "502 upstream_reset")
		f("stop in the body", testkit.StopInBody, "504 upstream_timeout")
		f("a bad chunk", testkit.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n", false), "502 bad_response")
		// What is large is on its way already: the client must see that it is cut.
		f("half a body", testkit.HalfBody(1_000_000, 500_000), "200 cut")
		f("half a chunked body", testkit.HalfChunked, "200 cut")
		f("a bad chunk later", testkit.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n"+strings.Repeat("x", 0x40000)+"\r\nxyz\r\n", false), "200 cut")
		f("until the end", testkit.Raw("HTTP/1.0 200 OK\r\n\r\nfine", false), "200")
		f("early hints", testkit.Interim(100, testkit.Answer(200, "ok")), "200")
		f("and all is well", testkit.Answer(200, "ok"), "200")
	})
}

// Bytes that a backend sends without being asked never reach the next client.
func TestNobodyElsesAnswer(t *testing.T) {
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	eachEngine(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, onePool(b.Addr()), o)
		f := func(name string, m testkit.Manner) {
			t.Helper()
			b.Become(m)
			for range 20 {
				c := testkit.Dial(t, w.Addr("web"))
				if r := c.Post("/", "x"); strings.Contains(r.Body, "poison") || r.Status != 200 {
					t.Fatalf("%s: %v", name, r)
				}
				if r := c.Get("/"); strings.Contains(r.Body, "poison") || r.Status != 200 {
					t.Fatalf("%s: %v", name, r)
				}
			}
		}
		f("after the answer, at once", testkit.Surplus(poison))
	})
}

// A backend that closes idle connections whenever it likes costs nobody an
// answer: a GET is asked again, a POST never meets a connection that is closed.
// The portable engine reads ahead on a goroutine and may learn of the close a
// moment too late for a POST, which is not sent twice.
func TestIdleConnectionsClosedByBackend(t *testing.T) {
	eachEngine(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, onePool(b.Addr()), o)
		c := testkit.Dial(t, w.Addr("web"))
		for _, d := range []time.Duration{0, 200 * time.Microsecond, time.Millisecond} {
			b.Become(testkit.CloseIdle(d, testkit.Answer(200, "ok")))
			for i := range 50 {
				if r := c.Get("/"); r.Status != 200 {
					t.Fatalf("GET %d, closed after %v: %v", i, d, r)
				}
			}
			if o.Portable {
				continue
			}
			for i := range 20 {
				eventually(t, 5*time.Second, "the backend has closed", func() bool { return b.Open.Load() == 0 })
				if r := c.Post("/", "x"); r.Status != 200 {
					t.Fatalf("POST %d, closed after %v: %v", i, d, r)
				}
			}
		}
	})
}

// The same when it comes later, on the idle connection. What comes before the
// next request can be told from its answer; the client waits for that.
func TestNobodyElsesAnswerLater(t *testing.T) {
	t.Run("epoll", func(t *testing.T) { // goroutines see it only when they have read it
		o := loop.Options{Loops: 2}
		sent := make(chan struct{}, 1)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			keep := testkit.Answer(200, "ok")(x)
			x.Wait(2 * time.Millisecond)
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
			sent <- struct{}{}
			return keep
		})
		w := testkit.StartOn(t, onePool(b.Addr()), o)
		c := testkit.Dial(t, w.Addr("web"))
		for i := range 50 {
			if r := c.Post("/", "x"); r.Body != "ok" {
				t.Fatalf("request %d: %v", i, r)
			}
			<-sent
		}
	})
}

// An early refusal of an upload reaches the client that is still sending.
func TestEarlyAnswer(t *testing.T) {
	eachEngine(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Early(413))
		w := testkit.StartOn(t, onePool(b.Addr()), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 10_000))
		if r := c.Read("POST"); r.Status != 413 || r.Persists() {
			t.Errorf("%v, persists %v; want 413 and the connection's end", r, r.Persists())
		}
	})
}

// A client that leaves ends the work for it: the backend's connection closes,
// and that is not held against the backend.
func TestClientLeaves(t *testing.T) {
	eachEngine(t, func(t *testing.T, o loop.Options) {
		f := func(name string, m testkit.Manner, request string) {
			t.Helper()
			b := testkit.NewBackend(t, m)
			w := testkit.StartOn(t, strings.Replace(onePool(b.Addr()), "response: 500ms", "response: 1m", 1), o)
			c := testkit.Dial(t, w.Addr("web"))
			c.Send(request)
			eventually(t, 5*time.Second, name+": the request arrives", func() bool { return b.Requests.Load() == 1 })
			c.Reset()
			eventually(t, 5*time.Second, name+": the backend's connection ends", func() bool { return b.Open.Load() == 0 })
			eventually(t, 5*time.Second, name+": nothing is in flight", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
			if n := w.Backend("web", b.Addr()).Errors; n != 0 {
				t.Errorf("%s: %d errors are held against the backend", name, n)
			}
		}
		f("while it waits", testkit.NeverAnswer, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		f("in an upload", testkit.NeverAnswer, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 10_000))
		f("in a download", testkit.Drip(strings.Repeat("x", 10_000), 5*time.Millisecond), "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		f("in a stalled download", testkit.StopInBody, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	})
}

// A refused connection is tried elsewhere, a POST too; nobody notices.
func TestOneOfTwoIsGone(t *testing.T) {
	eachEngine(t, func(t *testing.T, o loop.Options) {
		gone, well := testkit.NewBackend(t, testkit.Named("gone")), testkit.NewBackend(t, testkit.Named("well"))
		w := testkit.StartOn(t, onePool(gone.Addr(), well.Addr()), o)
		gone.Stop()
		c := testkit.Dial(t, w.Addr("web"))
		for range 20 {
			if r := c.Post("/", "body"); r.Status != 200 || r.Body != "well" {
				t.Fatal(r)
			}
		}
		well.Stop()
		if r := c.Get("/"); r.Status != 502 || r.Header("X-Weir-Reason") != "connect_refused" {
			t.Error(r)
		}
		if err := well.Return(); err != nil {
			t.Fatal(err)
		}
		if r := c.Get("/"); r.Status != 200 {
			t.Error(r)
		}
	})
}

// Slow clients are cut: in the head with 408, in the body with 408.
func TestSlowClients(t *testing.T) {
	eachEngine(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Echo)
		w := testkit.StartOn(t, onePool(b.Addr()), o)
		f := func(name, request string) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			c.Send(request)
			r, err := c.TryRead("POST")
			if err != nil || r.Status != 408 || r.Header("X-Weir-Reason") != "client_timeout" {
				t.Errorf("%s: %v, %v; want 408 client_timeout", name, r, err)
			}
			if err == nil && !c.Closed() {
				t.Errorf("%s: the connection lives on", name)
			}
		}
		f("in the head", "GET / HTTP/1.1\r\nHost: te")
		f("in the body", "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nabc")
		f("in a small body", "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc")
		f("in a chunk", "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
	})
}

// Events arrive when they are sent, and the end when it comes.
func TestEventsArriveAsSent(t *testing.T) {
	eachEngine(t, func(t *testing.T, o loop.Options) {
		events := make(chan string)
		b := testkit.NewBackend(t, testkit.Events(events))
		w := testkit.StartOn(t, onePool(b.Addr()), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		_ = c.Conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		for _, e := range []string{"one", "two", "three"} {
			events <- e
			for seen := ""; !strings.Contains(seen, "data: "+e+"\n"); {
				line, err := c.R.ReadString('\n')
				if err != nil {
					t.Fatalf("event %s: %v after %q", e, err, seen)
				}
				seen += line
			}
		}
		close(events)
	})
}

// Pipelined requests are answered in order; HEAD has no body; HTTP/1.0
// clients get a closed connection or a kept one, as they ask.
func TestClientsOfAllKinds(t *testing.T) {
	eachEngine(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			return testkit.Answer(200, x.Method()+" "+x.Path(), "Set-Cookie: a=1", "Set-Cookie: b=2", "x-oDD-case: yes")(x)
		})
		w := testkit.StartOn(t, onePool(b.Addr()), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET /1 HTTP/1.1\r\nHost: test\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: test\r\n\r\nPOST /3 HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nxyGET /4 HTTP/1.1\r\nHost: test\r\n\r\n")
		for i, method := range []string{"GET", "HEAD", "POST", "GET"} {
			want := fmt.Sprintf("%s /%d", method, i+1)
			if method == "HEAD" {
				want = ""
			}
			r := c.Read(method)
			if r.Body != want || strings.Join(r.Values("Set-Cookie"), ",") != "a=1,b=2" || !strings.Contains(strings.Join(r.Lines, "\n"), "x-oDD-case: yes") {
				t.Errorf("answer %d: %v, want %q", i+1, r, want)
			}
		}
		c = testkit.Dial(t, w.Addr("web"))
		c.Send("GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		if r := c.Read("GET"); r.Body != "GET /old" || !r.Persists() {
			t.Errorf("HTTP/1.0 with keep-alive: %v, persists %v", r, r.Persists())
		}
		c.Send("GET /old HTTP/1.0\r\n\r\n")
		if r := c.Read("GET"); r.Body != "GET /old" || !c.Closed() {
			t.Errorf("HTTP/1.0: %v", r)
		}
	})
}
