//go:build !race

package compress_test

import (
	"testing"

	"weir/internal/compress"
)

func TestAllocNegotiation(t *testing.T) {
	fields := [][]byte{[]byte("x-gzip;q=0.5, deflate, BR;q=0.7"), []byte("zstd;q=0.1, identity;q=0, *;q=0.2")}
	var got compress.Coding
	n := testing.AllocsPerRun(1000, func() {
		var a compress.Accept
		for _, f := range fields {
			a.Add(f)
		}
		got = a.Best()
	})
	if n != 0 || got != compress.Brotli {
		t.Errorf("got %v with %v allocations, want br with 0", got, n)
	}
	types := [][]byte{[]byte("Text/HTML; charset=utf-8"), []byte("application/problem+json"), []byte("image/png")}
	if n := testing.AllocsPerRun(1000, func() {
		for _, ct := range types {
			compress.Compressible(ct)
		}
	}); n != 0 {
		t.Errorf("Compressible allocates %v times, want 0", n)
	}
}

// One answer after the other costs no allocation, with one exception: zstd
// allocates the frame header (16 bytes) of a stream whose first block is written
// before its end, that is after 64 KiB or a flush.
func TestAllocEncode(t *testing.T) {
	words := newCorpus()
	dst := make([]byte, 0, 1<<20)
	for _, c := range codings {
		for _, size := range []int{4 << 10, 60 << 10, 600 << 10} {
			var s compress.Set
			data, flush, want := words.html(size), size == 60<<10, 0.0
			if c == compress.Zstd && (flush || size > 64<<10) {
				want = 1
			}
			n := testing.AllocsPerRun(50, func() {
				e := s.Take(c)
				b, _ := e.Write(dst, data[:size/2])
				if flush {
					b, _ = e.Flush(b)
				}
				b, _ = e.Write(b, data[size/2:])
				_, _ = e.Close(b)
				s.Put(e)
			})
			if n != want {
				t.Errorf("%v of %d bytes allocates %v times, want %v", c, size, n, want)
			}
		}
	}
}
