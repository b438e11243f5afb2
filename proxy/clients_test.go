package proxy_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

func TestHeaderLimits(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.Start(t, alone(b, "limits: {header_bytes: 4KiB, headers: 10}"))
	f := func(status int, reason, head string) {
		t.Helper()
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(head)
		r := c.Read("GET")
		if status == 200 {
			if r.Status != 200 {
				t.Error(r)
			}
			return
		}
		refused(t, r, status, reason)
		if r.Header("Connection") != "close" || !c.Closed() {
			t.Errorf("%.20q: the connection goes on", head)
		}
	}
	line := "GET / HTTP/1.1\r\n"
	f(200, "", line+"Host: a\r\nX-A: "+strings.Repeat("a", 4000)+"\r\n\r\n")
	f(431, "header_too_large", line+"Host: a\r\nX-A: "+strings.Repeat("a", 5000)+"\r\n\r\n")
	f(431, "header_too_large", line+"Host: a\r\n"+strings.Repeat("X-A: a\r\n", 1000)+"\r\n")
	f(200, "", line+"Host: a\r\n"+strings.Repeat("X-A: a\r\n", 9)+"\r\n")
	f(431, "header_too_large", line+"Host: a\r\n"+strings.Repeat("X-A: a\r\n", 10)+"\r\n")
	f(200, "", "GET /"+strings.Repeat("a", 4000)+" HTTP/1.1\r\nHost: a\r\n\r\n")
	f(414, "uri_too_long", "GET /"+strings.Repeat("a", 5000)+" HTTP/1.1\r\nHost: a\r\n\r\n")
	f(414, "uri_too_long", strings.Repeat("a", 5000))
	if n := b.Requests.Load(); n != 3 {
		t.Errorf("%d requests reached the backend, want 3", n)
	}
	// pipelined behind a request, too
	c := testkit.Dial(t, w.Addr("web"))
	c.Send(line + "Host: a\r\n\r\n" + line + "Host: a\r\nX-A: " + strings.Repeat("a", 5000) + "\r\n\r\n")
	if r := c.Read("GET"); r.Body != "ok" {
		t.Error(r)
	}
	refused(t, c.Read("GET"), 431, "header_too_large")
}

func TestBodyTooLarge(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, hashing)
		w := testkit.StartOn(t, alone(b, "limits: {body_bytes: 20000}"), o)
		c := testkit.Dial(t, w.Addr("web"))
		if r := c.Post("/", noise(20000)); r.Status != 200 || !r.Persists() {
			t.Error(r)
		}
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(noise(20000), 5000))
		if r := c.Read("POST"); r.Status != 200 || !r.Persists() {
			t.Error(r)
		}
		n := b.Requests.Load()
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20001\r\n\r\n" + noise(20001))
		refused(t, c.Read("POST"), 413, "body_too_large")
		if !c.Closed() {
			t.Error("the connection goes on")
		}
		if b.Requests.Load() != n {
			t.Error("it reached the backend")
		}
		c = testkit.Dial(t, w.Addr("web"))
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(noise(1_000_000), 5000))
		refused(t, c.Read("POST"), 413, "body_too_large")
		if !c.Closed() {
			t.Error("the connection goes on")
		}
		if s := w.Backend("web", b.Addr()); s.Errors != 0 || s.State != "up" {
			t.Errorf("it counts against the backend: %+v", s)
		}
	})
}

// Bodies that are not what they say they are.
func TestBrokenChunks(t *testing.T) {
	b := testkit.NewBackend(t, hashing)
	w := testkit.Start(t, alone(b, ""))
	for _, body := range []string{"x\r\n", "5\rhello", "5\r\nhello\r\n0\r\nX: \ra", "-1\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhelloo\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "ffffffffffffffffff\r\n",
		"0x5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nno colon\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"} {
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
		refused(t, c.Read("POST"), 400, "bad_request")
		if !c.Closed() {
			t.Errorf("%q: the connection goes on", body)
		}
	}
}

// What has no end ends at a limit.
func TestEndlessRequests(t *testing.T) {
	b := testkit.NewBackend(t, hashing)
	w := testkit.Start(t, alone(b, "limits: {body_bytes: 64KiB}"))
	f := func(begin, more string, statuses ...int) {
		t.Helper()
		c := testkit.Dial(t, w.Addr("web"))
		block := []byte(strings.Repeat(more, 1+4096/len(more)))
		done := make(chan bool)
		go func() { // until it is stopped
			defer close(done)
			_, err := c.Conn.Write([]byte(begin))
			for err == nil {
				_, err = c.Conn.Write(block)
			}
		}()
		r, err := c.TryRead("POST")
		if len(statuses) > 0 && (err != nil || !slices.Contains(statuses, r.Status)) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.30q, %q…: %v %v", begin, more, r, err)
		}
		c.Conn.Close()
		await(t, done, "end of the connection")
	}
	const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	f("", "\r\n") // nothing was asked: nothing need be said
	f("GET /", "a", 414)
	f("GET / HTTP/1.1\r\nHost: a\r\nX-A: ", "a", 431)
	f("GET / HTTP/1.1\r\nHost: a\r\n", "X-A: a\r\n", 431)
	f(chunked, "1\r\na\r\n", 413)
	f(chunked+"5\r\nhello\r\n0\r\n", "X-A: a\r\n", 400)
}

// Slow is cut at each place where a client can be slow.
func TestSlowClients(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, hashing)
		w := testkit.StartOn(t, setup{backends: at(b),
			defaults: "timeouts: {client_header: 300ms, client_body_idle: 800ms, client_idle: 250ms}",
			routes:   "{name: patient, match: {path: /patient}, timeouts: {client_body_idle: 30s}, pool: web}, {name: all, pool: web}"}.yaml(), o)
		f := func(status int, text string) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			start := time.Now()
			for i := 0; i < len(text) && c.Silent(20*time.Millisecond); i++ {
				c.Send(text[i : i+1]) // one byte after the other does not help a head
			}
			refused(t, c.Read("POST"), status, "client_timeout")
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("%.20q: after %v", text, took)
			}
			if !c.Closed() {
				t.Errorf("%.20q: the connection goes on", text)
			}
		}
		f(408, "GET / HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
		f(408, "G")

		body := func(head string) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			c.Send(head)
			refused(t, c.Read("POST"), 408, "client_timeout")
			if !c.Closed() {
				t.Errorf("%.20q: the connection goes on", head)
			}
		}
		body("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
		body("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + noise(50_000))
		body("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		body("GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"[28:])

		// a body that comes bit by bit is not silent; a route may be patient
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 8 {
			if !c.Silent(50 * time.Millisecond) {
				t.Error("cut although it moved")
			}
			c.Send("1\r\na\r\n")
		}
		c.Send("0\r\n\r\n")
		if r := c.Read("POST"); r.Body != digest("aaaaaaaa") {
			t.Error(r)
		}
		c.Send("POST /patient HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
		if !c.Silent(1200 * time.Millisecond) {
			t.Error("cut before the route's own timeout")
		}
		c.Send("0\r\n\r\n")
		if r := c.Read("POST"); r.Body != digest("a") || !r.Persists() {
			t.Error(r)
		}
		// what was patient for one request is not for the next
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
		refused(t, c.Read("POST"), 408, "client_timeout")

		// silent before the first byte, or between two requests: nothing to say
		c = testkit.Dial(t, w.Addr("web"))
		if !c.Closed() {
			t.Error("a connection that never spoke stays")
		}
		c = testkit.Dial(t, w.Addr("web"))
		c.Get("/")
		if !c.Closed() {
			t.Error("an idle connection stays")
		}
		if s := w.Backend("web", b.Addr()); s.Errors != 0 {
			t.Errorf("%d errors count against the backend", s.Errors)
		}
	})
}

// A client that hangs up ends its request at the backend, and nobody is blamed.
func TestClientHangsUp(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b, other := testkit.NewBackend(t, testkit.NeverAnswer), testkit.NewBackend(t, testkit.NeverAnswer)
		w := testkit.StartOn(t, setup{backends: at(b, other), pool: "health: {passive: {consecutive_errors: 1}}\n"}.yaml(), o)
		requests := func() int64 { return b.Requests.Load() + other.Requests.Load() }
		open := func() int64 { return b.Open.Load() + other.Open.Load() }
		f := func(text string, m testkit.Manner, leave func(c *testkit.Client)) {
			t.Helper()
			b.Become(m)
			other.Become(m)
			before := requests()
			c := testkit.Dial(t, w.Addr("web"))
			c.Send(text)
			eventually(t, "the request is at the backend", func() bool { return requests() == before+1 })
			leave(c)
			eventually(t, "the connection to the backend is closed", func() bool { return open() == 0 })
			if n := requests(); n != before+1 {
				t.Errorf("%d requests reached backends, want 1", n-before)
			}
		}
		closing := func(c *testkit.Client) { c.Conn.Close() }
		get := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		f(get, testkit.NeverAnswer, closing)
		f(get, testkit.NeverAnswer, (*testkit.Client).Reset)
		f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", testkit.NeverAnswer, closing)
		f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n"+noise(9000), testkit.NeverAnswer, closing)
		f(get, testkit.StopInBody, closing)
		f(get, func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
			return testkit.NeverAnswer(x)
		}, closing)
		f(get, func(x *testkit.Exchange) bool { // more than fits on the way
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 100_000_000))
			return false
		}, (*testkit.Client).Reset)
		for _, backend := range []*testkit.Backend{b, other} {
			if s := w.Backend("web", backend.Addr()); s.Errors != 0 || s.State != "up" || s.InFlight != 0 {
				t.Errorf("%+v", s)
			}
		}
		all := records(t, w)
		if len(all) != 7 {
			t.Errorf("%d records, want 7", len(all))
		}
		for i, r := range all {
			if r.Reason != "client_closed" || len(r.Attempts) != 1 || (r.Status != 499 && r.Status != 200) {
				t.Errorf("record %d: %+v", i, r)
			}
		}
	})
}

// Connections that are too many are told so.
func TestConnectionLimits(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	f := func(limit string, status int, reason string) {
		w := testkit.Start(t, alone(b, "limits: {"+limit+": 2}"))
		defer w.Close()
		one, two := testkit.Dial(t, w.Addr("web")), testkit.Dial(t, w.Addr("web"))
		for _, c := range []*testkit.Client{one, two} {
			if r := c.Get("/"); r.Status != 200 {
				t.Error(r)
			}
		}
		three := testkit.Dial(t, w.Addr("web"))
		r := three.Get("/")
		refused(t, r, status, reason)
		if r.Header("Connection") != "close" || !three.Closed() {
			t.Error("the connection goes on")
		}
		if r := one.Get("/"); r.Status != 200 {
			t.Error(r)
		}
		one.Conn.Close()
		three.Conn.Close()
		eventually(t, "one of the two is gone", func() bool { return w.Proxy.Status().Listeners[0].Connections == 1 })
		if r := testkit.Get(t, w.Addr("web"), "/"); r.Status != 200 {
			t.Error(r)
		}
		if got := w.Metric(fmt.Sprintf("weir_errors_total{reason=%q}", reason)); got != "1" {
			t.Errorf("weir_errors_total is %s", got)
		}
	}
	f("connections", 503, "all_full")
	f("connections_per_ip", 429, "rate_limited")
}
