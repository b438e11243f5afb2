package compress

import (
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The levels, for answers that are encoded as they pass. Measured on one core with
// go test -bench . ./internal/compress, over generated JSON and HTML: how much
// smaller a stream gets, MB/s of input, and what an encoder holds on to after a
// short answer and after long ones of every kind.
//
//	       4 KiB       64 KiB      1 MiB
//	gzip   2.8  210    3.8  245    4.0  160    1.1 MiB, 1.1 MiB
//	zstd   2.8  260    3.8  350    4.2  250    0.4 MiB, 1.0 MiB
//	br     2.8   67    3.9   83    4.2   72    0.4 MiB, 1.4 MiB
//
// The neighbours, in the same terms and over real pages too: gzip 3 is 1.4 times as
// fast and its streams are 4 to 8 % larger; gzip 6 is slower and gains 1 %. zstd's
// default level gains 3 to 5 % at 0.7 times the speed and holds 1.3 MiB more. Brotli 2
// is 1.3 times as fast and up to 4 % larger; 4 gains 1 to 5 % at 0.6 times the speed.
const (
	gzipLevel     = 5
	zstdLevel     = zstd.SpeedFastest
	zstdWindow    = 256 << 10 // bytes; RFC 9659 allows 8 MiB
	brotliQuality = 3
	brotliWindow  = 18 // bits: 256 KiB
)

// maxIdle is how many idle encoders of each coding a Set keeps.
const maxIdle = 4

// maxPiece is how many bytes a library is given at once. Brotli takes a first
// piece of 1 MiB for the sign of a long stream, and 4 MiB of memory with it.
const maxPiece = 32 << 10

// maxHeld is how much input may make no output before it is flushed. Text stays
// below it; of what cannot be compressed brotli would collect 512 KiB.
const maxHeld = 128 << 10

var errEnded = errors.New("the encoded stream has ended")

// Set is the encoders of one worker, which alone uses it. The zero Set is ready
// and gives out any number of encoders.
type Set struct {
	// Limit is how many encoders may be out at once; 0 means any number. An
	// encoder holds about 1 MiB for as long as its answer takes, and that is up
	// to the client.
	Limit int

	out  int
	idle [Brotli + 1][]*Encoder
}

// Take returns an encoder at the start of a stream, which the caller owns until
// it gives it to Put. It returns nil for None and when Limit encoders are out:
// the answer then goes as it is.
func (s *Set) Take(c Coding) *Encoder {
	if c == None || c > Brotli || s.Limit > 0 && s.out >= s.Limit {
		return nil
	}
	s.out++
	e := s.pop(c)
	if e == nil {
		e = newEncoder(c)
	}
	e.taken = true
	return e
}

func (s *Set) pop(c Coding) *Encoder {
	idle := s.idle[c]
	if len(idle) == 0 {
		return nil
	}
	e := idle[len(idle)-1]
	s.idle[c] = idle[:len(idle)-1]
	return e
}

// Put takes back an encoder that came from this Set, whether its stream has ended
// or not. The caller must not use it again. A nil encoder, and one that is back
// already, are no matter.
func (s *Set) Put(e *Encoder) {
	if e == nil || !e.taken {
		return
	}
	e.taken = false
	s.out--
	if len(s.idle[e.coding]) < maxIdle {
		e.reset()
		s.idle[e.coding] = append(s.idle[e.coding], e)
	}
}

// Encoder makes one encoded stream. It belongs to one caller at a time; the
// buffers it is given stay the caller's, and it keeps none of them.
//
// After an error, which only a wrong order of calls can cause, it is good for
// nothing but Put.
type Encoder struct {
	coding  Coding
	lib     library
	out     sink
	held    int  // bytes of input since something came out
	pending bool // something was written since the last flush
	ended   bool
	taken   bool // by a caller of Set.Take
}

// library is what the encoders of all three libraries have.
type library interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// Write encodes src and appends what comes out to dst. Up to 160 KiB of input
// stay inside until more of it comes, or Flush or Close. 64 KiB take up to 1 ms:
// who writes more at a time keeps the loop's other connections waiting.
func (e *Encoder) Write(dst, src []byte) ([]byte, error) {
	if e.ended {
		return dst, errEnded
	}
	e.out.b = dst
	for len(src) > 0 {
		n := min(len(src), maxPiece)
		if err := e.write(src[:n]); err != nil {
			return e.fail(err)
		}
		src = src[n:]
	}
	return e.out.take(), nil
}

func (e *Encoder) write(piece []byte) error {
	if e.held > maxHeld {
		if err := e.flush(); err != nil {
			return err
		}
	}
	e.pending = true
	before := len(e.out.b)
	_, err := e.lib.Write(piece)
	e.held += len(piece)
	if len(e.out.b) > before {
		e.held = 0
	}
	return err
}

// Flush appends to dst what makes all that was written so far decodable. It costs
// some bytes each time, and nothing when there is nothing to flush.
func (e *Encoder) Flush(dst []byte) ([]byte, error) {
	if e.ended {
		return dst, errEnded
	}
	e.out.b = dst
	if err := e.flush(); err != nil {
		return e.fail(err)
	}
	return e.out.take(), nil
}

func (e *Encoder) flush() error {
	if !e.pending {
		return nil
	}
	e.held, e.pending = 0, false
	return e.lib.Flush()
}

// Close appends the rest of the stream and its end to dst. A stream without
// content has some bytes too.
func (e *Encoder) Close(dst []byte) ([]byte, error) {
	if e.ended {
		return dst, errEnded
	}
	e.out.b = dst
	e.ended = true
	if err := e.lib.Close(); err != nil {
		return e.fail(err)
	}
	return e.out.take(), nil
}

func (e *Encoder) fail(err error) ([]byte, error) {
	e.ended = true
	return e.out.take(), fmt.Errorf("%s encoder: %w", e.coding, err)
}

func (e *Encoder) reset() {
	e.held, e.pending, e.ended = 0, false, false
	e.lib.Reset(&e.out)
}

func newEncoder(c Coding) *Encoder {
	e := &Encoder{coding: c}
	switch c {
	case Gzip:
		e.lib, _ = gzip.NewWriterLevel(&e.out, gzipLevel) // an error for levels that do not exist
	case Zstd:
		e.lib = newZstd(&e.out)
	case Brotli:
		e.lib = brotli.NewWriterOptions(&e.out, brotli.WriterOptions{Quality: brotliQuality, LGWin: brotliWindow})
	}
	return e
}

// newZstd makes an encoder that works in the calls to it: with a concurrency of
// one the library starts no goroutine. TCP and TLS find bytes that went wrong, so
// there is no checksum, which would cost an allocation too.
func newZstd(out io.Writer) *zstd.Encoder {
	enc, err := zstd.NewWriter(out,
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(zstdLevel), // before the window: it sets the size of blocks
		zstd.WithWindowSize(zstdWindow),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderCRC(false),
	)
	if err != nil {
		panic(err) // the options above contradict each other
	}
	return enc
}

// sink collects what a library writes, in the buffer of the call that is going
// on.
type sink struct{ b []byte }

// Write appends p. It never fails.
func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

// take returns the buffer and forgets it: between calls it is not ours.
func (s *sink) take() []byte {
	b := s.b
	s.b = nil
	return b
}
