package proxy_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// alone is one backend, one attempt, and little patience.
func alone(b *testkit.Backend, defaults string) string {
	return setup{defaults: defaults, backends: at(b), route: "retries: {attempts: 0}"}.yaml()
}

// What a backend does wrong, and what the client, the log and the counters are told.
func TestUpstreamReasons(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, nil)
		w := testkit.StartOn(t, alone(b, "timeouts: {response: 300ms}"), o)
		c := testkit.Dial(t, w.Addr("web"))
		seen := map[string]int{}
		f := func(status int, reason string, m testkit.Manner) {
			t.Helper()
			b.Become(m)
			r := c.Get("/")
			refused(t, r, status, reason)
			if !r.Persists() {
				t.Error("the client's connection ends with it")
			}
			seen[reason]++
		}
		f(502, "upstream_reset", testkit.CloseBeforeHead)
		f(502, "upstream_reset", testkit.Reset)
		f(502, "upstream_reset", testkit.CloseInHead)
		f(502, "upstream_reset", testkit.HalfBody(10, 5))
		f(504, "upstream_timeout", testkit.NeverAnswer)
		f(504, "upstream_timeout", testkit.StopInBody)
		f(502, "bad_response", testkit.HugeHeader(100_000))
		f(502, "bad_response", testkit.EndlessHeader)
		for _, head := range []string{
			"garbage\r\n\r\n",
			"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
			"HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok",
			"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokok\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
			"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nX-A: b\x00c\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 300) + "Content-Length: 2\r\n\r\nok",
		} {
			f(502, "bad_response", testkit.Raw(head, true))
		}
		b.Become(testkit.HugeHeader(40_000)) // large, but not too large
		if r := c.Get("/"); r.Status != 200 || len(r.Header("X-Huge")) != 40_000 {
			t.Error(r)
		}
		b.Become(testkit.Answer(200, "fine"))
		if r := c.Get("/"); r.Body != "fine" {
			t.Error(r)
		}
		b.Stop()
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		refused(t, c.Read("GET"), 502, "connect_refused")
		seen["connect_refused"]++

		counted := map[string]int{}
		for reason, n := range seen {
			eventually(t, fmt.Sprintf("%d answers are counted for %s", n, reason), func() bool {
				return w.Metric(fmt.Sprintf("weir_errors_total{reason=%q}", reason)) == itoa(n)
			})
		}
		for _, r := range records(t, w) {
			if r.Status >= 500 {
				counted[r.Reason]++
				if last := r.Attempts[len(r.Attempts)-1]; last.Error != r.Reason || last.Backend != b.Addr() {
					t.Errorf("%s: last attempt %+v", r.Reason, last)
				}
			}
		}
		if fmt.Sprint(counted) != fmt.Sprint(seen) {
			t.Errorf("logged %v, want %v", counted, seen)
		}
	})
}

// Nobody was tried: 503, and when to come back.
func TestPoolReasons(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.Start(t, setup{backends: []string{fmt.Sprintf("{address: %q, max_requests: 1}", b.Addr())}}.yaml())
	c := testkit.Dial(t, w.Addr("web"))

	release := make(chan bool)
	b.Become(func(x *testkit.Exchange) bool { <-release; return testkit.Answer(200, "ok")(x) })
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually(t, "the first request is there", func() bool { return b.Requests.Load() == 1 })
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 503, "all_full")
	close(release)
	if r := c.Read("GET"); r.Body != "ok" {
		t.Error(r)
	}
	if r := c.Get("/"); r.Body != "ok" {
		t.Error(r)
	}

	w.Apply(setup{}.yaml())
	refused(t, c.Get("/"), 503, "pool_empty")

	closed := testkit.NewBackend(t, testkit.Answer(503, "sick"))
	w.Apply(setup{backends: at(closed), pool: "health: {panic_threshold: 0, active: {interval: 1h, timeout: 1s}}\n"}.yaml())
	refused(t, c.Get("/"), 503, "no_healthy")
}

// blackhole is an address that takes no connection and refuses none: a socket
// that listens with a backlog that is full.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, _ := syscall.Getsockname(fd)
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 10 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("the backlog takes everything")
	return ""
}

func TestConnectTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		hole := blackhole(t)
		b := testkit.NewBackend(t, testkit.Named("other"))
		backends := []string{fmt.Sprintf("{address: %q}", hole)}
		w := testkit.StartOn(t, setup{defaults: "timeouts: {connect: 100ms}", backends: backends}.yaml(), o)
		c := testkit.Dial(t, w.Addr("web"))
		start := time.Now()
		refused(t, c.Get("/"), 504, "connect_timeout")
		if took := time.Since(start); took < 90*time.Millisecond || took > 3*time.Second {
			t.Errorf("after %v", took)
		}
		// nothing was sent: another backend may have it, whatever the method
		w.Apply(setup{defaults: "timeouts: {connect: 100ms}", backends: append(backends, at(b)...)}.yaml())
		for range 4 {
			if r := c.Post("/", "x"); r.Body != "other" {
				t.Error(r)
			}
		}
		// the request's own time may be shorter
		w.Apply(setup{defaults: "timeouts: {request: 100ms, connect: 60s}", backends: backends}.yaml())
		refused(t, c.Get("/"), 504, "request_timeout")
	})
}

func TestRequestTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.NeverAnswer)
		w := testkit.StartOn(t, alone(b, "timeouts: {request: 200ms}"), o)
		c := testkit.Dial(t, w.Addr("web"))
		refused(t, c.Get("/"), 504, "request_timeout")
		refused(t, c.Post("/", "small"), 504, "request_timeout")
		// bytes that come in time do not help a request that takes too long
		b.Become(testkit.Drip(strings.Repeat("d", 1000), 20*time.Millisecond))
		if r := c.Get("/"); r.Status == 200 && r.Err == nil {
			t.Error(r)
		}
		c = testkit.Dial(t, w.Addr("web"))
		b.Become(testkit.StopInBody)
		refused(t, c.Get("/"), 504, "request_timeout")
		// in the middle of an upload
		b.Become(testkit.NeverAnswer)
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + noise(50_000))
		refused(t, c.Read("POST"), 504, "request_timeout")
		for _, r := range records(t, w) {
			if r.Reason != "request_timeout" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// A client that takes its time does not get more of it than there is.
func TestRequestTimeoutOfSlowReader(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		cut, body := make(chan error, 1), make([]byte, 64<<20)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n")
			_, err := x.Conn.Write(body)
			cut <- err
			return false
		})
		w := testkit.StartOn(t, alone(b, "timeouts: {request: 200ms}"), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if err := await(t, cut, "end"); err == nil {
			t.Error("all of it was sent")
		}
		if r := records(t, w)[0]; r.Reason != "request_timeout" || r.Status != 200 {
			t.Errorf("%+v", r)
		}
	})
}

// A backend that takes a head and then nothing more does not hold the client
// for ever; one that is slow, but takes some, is given time.
func TestBackendTakesNoUpload(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			<-x.Done
			return false
		})
		w := testkit.StartOn(t, alone(b, "timeouts: {response: 300ms}"), o)
		c := testkit.Dial(t, w.Addr("web"))
		go func() {
			body := strings.NewReader(noise(32 << 20))
			_, _ = fmt.Fprintf(c.Conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", body.Len())
			_, _ = io.Copy(c.Conn, body) // ends with the connection
		}()
		refused(t, c.Read("POST"), 504, "upstream_timeout")
		c.Conn.Close()
	})
}
