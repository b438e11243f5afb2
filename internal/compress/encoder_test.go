package compress_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"weir/internal/compress"
)

var codings = []compress.Coding{compress.Gzip, compress.Zstd, compress.Brotli}

// each runs a test once for every coding.
func each(t *testing.T, f func(t *testing.T, c compress.Coding)) {
	for _, c := range codings {
		t.Run(c.String(), func(t *testing.T) { f(t, c) })
	}
}

// reader decodes with what a client would have: another library where there is
// one.
func reader(t *testing.T, c compress.Coding, r io.Reader) io.Reader {
	t.Helper()
	switch c {
	case compress.Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		return z
	case compress.Zstd:
		// RFC 9659: what a client can be expected to have memory for
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(z.Close)
		return z
	}
	return brotli.NewReader(r)
}

// checkStream decodes a whole stream, after which nothing may follow.
func checkStream(t *testing.T, c compress.Coding, stream, want []byte) {
	t.Helper()
	got, err := io.ReadAll(reader(t, c, bytes.NewReader(stream)))
	if err != nil {
		t.Fatalf("decoding %d bytes: %v", len(stream), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("decoded %d bytes, which are not the %d that were written", len(got), len(want))
	}
}

// checkBegun decodes the beginning of a stream, up to what was written.
func checkBegun(t *testing.T, c compress.Coding, stream, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(reader(t, c, bytes.NewReader(stream)), got); err != nil {
		t.Fatalf("%d of %d bytes can be decoded after a flush: %v", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("decoded after a flush: not what was written")
	}
}

// write writes data in pieces of up to limit bytes and tells flushed what there
// is after each flush.
func write(t *testing.T, e *compress.Encoder, data []byte, limit int, flushed func(stream []byte, written int)) []byte {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, uint64(len(data))))
	dst := []byte{}
	for written := 0; written < len(data); {
		n := min(1+rnd.IntN(limit), len(data)-written)
		dst = must(e.Write(dst, data[written:written+n]))(t)
		written += n
		if rnd.IntN(4) == 0 && flushed != nil {
			dst = must(e.Flush(dst))(t)
			flushed(dst, written)
		}
	}
	return dst
}

// must is for calls that may not fail: must(e.Close(dst))(t).
func must(b []byte, err error) func(*testing.T) []byte {
	return func(t *testing.T) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// noise cannot be encoded in fewer bytes than it has.
func noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	words := newCorpus()
	each(t, func(t *testing.T, c compress.Coding) {
		var s compress.Set
		for _, size := range []int{0, 1, 1 << 10, 64 << 10, 5 << 20} {
			for kind, data := range map[string][]byte{
				"text": words.html(size), "noise": noise(min(size, 600<<10)), "zeros": make([]byte, min(size, 600<<10)),
			} {
				e := s.Take(c)
				dst := write(t, e, data, max(len(data)/8, 100), func(stream []byte, written int) {
					checkBegun(t, c, stream, data[:written])
				})
				dst = must(e.Close(dst))(t)
				s.Put(e)
				checkStream(t, c, dst, data)
				if most := len(data) + len(data)/100 + 400; len(dst) > most {
					t.Errorf("%d bytes of %s become %d", len(data), kind, len(dst))
				}
			}
		}
	})
}

// A stream may be written at once or byte by byte; what is in the caller's buffer
// stays there, and what was written is the caller's again.
func TestPieces(t *testing.T) {
	data := newCorpus().json(100 << 10)
	each(t, func(t *testing.T, c compress.Coding) {
		var s compress.Set
		e := s.Take(c)
		whole := must(e.Close(must(e.Write([]byte("before"), data))(t)))(t)
		if !bytes.HasPrefix(whole, []byte("before")) {
			t.Fatal("the encoder does not append")
		}
		whole = bytes.Clone(whole[len("before"):])
		s.Put(e)

		e = s.Take(c)
		dst := []byte{}
		for i := range data {
			piece := []byte{data[i]}
			dst = must(e.Write(dst, piece))(t)
			piece[0] = 0 // the caller's again
		}
		dst = must(e.Close(dst))(t)
		checkStream(t, c, dst, data)
		checkStream(t, c, whole, data)
	})
}

// Write may hold back no more than it says.
func TestHeldBack(t *testing.T) {
	data := noise(1 << 20)
	each(t, func(t *testing.T, c compress.Coding) {
		var s compress.Set
		e := s.Take(c)
		var dst []byte
		for written := 0; written < len(data); written += 1 << 10 {
			dst = must(e.Write(dst, data[written:written+1<<10]))(t)
			if written-len(dst) > 160<<10 {
				t.Fatalf("after %d bytes %d came out", written, len(dst))
			}
		}
	})
}

// A flush that has nothing to flush adds nothing, before and after content.
func TestFlushTwice(t *testing.T) {
	each(t, func(t *testing.T, c compress.Coding) {
		var s compress.Set
		e := s.Take(c)
		dst := must(e.Flush(nil))(t)
		if len(dst) != 0 {
			t.Errorf("a flush of nothing gives %d bytes", len(dst))
		}
		dst = must(e.Flush(must(e.Write(dst, []byte("hello")))(t)))(t)
		n := len(dst)
		if dst = must(e.Flush(must(e.Write(dst, nil))(t)))(t); len(dst) != n {
			t.Errorf("a second flush gives %d bytes", len(dst)-n)
		}
		checkStream(t, c, must(e.Close(dst))(t), []byte("hello"))
	})
}

func TestEnded(t *testing.T) {
	each(t, func(t *testing.T, c compress.Coding) {
		var s compress.Set
		e := s.Take(c)
		dst := must(e.Close(must(e.Write(nil, []byte("hello")))(t)))(t)
		for name, call := range map[string]func() ([]byte, error){
			"Write": func() ([]byte, error) { return e.Write(dst, []byte("x")) },
			"Flush": func() ([]byte, error) { return e.Flush(dst) },
			"Close": func() ([]byte, error) { return e.Close(dst) },
		} {
			if got, err := call(); err == nil || !bytes.Equal(got, dst) {
				t.Errorf("%s after Close: %v, and %d bytes more", name, err, len(got)-len(dst))
			}
		}
	})
}

// An encoder that was used before encodes like a new one. Nothing of one client's
// answer may reach another, however the stream before ended.
func TestReuse(t *testing.T) {
	words := newCorpus()
	secret, data := words.html(300<<10), words.json(200<<10)
	ends := map[string]func(t *testing.T, e *compress.Encoder){
		"closed": func(t *testing.T, e *compress.Encoder) {
			must(e.Close(must(e.Write(nil, secret))(t)))(t)
		},
		"half way": func(t *testing.T, e *compress.Encoder) {
			must(e.Write(nil, secret))(t)
		},
		"flushed": func(t *testing.T, e *compress.Encoder) {
			must(e.Flush(must(e.Write(nil, secret[:1000]))(t)))(t)
		},
		"failed": func(t *testing.T, e *compress.Encoder) {
			must(e.Close(nil))(t)
			if _, err := e.Write(nil, secret); err == nil {
				t.Error("Write after Close succeeds")
			}
		},
		"untouched": func(*testing.T, *compress.Encoder) {},
	}
	each(t, func(t *testing.T, c compress.Coding) {
		for name, end := range ends {
			var fresh, s compress.Set
			want := must(fresh.Take(c).Write(nil, data))(t)
			e := s.Take(c)
			end(t, e)
			s.Put(e)
			again := s.Take(c)
			if again != e {
				t.Fatal("the idle encoder was not taken again")
			}
			got := must(again.Write(nil, data))(t)
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes of stream where a new encoder gives %d", name, len(got), len(want))
			}
			checkStream(t, c, must(again.Close(got))(t), data)
		}
	})
}

func TestSet(t *testing.T) {
	s := compress.Set{Limit: 2}
	if s.Take(compress.None) != nil {
		t.Error("there is an encoder for plain bytes")
	}
	s.Put(nil)

	// the limit counts what is out, of all codings together
	one, two := s.Take(compress.Gzip), s.Take(compress.Brotli)
	if one == nil || two == nil || s.Take(compress.Zstd) != nil {
		t.Error("with a limit of 2, not exactly 2 can be taken")
	}
	s.Put(one)
	three := s.Take(compress.Zstd)
	if three == nil {
		t.Error("what was put back still counts")
	}

	// a second Put must not lend one encoder to two
	s.Limit = 0
	s.Put(three)
	s.Put(three)
	if again := s.Take(compress.Zstd); again == s.Take(compress.Zstd) {
		t.Error("an encoder was taken twice")
	}
}

// Idle encoders are bounded: the rest is garbage.
func TestSetIdle(t *testing.T) {
	each(t, func(t *testing.T, c compress.Coding) {
		var s compress.Set
		out := make(map[*compress.Encoder]bool)
		for range 20 {
			out[s.Take(c)] = true
		}
		for e := range out {
			s.Put(e)
		}
		kept := 0
		for range 20 {
			if out[s.Take(c)] {
				kept++
			}
		}
		if kept == 0 || kept > 5 {
			t.Errorf("%d idle encoders are kept", kept)
		}
	})
}

// Encoders run on event loops: they start nothing that would run elsewhere.
func TestNoGoroutine(t *testing.T) {
	data := newCorpus().json(200 << 10)
	before := runtime.NumGoroutine()
	var s compress.Set
	for _, c := range codings {
		for range 3 {
			e := s.Take(c)
			dst := must(e.Write(nil, data))(t)
			if n := runtime.NumGoroutine(); n > before {
				t.Errorf("%v: %d goroutines, before it were %d", c, n, before)
			}
			dst = must(e.Flush(dst))(t)
			must(e.Close(dst))(t)
			s.Put(e)
		}
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, before it were %d", n, before)
	}
}

// RFC 9659 allows windows of up to 8 MiB, whether the size of the content is
// known when the header is written or not.
func TestWindow(t *testing.T) {
	data := newCorpus().json(1 << 20)
	for _, size := range []int{0, 1, 10 << 10, 60 << 10, 64 << 10, 300 << 10, len(data)} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var s compress.Set
			e := s.Take(compress.Zstd)
			dst := must(e.Close(must(e.Write(nil, data[:size]))(t)))(t)
			var h zstd.Header
			if err := h.Decode(dst); err != nil {
				t.Fatal(err)
			}
			if window := max(h.WindowSize, h.FrameContentSize); h.SingleSegment && window > 8<<20 || h.WindowSize > 8<<20 {
				t.Errorf("the window is %d bytes", window)
			}
		})
	}
}
