package proxy_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// page is text that gets smaller.
var page = strings.Repeat("All work and no play makes Jack a dull boy.\n", 500)

func unpack(t *testing.T, coding, body string) string {
	t.Helper()
	var r io.Reader
	var err error
	switch in := strings.NewReader(body); coding {
	case "gzip":
		r, err = gzip.NewReader(in)
	case "zstd":
		r, err = zstd.NewReader(in)
	case "br":
		r = brotli.NewReader(in)
	default:
		r = in
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v after %d bytes", coding, err, len(b))
	}
	return string(b)
}

func TestCompression(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		html := []string{"Content-Type: text/html; charset=utf-8", `ETag: "abc"`, "Accept-Ranges: bytes", "Content-Digest: x"}
		b := testkit.NewBackend(t, testkit.ByPath(map[string]testkit.Manner{
			"/length":  testkit.Answer(200, page, html...),
			"/chunked": testkit.Chunked([]string{page[:10], page[10:9000], page[9000:]}, []string{"X-Sum: 1"}, append(html, "Trailer: X-Sum")...),
			"/close":   testkit.Raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nVary: Accept-Encoding, Origin\r\n\r\n"+page, false),
			"/weak":    testkit.Answer(200, page, "Content-Type: text/plain", `ETag: W/"abc"`),
			"/small":   testkit.Answer(200, page[:1000], html...),
			"/image":   testkit.Answer(200, page, "Content-Type: image/png", `ETag: "abc"`),
			"/untyped": testkit.Answer(200, page),
			"/encoded": testkit.Answer(200, page, "Content-Type: text/html", "Content-Encoding: br"),
			"/fixed":   testkit.Answer(200, page, "Content-Type: text/html", "Cache-Control: private, No-Transform"),
			"/part":    testkit.Answer(206, page, "Content-Type: text/html", "Content-Range: bytes 0-21999/50000"),
			"/missing": testkit.Answer(404, page, html...),
			"/events":  testkit.Chunked([]string{page}, nil, "Content-Type: text/event-stream"),
			"/binary":  testkit.Answer(200, noise(3_000_000), "Content-Type: text/plain"),
		}))
		w := testkit.StartOn(t, setup{backends: at(b), routes: "{name: plain, match: {hosts: [plain]}, pool: web}, {name: packed, pool: web, compress: true}"}.yaml(), o)
		c := testkit.Dial(t, w.Addr("web"))
		f := func(path, accept, want, body string) *testkit.Reply {
			t.Helper()
			r := c.Get(path, "Accept-Encoding: "+accept)
			if got := r.Header("Content-Encoding"); got != want || unpack(t, want, r.Body) != body || !r.Persists() {
				t.Errorf("%s with %q: coding %q, want %q: %.300v", path, accept, got, want, r)
			}
			return r
		}
		for _, coding := range []string{"gzip", "zstd", "br"} {
			for _, path := range []string{"/length", "/chunked", "/close", "/weak", "/missing"} {
				r := f(path, coding, coding, page)
				if len(r.Body) > len(page)/10 || r.Framing != "chunked" || len(r.Values("Vary")) != 1 || !strings.Contains(r.Header("Vary"), "Accept-Encoding") {
					t.Errorf("%s: %d bytes, %q", path, len(r.Body), r.Lines)
				}
				if etag := r.Header("ETag"); etag != "" && etag != `W/"abc"` {
					t.Errorf("%s: ETag %s", path, etag)
				}
				if r.Header("Accept-Ranges")+r.Header("Content-Digest") != "" {
					t.Errorf("%s: what is about the bytes went on: %q", path, r.Lines)
				}
				if path == "/chunked" && !slices.Equal(r.Trailers, []string{"X-Sum: 1"}) {
					t.Errorf("trailers %q", r.Trailers)
				}
			}
			f("/binary", coding, coding, noise(3_000_000))
		}
		f("/length", "gzip;q=0.5, br;q=0.9, zstd;q=0.1", "br", page)
		f("/length", "gzip, deflate, br, zstd", "zstd", page)
		f("/length", "gzip;q=0, *", "zstd", page)
		f("/length", "x-gzip", "gzip", page)
		// as it is
		if r := f("/length", "identity", "", page); r.Header("ETag") != `"abc"` || r.Header("Vary") != "Accept-Encoding" || r.Header("Content-Length") == "" {
			t.Errorf("%q", r.Lines)
		}
		f("/length", "deflate, compress", "", page)
		f("/length", "gzip;q=0", "", page)
		f("/small", "gzip", "", page[:1000])
		if r := f("/image", "gzip", "", page); r.Header("Vary") != "" {
			t.Errorf("%q", r.Lines)
		}
		f("/untyped", "gzip", "", page)
		f("/fixed", "gzip", "", page)
		f("/part", "gzip", "", page)
		f("/events", "gzip", "", page)
		if r := c.Get("/encoded", "Accept-Encoding: br"); r.Body != page || r.Header("Content-Encoding") != "br" {
			t.Error(r)
		}
		if r := c.Get("/length", "Accept-Encoding: gzip", "Connection: close"); unpack(t, "gzip", r.Body) != page {
			t.Error(r)
		}
		c = testkit.Dial(t, w.Addr("web"))
		if r := c.Do("GET /length", "Host: plain", "Accept-Encoding: gzip"); r.Status == 200 && r.Header("Content-Encoding") != "" {
			t.Error(r)
		}
		// the answer to HEAD has the head of the answer to GET
		c = testkit.Dial(t, w.Addr("web"))
		if r := c.Do("HEAD /length", "Accept-Encoding: gzip"); r.Header("Content-Encoding") != "gzip" || r.Header("Content-Length") != "" || r.Header("ETag") != `W/"abc"` {
			t.Error(r)
		}
		if r := c.Do("HEAD /length"); r.Header("Content-Encoding") != "" || r.Header("Content-Length") != itoa(len(page)) || r.Header("Vary") != "Accept-Encoding" {
			t.Error(r)
		}
		// HTTP/1.0 clients are left alone
		old := testkit.Dial(t, w.Addr("web"))
		old.Send("GET /length HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
		if r := old.Read("GET"); r.Body != page {
			t.Error(r)
		}
	})
}

// What a backend has sent can be read before it sends more.
func TestCompressedStreamsDoNotWait(t *testing.T) {
	next := make(chan string)
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		x.Write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
		for text := range next {
			x.Write(fmt.Sprintf("%x\r\n%s\r\n", len(text), text))
		}
		x.Write("0\r\n\r\n")
		return true
	})
	w := testkit.Start(t, setup{backends: at(b), route: "compress: true"}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
	next <- "first line\n"
	var raw bytes.Buffer
	for head := ""; !strings.HasSuffix(head, "\r\n\r\n"); { // the head, byte by byte
		x, err := c.R.ReadByte()
		if err != nil {
			t.Fatal(err)
		}
		head += string(x)
	}
	body := io.TeeReader(httputil.NewChunkedReader(c.R), &raw)
	gz, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("first line\n"))
	for i := range 3 {
		if _, err := io.ReadFull(gz, line); err != nil || string(line) != "first line\n" {
			t.Fatalf("line %d: %q %v", i, line, err)
		}
		if i < 2 {
			next <- "first line\n"
		}
	}
	close(next)
	if _, err := gz.Read(line); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}
