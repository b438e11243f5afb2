package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"testing"
)

// What head.parse accepts net/textproto reads the same way: names, values, order.
func FuzzHead(f *testing.F) {
	f.Add("Host: a\r\nX-A:  b \r\nx-a: c\r\n")
	f.Add("Connection: close, x-b\r\nTransfer-Encoding: chunked\r\n")
	f.Add(" folded\r\n")
	f.Add("A: b\nC: d\r\n")
	f.Add("A : b\r\n")
	f.Fuzz(func(t *testing.T, block string) {
		var h head
		if h.parse([]byte(block), 100) != nil {
			return
		}
		want, err := textproto.NewReader(bufio.NewReader(strings.NewReader(block + "\r\n"))).ReadMIMEHeader()
		if err != nil {
			t.Fatalf("%q: accepted; net/textproto says %v", block, err)
		}
		for i := range h.lines {
			l := &h.lines[i]
			key := textproto.CanonicalMIMEHeaderKey(string(l.name))
			if len(want[key]) == 0 || want[key][0] != string(l.value) {
				t.Fatalf("%q: line %d is %q: %q; net/textproto has %q", block, i, l.name, l.value, want[key])
			}
			want[key] = want[key][1:]
			if !bytes.HasSuffix(l.raw, crlf) || bytes.Count(l.raw, []byte{'\n'}) != 1 {
				t.Fatalf("%q: the raw line is %q", block, l.raw)
			}
		}
		for key, left := range want {
			if len(left) > 0 {
				t.Fatalf("%q: %s: %q was not seen", block, key, left)
			}
		}
	})
}

// A path's normal form is its own normal form, begins at the root and has
// nothing left in it that another reader could take away.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "//", "/%2e%2e/x", "/a/.", "/%2F", "/%zz", "*", "http://h/p?q", "/a\\b", "/..", "/%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		var one, two target
		if !one.parse([]byte(uri), false) {
			return
		}
		p := string(one.path)
		if !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.Contains(p+"/", "/./") ||
			strings.Contains(p+"/", "/../") || strings.ContainsAny(p, "\\ #?\x00\r\n\x7f") {
			t.Fatalf("%q: normal form %q", uri, p)
		}
		if !two.parse([]byte(p), false) || string(two.path) != p {
			t.Fatalf("%q: %q becomes %q", uri, p, two.path)
		}
	})
}

// Whatever pieces a chunked body comes in, it is the same body; and where
// net/http reads one too, it reads the same.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), uint8(3))
	f.Add([]byte("5;ext=1\r\nhello\r\n0\r\nX-T: v\r\n\r\n"), uint8(1))
	f.Add([]byte("FFFFFFFFFFFFFFFFF\r\n"), uint8(2))
	f.Add([]byte("5\nhello\n0\n\n"), uint8(2))
	f.Fuzz(func(t *testing.T, wire []byte, step uint8) {
		whole, done, err := unchunk(wire, len(wire)+1)
		parts, doneParts, errParts := unchunk(wire, int(step)+1)
		if done != doneParts || (err == nil) != (errParts == nil) || done && !bytes.Equal(whole, parts) {
			t.Fatalf("in one piece %q, %v, %v; in pieces of %d %q, %v, %v", whole, done, err, step+1, parts, doneParts, errParts)
		}
		if !done || err != nil {
			return
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(wire)))
		if err == nil && !bytes.Equal(whole, want) {
			t.Fatalf("%q; net/http has %q", whole, want)
		}
	})
}

// unchunk feeds wire to a chunkReader as a connection would: step more bytes
// whenever it asks for some.
func unchunk(wire []byte, step int) (body []byte, done bool, err error) {
	var c chunkReader
	r, e := 0, 0
	for c.state != chunkDone {
		data, used, err := c.next(wire[r:e])
		switch {
		case err != nil:
			return body, false, err
		case used > 0:
			body, r = append(body, data...), r+used
		case e == len(wire):
			return body, false, nil
		default:
			e = min(e+step, len(wire))
		}
	}
	return body, true, nil
}

// An answer's head that Weir accepts net/http accepts, with the same status.
func FuzzResponseHead(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
	f.Add("HTTP/1.0 404\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n")
	f.Add("HTTP/1.1 099 X\r\n\r\n")
	f.Fuzz(func(t *testing.T, wire string) {
		end := headEnd([]byte(wire), 0)
		if end == 0 {
			return
		}
		var h responseHead
		if h.parse([]byte(wire[:end]), 100) != nil || h.trailer != nil {
			return // net/http has opinions on what may be announced as a trailer; Weir drops it later
		}
		res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(wire)), nil)
		if err != nil {
			t.Fatalf("%q: accepted; net/http says %v", wire, err)
		}
		res.Body.Close()
		if res.StatusCode != h.status {
			t.Fatalf("%q: status %d; net/http has %d", wire, h.status, res.StatusCode)
		}
	})
}
