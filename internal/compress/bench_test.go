package compress_test

import (
	"fmt"
	"runtime"
	"testing"

	"weir/internal/compress"
)

// BenchmarkEncode encodes whole answers with idle encoders, in the pieces that
// they arrive in. It reports how many bytes each byte of the stream stands for.
func BenchmarkEncode(b *testing.B) {
	words := newCorpus()
	for _, c := range codings {
		for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
			for _, in := range []struct {
				kind string
				data []byte
			}{{"json", words.json(size)}, {"html", words.html(size)}} {
				b.Run(fmt.Sprintf("%v/%dKiB/%s", c, size>>10, in.kind), func(b *testing.B) {
					var s compress.Set
					dst := answer(&s, c, nil, in.data)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						dst = answer(&s, c, dst[:0], in.data)
					}
					b.ReportMetric(float64(size)/float64(len(dst)), "ratio")
				})
			}
		}
	}
}

// answer appends data to dst as one stream.
func answer(s *compress.Set, c compress.Coding, dst, data []byte) []byte {
	e := s.Take(c)
	for len(data) > 0 {
		n := min(len(data), 32<<10)
		dst, _ = e.Write(dst, data[:n])
		data = data[n:]
	}
	dst, _ = e.Close(dst)
	s.Put(e)
	return dst
}

// BenchmarkMemory reports what an encoder holds on to: after a short answer, and
// after long ones of every kind.
func BenchmarkMemory(b *testing.B) {
	words := newCorpus()
	short := [][]byte{words.json(4 << 10)}
	long := [][]byte{words.json(4 << 20), words.html(4 << 20), noise(4 << 20), make([]byte, 4<<20)}
	for _, c := range codings {
		for name, answers := range map[string][][]byte{"short": short, "long": long} {
			b.Run(fmt.Sprintf("%v/%s", c, name), func(b *testing.B) {
				dst := make([]byte, 0, 8<<20)
				for b.Loop() {
					b.ReportMetric(float64(held(c, dst, answers))/1024, "KiB/encoder")
				}
				runtime.KeepAlive(dst)
			})
		}
	}
}

// held returns the bytes that an encoder keeps after it made some answers.
func held(c compress.Coding, dst []byte, answers [][]byte) uint64 {
	const n = 4 // a Set keeps as many
	var sets [n]compress.Set
	before := heap()
	for i := range sets {
		for _, data := range answers {
			answer(&sets[i], c, dst, data)
		}
	}
	after := heap()
	runtime.KeepAlive(&sets)
	return (after - before) / n
}

// heap returns the bytes in use, without what the pools of libraries hold.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // pools keep what they have for one collection more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
