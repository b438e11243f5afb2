package health_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/health"
)

// answers is a peer that hears a request and says the parts one after the other.
func answers(t *testing.T, parts ...string) (addr string) {
	t.Helper()
	return peer(t, func(conn net.Conn) {
		conn.Read(make([]byte, 4<<10))
		for i, p := range parts {
			if i > 0 {
				time.Sleep(5 * time.Millisecond) // so that parts are read one by one: nothing tells this side when they have been
			}
			io.WriteString(conn, p)
		}
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	})
}

// Whatever is answered is understood as net/http understands it, over a
// connection of one probe as over one that might be kept.
func TestHTTPAnswers(t *testing.T) {
	pace := onLoop(t)
	f := func(c health.HTTP, want string, parts ...string) {
		t.Helper()
		addr := answers(t, parts...)
		for how, got := range map[string]string{"alone": probe(t, c, addr), "on a loop": once(t, pace, c, addr)} {
			if !strings.Contains(got, want) {
				t.Errorf("%s, %.100q: %.300s, want %s", how, parts, got, want)
			}
		}
	}
	any := health.HTTP{}
	has := func(body string) health.HTTP { return health.HTTP{Body: body} }
	const broken = "transport connection broken: "

	// the usual
	f(any, "pass", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	f(has("ok"), "pass", "HTTP/1.1 200 OK\r\ncontent-length:\t2 \r\nConnection: Keep-Alive\r\n\r\nok")
	f(has("ok"), "pass", "HTTP/1.1 200\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	f(has("ok"), "pass", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "o", "k")
	f(any, "status 500, want 200-399", "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nok")
	f(any, "pass", "HTTP/1.1 204 No Content\r\n\r\n")
	f(any, "pass", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n")
	f(health.HTTP{Method: "HEAD"}, "pass", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
	f(has("no"), `body does not contain "no"`, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

	// bodies are as long as their heads say
	f(has("okay"), "does not contain", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay")
	f(has("ok"), "read body: unexpected EOF", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\no")
	f(any, "pass", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\no")
	f(has("abc"), "pass", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "2\r\nbc\r\n0\r\n\r\n")
	f(has("abc"), "pass", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	f(has("abc"), "read body: invalid byte in chunk length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\nabc\r\n0\r\n\r\n")
	f(has("abc"), "pass", "HTTP/1.1 200 OK\r\n\r\na", "bc")
	f(has("abc"), "pass", "HTTP/1.0 200 OK\r\n\r\nabc")
	f(any, broken+"unsupported transfer encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab")
	f(any, broken+`bad Content-Length "2x"`, "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok")
	f(any, broken+"http: message cannot contain multiple", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
	f(has("ok"), "pass", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")

	// heads that come in parts, are long, or go before others
	f(has("ok"), "pass", "HTTP/1.1 20", "0 OK\r\nContent-Le", "ngth: 2\r\n\r\nok")
	f(has("ok"), "pass", "HTTP/1.1 200 OK\r\n"+strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 40)+"Content-Length: 2\r\n\r\nok")
	f(any, broken+"net/http: server response headers exceeded 65536 bytes", "HTTP/1.1 200 OK\r\n"+strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 70))
	f(any, broken+"net/http: server response headers exceeded 65536 bytes", strings.Repeat("y", 70_000))
	f(has("ok"), "pass", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	f(any, "status 101, want 200-399", "HTTP/1.1 101 Switching Protocols\r\n\r\n")
	f(has("ok"), "pass", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok")

	// what is no answer
	f(any, "EOF")
	f(any, broken+`malformed HTTP response "SSH-2.0-x"`, "SSH-2.0-x\r\n")
	f(any, broken+`malformed HTTP status code "20"`, "HTTP/1.1 20\r\n\r\n")
	f(any, broken+`malformed HTTP status code "2"`, "HTTP/1.1 2")
	f(any, broken+"malformed MIME header", "HTTP/1.1 200 OK\r\nbad line\r\n\r\n")
	f(any, broken+"malformed MIME header", "HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n")
	f(any, broken+"unexpected EOF", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
}

// Whoever stops in the middle is late, wherever that is.
func TestHTTPSilence(t *testing.T) {
	pace := onLoop(t)
	f := func(c health.HTTP, said, want string) {
		t.Helper()
		addr := peer(t, func(conn net.Conn) {
			io.WriteString(conn, said)
			io.Copy(io.Discard, conn)
		})
		if got := onceWithin(t, pace, c, addr, 20*time.Millisecond); got != want {
			t.Errorf("%q: %s, want %s", said, got, want)
		}
	}
	f(health.HTTP{}, "", "no verdict within 20ms: context deadline exceeded")
	f(health.HTTP{}, "HTTP/1.1 2", "no verdict within 20ms: context deadline exceeded")
	f(health.HTTP{}, "HTTP/1.1 200 OK\r\nX", "no verdict within 20ms: context deadline exceeded")
	f(health.HTTP{Body: "x"}, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "no verdict within 20ms: read body: context deadline exceeded")
	f(health.HTTP{Body: "x"}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "no verdict within 20ms: read body: context deadline exceeded")
	f(health.HTTP{Body: "a"}, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "pass")

	// the status was the verdict: the rest would only be in the way
	f(health.HTTP{}, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "pass")
	f(health.HTTP{}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "pass")
}

// What is parsed here is what net/http would have made of it.
func FuzzHead(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 204 \r\nConnection: close\r\nconnection: keep-alive\r\n\r\n",
		"HTTP/1.1 200\r\nA: b\r\nContent-Length:\t0002 \r\n\r\nok",
		"HTTP/1.1 304 x\r\nContent-Length: 20\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 999 \xff\r\nX_y:\r\nContent-Length: 2147483647\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\rc\r\n: d\r\n e\r\nContent-Length: +1\r\n\r\n",
	} {
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, head bool) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		status, end, length, closes, ok := health.ParseHead(b, method)
		if !ok {
			return
		}
		rest := bytes.NewReader(b)
		r := bufio.NewReader(rest)
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q was understood, and is %v", b, err)
		}
		if at := len(b) - rest.Len() - r.Buffered(); at != end {
			t.Errorf("%q ends after %d bytes, not %d", b, at, end)
		}
		want := fmt.Sprint(res.StatusCode, " ", res.Close)
		if got := fmt.Sprint(status, " ", closes); got != want {
			t.Errorf("%q is %s, not %s", b, want, got)
		}
		body, _ := io.ReadAll(res.Body)
		if len(b) >= end+length && len(body) != length {
			t.Errorf("%q has a body of %d bytes, not %d", b, len(body), length)
		}
	})
}
