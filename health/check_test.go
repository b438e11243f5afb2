package health_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/health"
)

// backend answers what a check asks, on a listener of its own.
func backend(t *testing.T, network, address string, h http.HandlerFunc) net.Addr {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: ln, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return ln.Addr()
}

func probe(t *testing.T, c health.Check, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Probe(ctx, addr); err != nil {
		return err.Error()
	}
	return "pass"
}

func number(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return -1
	}
	return n
}

func TestHTTP(t *testing.T) {
	addr := backend(t, "tcp", "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/status":
			code, _ := strconv.Atoi(r.URL.Query().Get("code"))
			w.WriteHeader(code)
		case "/moved":
			http.Redirect(w, r, "/status?code=500", http.StatusFound)
		case "/echo":
			payload, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "method=%s host=%s agent=%s close=%v accept=%v keys=%v payload=%s",
				r.Method, r.Host, r.UserAgent(), r.Close, r.Header["Accept"], r.Header["X-Key"], payload)
		case "/long":
			io.WriteString(w, strings.Repeat("x", 64<<10)+"too late")
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("y", 1<<12)); err != nil {
					return
				}
			}
		case "/cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "only this")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}).String()
	f := func(c health.HTTP, want string) {
		t.Helper()
		if got := probe(t, c, addr); !strings.Contains(got, want) {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}

	// the zero check wants anything from 200 to 399 of /
	f(health.HTTP{}, "pass")
	f(health.HTTP{Path: "/status?code=399"}, "pass")
	f(health.HTTP{Path: "/status?code=400"}, "status 400, want 200-399")
	f(health.HTTP{Path: "/status?code=503"}, "status 503, want 200-399")

	// expected statuses are ranges with both ends in
	f(health.HTTP{Path: "/status?code=404", Expect: []health.Range{{From: 200, To: 204}, {From: 404, To: 404}}}, "pass")
	f(health.HTTP{Path: "/status?code=205", Expect: []health.Range{{From: 200, To: 204}, {From: 404, To: 404}}},
		"status 205, want 200-204, 404")

	// a redirect is an answer, and where it leads is not asked
	f(health.HTTP{Path: "/moved"}, "pass")
	f(health.HTTP{Path: "/moved", Expect: []health.Range{{From: 200, To: 299}}}, "status 302")

	// the request is what the operator wrote, on a connection of its own
	f(health.HTTP{Path: "/echo", Body: "method=GET host=" + addr + " agent=weir-check close=true"}, "pass")
	f(health.HTTP{Path: "/echo", Method: "POST", Host: "a.example", Body: "method=POST host=a.example"}, "pass")

	// also its headers and body
	f(health.HTTP{Path: "/echo", Method: "POST", Payload: "ping", Headers: []health.Header{
		{"Accept", "text/plain"}, {"X-Key", "a"}, {"x-key", "b"}, {"Host", "not.this"}, {"User-Agent", "mine"},
	}, Body: "method=POST host=" + addr + " agent=mine close=true accept=[text/plain] keys=[a b] payload=ping"}, "pass")
	f(health.HTTP{Headers: []health.Header{{"X-Key", "a\nb"}}}, "invalid header")

	// the body is searched, but not for ever
	f(health.HTTP{Path: "/echo", Body: "no such thing"}, `body does not contain "no such thing"`)
	f(health.HTTP{Path: "/long", Body: "xxx"}, "pass")
	f(health.HTTP{Path: "/long", Body: "too late"}, "does not contain")
	f(health.HTTP{Path: "/endless", Body: "no such thing"}, "does not contain")
	f(health.HTTP{Path: "/endless"}, "pass")
	f(health.HTTP{Path: "/cut", Body: "only this"}, "pass")
	f(health.HTTP{Path: "/cut", Body: "more"}, "read body")

	// a path that is none is a failed check, not a panic
	f(health.HTTP{Path: "/%zz"}, "check request")
}

// A check answered with 10 GB takes what it needs, which the sockets' buffers
// exceed, and hangs up.
func TestHTTPDoesNotReadWhatItDoesNotNeed(t *testing.T) {
	const declared = 10 << 30
	sent := make(chan int64, 1)
	addr := backend(t, "tcp", "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(declared))
		n, _ := io.Copy(w, io.LimitReader(zeros{}, declared))
		sent <- n
	}).String()
	for _, c := range []health.HTTP{{}, {Body: "no such thing"}, {Expect: []health.Range{{From: 404, To: 404}}}} {
		probe(t, c, addr)
		if n := <-sent; n > 64<<20 {
			t.Errorf("%+v: %d bytes were sent, want few", c, n)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestHTTPMakesANewConnectionEachTime(t *testing.T) {
	var conns atomic.Int32
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: ln, Config: &http.Server{
		Handler: http.NotFoundHandler(),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				conns.Add(1)
			}
		},
	}}
	s.Start()
	defer s.Close()
	c := health.HTTP{Expect: []health.Range{{From: 404, To: 404}}}
	for range 5 {
		if got := probe(t, c, ln.Addr().String()); got != "pass" {
			t.Fatal(got)
		}
	}
	if n := conns.Load(); n != 5 {
		t.Errorf("5 probes used %d connections, want 5", n)
	}
}

func TestChecksOverUnixSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	backend(t, "unix", path, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "host="+r.Host) })
	for _, c := range []health.Check{
		health.TCP{},
		health.TCP{Port: 1}, // a socket has no port to replace
		health.HTTP{Body: "host=localhost"},
		health.HTTP{Host: "a.example", Body: "host=a.example", Port: 1},
	} {
		if got := probe(t, c, "unix:"+path); got != "pass" {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if got := probe(t, health.TCP{}, "unix:"+path+".gone"); !strings.Contains(got, "no such file") {
		t.Errorf("a socket that is not there: %s", got)
	}
}

func TestChecksAskAnotherPort(t *testing.T) {
	real := backend(t, "tcp", "[::1]:0", func(w http.ResponseWriter, r *http.Request) {}).(*net.TCPAddr)
	for _, c := range []health.Check{health.TCP{Port: real.Port}, health.HTTP{Port: real.Port}} {
		if got := probe(t, c, "[::1]:1"); got != "pass" {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestChecksOfNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	for _, c := range []health.Check{health.TCP{}, health.HTTP{}} {
		if err := c.Probe(t.Context(), addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%T: %v, want connection refused", c, err)
		}
		if err := c.Probe(t.Context(), "nonsense"); err == nil {
			t.Errorf("%T accepts an address without a port", c)
		}
	}
}

// A backend that accepts and says nothing: the context ends the probe.
func TestHTTPEndsWithItsContext(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // never accepts: the kernel does
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := (health.HTTP{}).Probe(ctx, ln.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
}
