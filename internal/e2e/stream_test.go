//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// decode reads JSON or fails.
func decode(t *testing.T, b []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
}

// simple is one pool with one backend behind one listener.
func simple(backend string) string {
	return fmt.Sprintf(`
admin: {address: "ADMIN"}
log: {level: info, access: false}
listeners:
  - name: web
    address: LISTEN
    protocol: http
    routes:
      - {name: all, pool: web}
pools:
  web:
    backends: [{address: %s}]
`, backend)
}

// pattern is an endless stream of bytes that do not repeat too soon.
type pattern struct{ n uint32 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		p.n = p.n*1664525 + 1013904223
		b[i] = byte(p.n >> 24)
	}
	return len(b), nil
}

// sized is size bytes of a precomputed block, over and over: making bytes
// must not cost more than moving them.
func sized(size int64) io.Reader { return io.LimitReader(&loopReader{}, size) }

var block = func() []byte {
	b := make([]byte, 1<<20+7) // odd, so that it shifts against buffers
	_, _ = (&pattern{}).Read(b)
	return b
}()

type loopReader struct{ at int }

func (l *loopReader) Read(b []byte) (int, error) {
	n := copy(b, block[l.at:])
	l.at = (l.at + n) % len(block)
	return n, nil
}

// checksum reads r to its end.
func checksum(r io.Reader) (sum uint32, n int64, err error) {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return h.Sum32(), n, err
}

// bulk receives uploads, answering with their checksum, and sends downloads.
func bulk(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		sum, n, err := checksum(r.Body)
		fmt.Fprintf(rw, "%d %d %v %v %q", sum, n, err, r.ContentLength, r.Trailer.Get("X-Sum"))
		return
	}
	size, _ := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if r.URL.Query().Get("chunked") == "" {
		rw.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	} else {
		rw.Header().Set("Trailer", "X-End")
	}
	_, _ = io.CopyBuffer(struct{ io.Writer }{rw}, sized(size), make([]byte, 256<<10))
	rw.Header().Set("X-End", "yes")
}

// Bodies of any size pass through a bounded amount of memory, unchanged, with
// a length or in chunks, with trailers.
func TestBigBodies(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 256 << 20
	}
	backend := httptest.NewServer(http.HandlerFunc(bulk))
	t.Cleanup(backend.Close)
	w := start(t, simple(strings.TrimPrefix(backend.URL, "http://")))
	want, _, _ := checksum(sized(size))

	w.watched("download with a length", func() { w.download(fmt.Sprintf("/?size=%d", size), size, want, "") })
	w.watched("download in chunks", func() { w.download(fmt.Sprintf("/?size=%d&chunked=1", size), size, want, "yes") })
	w.watched("upload with a length", func() { w.upload(size, size, want) })
	w.watched("upload in chunks", func() { w.upload(size, -1, want) })
}

// watched runs f and demands that resident memory stays within 64 MiB of what
// it was.
func (w *weir) watched(name string, f func()) {
	w.t.Helper()
	idle, start := w.rss(), time.Now()
	var peak atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-tick.C:
				peak.Store(max(peak.Load(), w.rss()))
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	more := (peak.Load() - idle) >> 20
	w.t.Logf("%s: %.1f s, %d MiB idle, at most %d MiB more", name, time.Since(start).Seconds(), idle>>20, more)
	if more >= 64 {
		w.t.Errorf("%s: %d MiB more than idle, want less than 64", name, more)
	}
}

// download fetches path and compares.
func (w *weir) download(path string, size int64, want uint32, trailer string) {
	w.t.Helper()
	resp, err := http.Get("http://" + w.listen + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	sum, n, err := checksum(resp.Body)
	if err != nil || n != size || sum != want || resp.Trailer.Get("X-End") != trailer {
		w.t.Errorf("GET %s: %d bytes, sum %d, trailer %q, %v; want %d, %d, %q", path, n, sum, resp.Trailer.Get("X-End"), err, size, want, trailer)
	}
}

// upload sends size bytes; a length of -1 means chunks and a trailer.
func (w *weir) upload(size, length int64, want uint32) {
	w.t.Helper()
	req, err := http.NewRequest("POST", "http://"+w.listen+"/", sized(size))
	if err != nil {
		w.t.Fatal(err)
	}
	req.ContentLength = length
	trailer := ""
	if length < 0 {
		trailer = "sum"
		req.Trailer = http.Header{"X-Sum": {trailer}}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(resp.Body)
	if text := fmt.Sprintf("%d %d <nil> %d %q", want, size, length, trailer); string(got) != text {
		w.t.Errorf("upload: the backend saw %s, want %s", got, text)
	}
}
