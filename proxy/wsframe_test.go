package proxy

import (
	"encoding/binary"
	"slices"
	"testing"
)

// boundaries is the plain way to find where frames end in b, and how many of them
// come up to and with the first close frame; -1 if none does. It wants all bytes
// at once.
func boundaries(b []byte) (ends []int, closed int) {
	closed = -1
	for at := 0; ; {
		if len(b) < at+2 {
			return ends, closed
		}
		head, length := 2, uint64(b[at+1]&127)
		switch length {
		case 126:
			head = 4
		case 127:
			head = 10
		}
		if len(b) < at+head {
			return ends, closed
		}
		switch head {
		case 4:
			length = uint64(binary.BigEndian.Uint16(b[at+2:]))
		case 10:
			length = binary.BigEndian.Uint64(b[at+2:])
		}
		if b[at+1]&128 != 0 {
			head += 4
		}
		if len(b) < at+head || uint64(len(b)-at-head) < length {
			return ends, closed
		}
		op := b[at] & 15
		at += head + int(length)
		ends = append(ends, at)
		if op == opClose && closed < 0 {
			closed = len(ends)
		}
	}
}

// follow passes b in pieces of so many bytes, and says where frames ended.
func follow(f *frames, b []byte, size func() int) (ends []int, closed int) {
	closed = -1
	for at := 0; at < len(b); {
		piece := b[at:min(len(b), at+max(1, size()))]
		for len(piece) > 0 {
			n := f.next(piece)
			if n == 0 {
				panic("it takes nothing")
			}
			at, piece = at+n, piece[n:]
			if f.between() {
				ends = append(ends, at)
			}
			if f.closed && closed < 0 {
				closed = len(ends)
			}
		}
	}
	return ends, closed
}

func TestFrames(t *testing.T) {
	masked := func(op byte, n int) []byte {
		b := []byte{0x80 | op, 0x80 | byte(n), 1, 2, 3, 4}
		return append(b, make([]byte, n)...)
	}
	long := func(n int) []byte {
		b := binary.BigEndian.AppendUint16([]byte{2, 126}, uint16(n))
		return append(b, make([]byte, n)...)
	}
	huge := func(n int) []byte {
		b := binary.BigEndian.AppendUint64([]byte{0x82, 127}, uint64(n))
		return append(b, make([]byte, n)...)
	}
	f := func(all ...[]byte) {
		t.Helper()
		b := slices.Concat(all...)
		ends, closed := boundaries(b)
		for size := 1; size <= min(len(b), 300); size++ { // each byte once is the last of a piece
			got, c := follow(new(frames), b, func() int { return size })
			if !slices.Equal(got, ends) || c != closed {
				t.Fatalf("in pieces of %d: frames end at %v, closed by %d; want %v, %d", size, got, c, ends, closed)
			}
		}
	}
	f([]byte{0x81, 5}, []byte("hello"))
	f([]byte{0x89, 0}, []byte{0x8a, 0}) // ping and pong without a payload
	f(masked(1, 0), masked(2, 125), masked(opClose, 2))
	f(long(0), long(126), long(1000))
	f(huge(0), huge(70_000), masked(1, 3))
	f([]byte{1, 3}, []byte("one"), []byte{0x89, 2}, []byte("hi"), []byte{0x80, 3}, []byte("two")) // a ping between fragments
	f([]byte{0x88, 0}, []byte{0x81, 1}, []byte("x"))
	f([]byte{0x88, 2, 3})

	// Weir's own are frames, too
	f(appendClose(nil, goingAway, false, 0), appendClose(nil, goingAway, true, 0xdeadbeef))
	if got := appendClose(nil, goingAway, false, 0); string(got) != "\x88\x02\x03\xe9" {
		t.Errorf("%x", got)
	}
	if got := appendClose(nil, goingAway, true, 0x01020304); string(got) != "\x88\x82\x01\x02\x03\x04\x02\xeb" {
		t.Errorf("%x", got)
	}

	// a length that nobody can mean is a frame that never ends
	var endless frames
	endless.pass([]byte("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff and more"))
	if endless.between() || endless.closed {
		t.Errorf("%+v", endless)
	}
}

// FuzzFrames compares with the plain way, however the bytes are cut.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x81\x05hello\x88\x02\x03\xe9"), []byte{1, 2, 3})
	f.Add([]byte("\x82\x7e\x00\x03abc\x89\x80\x01\x02\x03\x04"), []byte{1})
	f.Add([]byte("\x82\xff\x00\x00\x00\x00\x00\x00\x00\x02keyyab"), []byte{7, 1})
	f.Fuzz(func(t *testing.T, b, sizes []byte) {
		at := 0
		size := func() int {
			if len(sizes) == 0 {
				return 1
			}
			at++
			return int(sizes[at%len(sizes)])
		}
		ends, closed := boundaries(b)
		if got, c := follow(new(frames), b, size); !slices.Equal(got, ends) || c != closed {
			t.Errorf("%x: frames end at %v, closed by %d; want %v, %d", b, got, c, ends, closed)
		}
	})
}

// What following the frames costs, in reads of 16 KiB.
func BenchmarkFrames(b *testing.B) {
	for name, payload := range map[string]int{"of 20 B": 20, "of 1 KiB": 1 << 10, "of 64 KiB": 64 << 10} {
		frame := binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, uint64(payload))
		frame = append(frame, make([]byte, 4+payload)...)
		stream := slices.Repeat(frame, 1<<20/len(frame))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(stream)))
			var f frames
			for b.Loop() {
				for piece := range slices.Chunk(stream, bufferSize) {
					f.pass(piece)
				}
			}
		})
	}
}
