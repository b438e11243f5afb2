package proxy_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/testkit"
)

// asked is a request as net/http reads it.
type asked struct {
	method, host, path, query string
	header                    http.Header
	body                      string
}

// readAsked reads one request with net/http. The error may be io.EOF.
func readAsked(r *bufio.Reader) (a asked, err error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return a, err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return a, err
	}
	return asked{method: req.Method, host: req.Host, path: cleanPath(req.URL), query: req.URL.RawQuery, header: req.Header, body: string(body)}, nil
}

// cleanPath is what is left of a path when everything is decoded and resolved.
func cleanPath(u *url.URL) string {
	if u.Path == "" || u.Path == "*" {
		return strings.TrimPrefix(u.Path+"/", "*/")
	}
	p := path.Clean(u.Path)
	last := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	if p != "/" && (last == "" || last == "." || last == "..") {
		p += "/"
	}
	return p
}

// recorder is a backend that has net/http read what arrives.
type recorder struct {
	mu   sync.Mutex
	got  []asked
	errs []error
}

func (rec *recorder) take() ([]asked, []error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	got, errs := rec.got, rec.errs
	rec.got, rec.errs = nil, nil
	return got, errs
}

// serve answers one request: what its reader has read ahead is nobody's. One that
// is cut short is no request, and no error either.
func (rec *recorder) serve(c net.Conn) {
	defer c.Close()
	a, err := readAsked(bufio.NewReader(c))
	rec.mu.Lock()
	switch {
	case err == nil:
		rec.got = append(rec.got, a)
	case err != io.EOF && err != io.ErrUnexpectedEOF && !isReset(err):
		rec.errs = append(rec.errs, err)
	}
	rec.mu.Unlock()
	if err == nil {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	}
}

func isReset(err error) bool {
	_, ok := err.(*net.OpError)
	return ok
}

// Where Weir and net/http both make something of a client's bytes, they make the
// same of it, and so does a backend of what Weir makes of it.
func FuzzForward(f *testing.F) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { ln.Close() })
	rec := new(recorder)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go rec.serve(c)
		}
	}()
	w := testkit.StartOn(f, setup{backends: []string{`{address: "` + ln.Addr().String() + `"}`},
		defaults: "timeouts: {client_half_closed: 5s}", pool: "health: {passive: {consecutive_errors: 0}}\n", extra: "log: {access: false}\n"}.yaml(), single)
	addr := w.Addr("web")
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /a/../b//%7ec;x?q=%41&\xe9 HTTP/1.1\r\nHost: a:80\r\nX-A: 1\r\nx-a:  2 \r\n\r\n",
		"POST http://b/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX-T: 1\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: X-B\r\nX-B: 1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		rec.take()
		exchange(t, addr, wire)
		got, errs := rec.take()
		for _, err := range errs {
			t.Fatalf("%q: the backend got what is no request: %v", wire, err)
		}
		in := bufio.NewReader(bytes.NewReader(wire))
		for i, g := range got {
			for b, _ := in.Peek(2); string(b) == "\r\n"; b, _ = in.Peek(2) {
				_, _ = in.Discard(2) // net/http does not ignore empty lines
			}
			want, err := readAsked(in)
			if err != nil {
				return // net/http makes nothing of it
			}
			if why := differs(want, g); why != "" {
				t.Fatalf("%q: request %d: %s:\nnet/http reads %+v\nthe backend got %+v", wire, i, why, want, g)
			}
		}
	})
}

// exchange sends wire and reads until the end.
func exchange(t *testing.T, addr string, wire []byte) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(wire); err == nil {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
		t.Fatalf("%q: %v", wire, err)
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatalf("%q: no end after %v", wire, patience)
	}
}

// ends are the fields that end at Weir, or that it writes itself.
var ends = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Upgrade", "Trailer", "Expect", "Http2-Settings", "Proxy", "Proxy-Authenticate",
	"Proxy-Authorization", "Forwarded", "X-Real-Ip", "X-Request-Id", "Via", "Max-Forwards", "Content-Length", "Transfer-Encoding", "Host",
}

// differs says in what two readings of one request are not the same.
func differs(want, got asked) string {
	switch {
	case want.method != got.method:
		return "method"
	case !strings.EqualFold(want.host, got.host) && want.host != "":
		return "host"
	case want.path != got.path:
		return "path"
	case escaped(want.query) != got.query:
		return "query"
	case want.body != got.body:
		return "body"
	}
	named := textproto.TrimString(strings.Join(want.header.Values("Connection"), ","))
	for name, values := range want.header {
		if slices.Contains(ends, name) || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Weir-") || containsFold(named, name) {
			continue
		}
		if !slices.Equal(values, got.header[name]) {
			return "field " + name
		}
	}
	return ""
}

func containsFold(list, name string) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(s string) bool { return strings.EqualFold(textproto.TrimString(s), name) })
}

// escaped is a query as Weir sends it on.
func escaped(query string) string {
	var b strings.Builder
	for _, c := range []byte(query) {
		if c == '"' || c == '<' || c == '>' {
			b.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[c>>4])+string("0123456789abcdef"[c&15])))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
