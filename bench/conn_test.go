package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serveText answers every connection's first request with text and closes.
func serveText(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return "http://" + ln.Addr().String() + "/"
}

func TestAnswers(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		p, err := Run(t.Context(), Options{URL: serveText(t, text), Connections: 1, Requests: 1, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		got := p.Causes()
		if p.Answers > 0 {
			got = strings.TrimSpace(got + " " + p.statusText() + " " + Bytes(p.BodyBytes))
		}
		if got != want {
			t.Errorf("%.60q: %s, want %s", text, got, want)
		}
	}
	// each framing
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 × 1 5 B")
	f("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: v\r\n\r\n", "200 × 1 13 B")
	f("HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 × 1 13 B")
	f("HTTP/1.0 200 OK\n\nbare", "200 × 1 4 B")
	f("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", "204 × 1 0 B")
	f("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "304 × 1 0 B")
	// an interim answer is not the answer
	f("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "200 × 1 1 B")
	// answered, and still an error
	f("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status 1 503 × 1 0 B")
	// cut
	f("", "reset 1")
	f("HTTP/1.1 20", "short_body 1")
	f("HTTP/1.1 200 OK\r\nContent-Le", "short_body 1")
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "short_body 1")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "short_body 1")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "short_body 1")
	// nonsense
	f("SSH-2.0-OpenSSH\r\n\r\n", "protocol 1")
	f("HTTP/1.1 abc OK\r\n\r\n", "protocol 1")
	f("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "protocol 1")
	f("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "protocol 1")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "protocol 1")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "protocol 1")
	f("HTTP/1.1 101 Switching Protocols\r\n\r\n", "protocol 1")
	f("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("y", readBuffer)+"\r\n\r\n", "protocol 1")
}

// FuzzAnswer demands that no answer, however broken, panics or runs on.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 103 X\r\n\r\nHTTP/1.0 404 Y\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := newConn(&textConn{Reader: bytes.NewReader(text)})
		a, err := c.roundTrip(nil, false, time.Time{})
		if err == nil && (a.status < 200 || a.status > 999 || a.bytes > int64(len(text))) {
			t.Errorf("%q: %+v", text, a)
		}
	})
}

// textConn is a connection on which only reading gives something.
type textConn struct {
	net.Conn
	io.Reader
}

func (c *textConn) Read(p []byte) (int, error)  { return c.Reader.Read(p) }
func (c *textConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *textConn) SetDeadline(time.Time) error { return nil }

func TestRequestBytes(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		tg, err := o.resolve()
		got := string(tg.request)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	f(Options{URL: "http://h:81"}, "GET / HTTP/1.1\r\nHost: h:81\r\nUser-Agent: weir-bench\r\n\r\n")
	f(Options{URL: "http://h/a%20b?c=d", Method: "HEAD"}, "HEAD /a%20b?c=d HTTP/1.1\r\nHost: h\r\nUser-Agent: weir-bench\r\n\r\n")
	f(Options{URL: "http://h/", Header: []string{"host: other", "X-A:1"}, Body: []byte("abc")},
		"POST / HTTP/1.1\r\nHost: other\r\nUser-Agent: weir-bench\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nabc")
	f(Options{URL: "https://h/"}, errHTTPS.Error())
	f(Options{URL: "h:80"}, `"h:80" is not a URL of the form http://host:port/path`)
	f(Options{URL: "http:///x"}, `"http:///x" names no host; want http://host:port/path`)
	f(Options{URL: "http://h/", Header: []string{"oops"}}, `"oops" is not a header line; want "Name: value"`)
	f(Options{URL: "http://h/", Header: []string{"a: b\r\nc: d"}}, `"a: b\r\nc: d" is not a header line; want "Name: value"`)
	f(Options{URL: "http://h/", Method: "GET /"}, `"GET /" is not a method`)
	f(Options{URL: "http://h/", Rate: -1}, "connections, requests, duration, timeout and rate must not be negative")
	f(Options{URL: "http://h/", Rate: 1e10}, "a rate of 1e+10 is more than one request a nanosecond")
}

// A real server: keep-alive, a body each way, Connection: close.
func TestRealServer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/close" {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.Copy(w, r.Body)
	}))
	defer s.Close()

	p, err := Run(t.Context(), Options{URL: s.URL, Connections: 4, Requests: 100, Body: []byte("0123456789")})
	if err != nil || p.Answers != 100 || p.Failed != 0 || p.Connects != 4 || p.BodyBytes != 1000 {
		t.Errorf("%+v, %v; want 100 answers of 10 bytes over 4 connections", p, err)
	}
	p, err = Run(t.Context(), Options{URL: s.URL + "/close", Connections: 2, Requests: 10})
	if err != nil || p.Answers != 10 || p.Failed != 0 || p.Connects != 10 {
		t.Errorf("%+v, %v; want 10 answers over 10 connections", p, err)
	}
	p, err = Run(t.Context(), Options{URL: s.URL, Method: "HEAD", Connections: 1, Requests: 10})
	if err != nil || p.Answers != 10 || p.Failed != 0 || p.BodyBytes != 0 || p.Connects != 1 {
		t.Errorf("%+v, %v; want 10 answers without bodies over 1 connection", p, err)
	}
}

func TestReportText(t *testing.T) {
	p := &Report{
		URL: "http://h/", Method: "GET", Loop: "open", Connections: 8, Rate: 100, Seconds: 10,
		Requests: 1000, Answers: 998, PerSecond: 99.8, BodyBytes: 1 << 20, Connects: 9, NotSent: 2, Failed: 5,
		ErrorCounts: Errors{"status": 3, "reset": 2}, Statuses: map[int]int64{200: 995, 503: 3},
		Latency: Quantiles{Mean: 2 * time.Millisecond, P50: time.Millisecond, P90: 12345 * time.Microsecond, P99: 123456 * time.Microsecond, P999: 1234 * time.Millisecond, P9999: 2 * time.Second, Max: 30 * time.Second},
	}
	var b strings.Builder
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"8 connections, open loop at 100/s, 10.00 s", "998", "99.8/s", "1.00 MiB", "status 3, reset 2",
		"200 × 995, 503 × 3", "not sent", "1.00ms", "12.3ms", "123ms", "1.23s", "30.0s", "service",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
	js, err := json.Marshal(p)
	if err != nil || !bytes.Contains(js, []byte(`"p99":0.123456`)) || !bytes.Contains(js, []byte(`"errors":{"reset":2,"status":3}`)) {
		t.Errorf("JSON %s, %v", js, err)
	}
}
