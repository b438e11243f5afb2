package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// sizes are where buffers, limits and framings change.
var sizes = []int{0, 1, 100, 8191, 8192, 8193, 16383, 16384, 16385, 65535, 65536, 65537, 3 << 20}

// noise is n bytes that no mistake would leave as they are.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return string(b)
}

func digest(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// hashing answers an upload with the hash of its body.
func hashing(x *testkit.Exchange) bool {
	body, err := x.Body()
	if err != nil {
		return false
	}
	return testkit.Answer(200, digest(string(body)), "X-Framing: "+x.Header("Content-Length")+x.Header("Transfer-Encoding"))(x)
}

// chunked puts s into chunks of random sizes, up to most bytes.
func chunked(s string, most int, trailers ...string) string {
	r := rand.New(rand.NewPCG(2, uint64(len(s))))
	var b strings.Builder
	for len(s) > 0 {
		n := min(1+r.IntN(most), len(s))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, s[:n])
		s = s[n:]
	}
	b.WriteString("0\r\n")
	for _, t := range trailers {
		b.WriteString(t + "\r\n")
	}
	return b.String() + "\r\n"
}

func TestUploads(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, hashing)
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		for _, n := range sizes {
			body := noise(n)
			if r := c.Post("/", body); r.Status != 200 || r.Body != digest(body) || r.Header("X-Framing") != itoa(n) || !r.Persists() {
				t.Fatalf("%d bytes by length: %v", n, r)
			}
			c.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 70_000))
			if r := c.Read("POST"); r.Status != 200 || r.Body != digest(body) || r.Header("X-Framing") != "chunked" || !r.Persists() {
				t.Fatalf("%d bytes in chunks: %v", n, r)
			}
		}
		if r := c.Get("/"); r.Body != digest("") || r.Header("X-Framing") != "" {
			t.Error(r)
		}
	})
}

func TestDownloads(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		var body string
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			switch x.Path() {
			case "/length":
				return testkit.Answer(200, body)(x)
			case "/chunked":
				x.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 70_000))
				return true
			}
			return testkit.Raw("HTTP/1.1 200 OK\r\n\r\n"+body, false)(x)
		})
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		for _, n := range sizes {
			body = noise(n)
			for _, path := range []string{"/length", "/chunked", "/close"} {
				r := c.Get(path)
				if r.Status != 200 || r.Err != nil || digest(r.Body) != digest(body) || !r.Persists() {
					t.Fatalf("%s: %d bytes of %d: %v", path, len(r.Body), n, r.Err)
				}
				if want := map[string]string{"/length": "length"}[path]; r.Framing != want && (want != "" || r.Framing != "chunked") {
					t.Errorf("%s: the framing is %s", path, r.Framing)
				}
			}
		}
	})
}

// Chunks of one byte, in writes that cut the framing anywhere.
func TestChunksInPieces(t *testing.T) {
	b := testkit.NewBackend(t, hashing)
	w := testkit.Start(t, before(b))
	body := noise(300)
	text := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 3)
	c := testkit.Dial(t, w.Addr("web"))
	for i := 0; i < len(text); i += 7 {
		c.Send(text[i:min(i+7, len(text))])
	}
	if r := c.Read("POST"); r.Body != digest(body) {
		t.Error(r)
	}
	b.Become(func(x *testkit.Exchange) bool {
		text := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 3, "X-T: 1")
		for i := 0; i < len(text); i += 7 {
			x.Write(text[i:min(i+7, len(text))])
		}
		return true
	})
	for range 3 {
		if r := c.Get("/"); r.Body != body || len(r.Trailers) != 1 {
			t.Error(r.Status, len(r.Body), r.Trailers, r.Err)
		}
	}
}

func TestTrailers(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Chunked([]string{"a", "b"},
		[]string{"X-Sum: 1", "x-sum: 2", "Content-Length: 5", "Transfer-Encoding: chunked", "Set-Cookie: a=b"}, "Trailer: X-Sum"))
	w := testkit.Start(t, before(b))
	c := testkit.Dial(t, w.Addr("web"))
	r := c.Get("/")
	if got := strings.Join(r.Trailers, "|"); got != "X-Sum: 1|x-sum: 2" || r.Header("Trailer") != "X-Sum" || r.Body != "ab" {
		t.Errorf("trailers %q of %v", got, r)
	}
	// an HTTP/1.0 client gets the body alone
	old := testkit.Dial(t, w.Addr("web"))
	old.Send("GET / HTTP/1.0\r\n\r\n")
	if r := old.Read("GET"); r.Body != "ab" || r.Header("Trailer") != "" {
		t.Error(r)
	}

	var tail string
	b.Become(func(x *testkit.Exchange) bool {
		var buf bytes.Buffer
		for !bytes.HasSuffix(buf.Bytes(), []byte("\r\n\r\n")) {
			c, err := x.R.ReadByte()
			if err != nil {
				return false
			}
			buf.WriteByte(c)
		}
		tail = buf.String()
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return false
	})
	c.Send("POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n")
	if r := c.Read("POST"); r.Status != 200 {
		t.Error(r)
	}
	if want := "2\r\nab\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"; tail != want {
		t.Errorf("the backend got %q, want %q", tail, want)
	}
}

// Trailers without end are no answer.
func TestEndlessTrailers(t *testing.T) {
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		x.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
		for {
			if _, err := io.WriteString(x.Conn, strings.Repeat("X-More: m\r\n", 100)); err != nil {
				return false
			}
		}
	})
	w := testkit.Start(t, before(b))
	if r, err := get(t, w); err == nil && r.Status == 200 && r.Err == nil {
		t.Error(r)
	}
	if all := records(t, w); len(all) != 1 || all[0].Reason != "bad_response" {
		t.Errorf("%+v", all)
	}
}

// A body cut short by its client is never taken for a whole one.
func TestTruncatedUpload(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		ends := make(chan error, 1)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			_, err := x.Body()
			ends <- err
			return false
		})
		w := testkit.StartOn(t, before(b), o)
		f := func(head, part string) {
			t.Helper()
			for _, leave := range []func(c *testkit.Client){(*testkit.Client).Reset, (*testkit.Client).CloseWrite} {
				c := testkit.Dial(t, w.Addr("web"))
				c.Send("POST / HTTP/1.1\r\nHost: a\r\n" + head + "\r\n\r\n" + part)
				eventually(t, "the request at the backend", func() bool { return b.Requests.Load() > 0 })
				leave(c)
				if err := await(t, ends, "end of the upload"); err == nil {
					t.Errorf("%q: the backend took a part for the whole", head)
				}
				b.Requests.Store(0)
			}
		}
		f("Content-Length: 20000", noise(10000))
		f("Transfer-Encoding: chunked", "5\r\nhello\r\n")
		f("Transfer-Encoding: chunked", "5\r\nhel")
		f("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-T: 1\r\n")
		for _, r := range records(t, w) {
			if r.Status != 499 || r.Reason != "client_closed" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// A backend that answers before it has the whole body, and keeps its
// connection, must not get the next request in place of what is missing.
func TestEarlyAnswerThenTruncatedUpload(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		answered := make(chan bool, 1)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegun")
			answered <- true
			body, err := x.Body()
			if err == nil {
				t.Errorf("the body was completed: %.100q", body[10000:])
			}
			x.Write(strings.Repeat("x", 100_000-5))
			return err == nil
		})
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + noise(10000))
		await(t, answered, "early answer")
		c.CloseWrite()
		_, _ = rest(c)
		b.Become(testkit.Named("next"))
		if r := testkit.Get(t, w.Addr("web"), "/next"); r.Body != "next" {
			t.Error(r)
		}
	})
}
