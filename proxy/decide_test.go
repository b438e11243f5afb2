package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/pool"
)

// The decision table: what each way of failing means to the pool, to the client
// and to the next attempt.
func TestClassify(t *testing.T) {
	refused, reset := &os.SyscallError{Err: syscall.ECONNREFUSED}, &os.SyscallError{Err: syscall.ECONNRESET}
	late := os.ErrDeadlineExceeded
	f := func(in failure, outcome pool.Outcome, reason metrics.Reason, nothing, headless bool) {
		t.Helper()
		if got, want := classify(in), (verdict{outcome, reason, nothing, headless}); got != want {
			t.Errorf("%+v: %+v, want %+v", in, got, want)
		}
	}
	f(failure{at: dialing, err: refused}, pool.ConnectRefused, metrics.ConnectRefused, true, false)
	f(failure{at: dialing, err: late}, pool.ConnectTimeout, metrics.ConnectTimeout, true, false)
	f(failure{at: dialing, err: errors.New("no route to host")}, pool.ConnectRefused, metrics.ConnectRefused, true, false)

	// a connection that was used before and died is nobody's fault
	f(failure{at: sending, err: syscall.EPIPE, reused: true, unsent: true}, pool.Stale, metrics.UpstreamReset, true, true)
	f(failure{at: sending, err: reset, reused: true}, pool.Stale, metrics.UpstreamReset, false, true)
	f(failure{at: waiting, err: io.EOF, reused: true}, pool.Stale, metrics.UpstreamReset, false, true)
	// a fresh one is the backend's
	f(failure{at: sending, err: reset}, pool.Reset, metrics.UpstreamReset, false, true)
	f(failure{at: waiting, err: io.EOF}, pool.Reset, metrics.UpstreamReset, false, true)
	// half a head is no answer yet, and no stale connection either
	f(failure{at: reading, err: errTruncated, reused: true}, pool.Reset, metrics.UpstreamReset, false, true)
	f(failure{at: reading, err: reset}, pool.Reset, metrics.UpstreamReset, false, true)
	// once there is a head there is no second one
	f(failure{at: relaying, err: io.ErrUnexpectedEOF}, pool.Reset, metrics.UpstreamReset, false, false)

	f(failure{at: waiting, err: late, reused: true}, pool.ResponseTimeout, metrics.UpstreamTimeout, false, false)
	f(failure{at: reading, err: errStatusLine}, pool.BadResponse, metrics.BadResponse, false, false)
	f(failure{at: relaying, err: errChunk}, pool.BadResponse, metrics.BadResponse, false, false)

	// the client's doing is held against nobody, whatever it did to the backend
	f(failure{at: waiting, err: loop.ErrCanceled}, pool.ClientClosed, metrics.ClientClosed, false, false)
	f(failure{at: waiting, err: io.EOF, body: errBodyTooLarge}, pool.ClientClosed, metrics.BodyTooLarge, false, false)
	f(failure{at: waiting, err: io.EOF, body: late}, pool.ClientClosed, metrics.ClientTimeout, false, false)
	f(failure{at: waiting, err: io.EOF, body: io.ErrUnexpectedEOF}, pool.ClientClosed, metrics.ClientClosed, false, false)
	f(failure{at: waiting, err: io.EOF, body: errors.New("broken chunk")}, pool.ClientClosed, metrics.BadRequest, false, false)
}

func TestNormalPaths(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		var to target
		ok := to.parse([]byte(in), false)
		if got := string(to.path); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, ok, want)
		}
	}
	f("/", "/")
	f("/a/b/", "/a/b/")
	f("//a///b//", "/a/b/")
	f("/./a/./b/.", "/a/b/")
	f("/a/b/../c", "/a/c")
	f("/a/..", "/")
	f("/a/../..", "")
	f("/%2e%2E/a", "")
	f("/a/%2e%2e/b", "/b")
	f("/.well-known/x", "/.well-known/x")
	f("/...", "/...")
	f("/%41%5a%2d%7E", "/AZ-~")
	f("/a%2fb%3f%23", "/a%2Fb%3F%23")
	f(`/a\..\b`, "/a%5C..%5Cb")
	f("/caf\xc3\xa9", "/caf%C3%A9")
	f("/a%", "")
	f("/a%1", "")
	f("/a b", "")
	f("a", "")
	f("*", "")
	f("http://h", "/")
	f("http:///a", "")
	f("http://u@h/a", "")
}

func TestChunkSizes(t *testing.T) {
	f := func(n int, want string) {
		t.Helper()
		var room [10]byte
		if got := string(room[putChunkSize(room[:], n):]); got != want+"\r\n" {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	f(1, "1")
	f(15, "f")
	f(16, "10")
	f(65536, "10000")
	f(1<<32-1, "ffffffff")
}

// What every request goes through allocates nothing.
func TestHotFunctionsDoNotAllocate(t *testing.T) {
	var h head
	var answer responseHead
	var to target
	var c chunkReader
	block := []byte("Host: a\r\nUser-Agent: b\r\nConnection: keep-alive, X-A\r\nX-A: 1\r\nCookie: c=d\r\nContent-Length: 5\r\n\r\n")
	head := []byte("HTTP/1.1 200 OK\r\nServer: a\r\nSet-Cookie: b\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n")
	chunks := []byte("5\r\nhello\r\n0\r\n\r\n")
	f := func(what string, run func()) {
		t.Helper()
		if n := testing.AllocsPerRun(1000, run); n != 0 {
			t.Errorf("%s allocates %v times, want 0", what, n)
		}
	}
	f("head.parse", func() {
		if h.parse(block, 100) != nil || !h.named([]byte("x-a")) {
			t.Error("not parsed")
		}
	})
	f("responseHead.parse", func() {
		if answer.parse(head, 100) != nil {
			t.Error("not parsed")
		}
		answer.decide(false)
	})
	plain, odd := []byte("/plain?q"), []byte("/a/../b//%63?q")
	f("target.parse", func() {
		if !to.parse(odd, false) || !to.parse(plain, false) {
			t.Error("not parsed")
		}
	})
	f("chunkReader", func() {
		c = chunkReader{trailers: c.trailers[:0]}
		for b := chunks; c.state != chunkDone; {
			_, used, err := c.next(b)
			if err != nil {
				t.Fatal(err)
			}
			b = b[used:]
		}
	})
	err := error(&os.SyscallError{Err: syscall.ECONNRESET})
	f("classify", func() {
		if classify(failure{at: waiting, err: err}).outcome != pool.Reset {
			t.Error("not a reset")
		}
	})
	f("isIdempotent", func() {
		if !isIdempotent([]byte(http.MethodGet)) {
			t.Error("GET is not idempotent")
		}
	})
	f("sooner", func() {
		if now := time.Now(); sooner(now, after(now, time.Second)) != now {
			t.Error("later is sooner")
		}
	})
}
