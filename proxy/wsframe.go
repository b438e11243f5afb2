package proxy

// frames follows the frames of one direction of a WebSocket as its bytes pass
// (RFC 6455, section 5.2): their heads are read, their payloads only counted.
// It must see every byte from the handshake on.
type frames struct {
	left   uint64 // bytes of the payload still to come
	length uint64 // as far as the head has told
	at     uint8  // bytes of the head so far
	ext    uint8  // where its extended length ends
	size   uint8  // the whole of it, known from its second byte on
	op     uint8
	closed bool // a close frame has passed whole
}

const opClose = 8

// between reports whether the last byte that passed was the last of a frame.
func (f *frames) between() bool { return f.at == 0 && f.left == 0 }

// pass takes bytes, in pieces of any size.
func (f *frames) pass(b []byte) {
	for len(b) > 0 {
		b = b[f.next(b):]
	}
}

// next takes bytes up to the end of a frame, and all of them if none ends there.
// It returns how many.
func (f *frames) next(b []byte) (n int) {
	if f.left == 0 {
		for whole := false; !whole; n++ {
			if n == len(b) {
				return n
			}
			whole = f.head(b[n])
		}
	}
	k := min(f.left, uint64(len(b)-n))
	f.left -= k
	f.closed = f.closed || f.left == 0 && f.op == opClose
	return n + int(k)
}

// head takes one byte of a frame's head, and reports whether it was the last.
func (f *frames) head(c byte) bool {
	switch {
	case f.at == 0:
		f.op, f.length = c&15, 0
	case f.at == 1:
		f.ext = 2
		switch l := c & 127; l {
		case 126:
			f.ext += 2
		case 127:
			f.ext += 8
		default:
			f.length = uint64(l)
		}
		f.size = f.ext
		if c&128 != 0 {
			f.size += 4 // the key of the mask
		}
	case f.at < f.ext:
		f.length = f.length<<8 | uint64(c)
	}
	f.at++
	if f.at < 2 || f.at < f.size {
		return false
	}
	f.at, f.left = 0, f.length
	return true
}

// goingAway is the code of RFC 6455, section 7.4.1, for a server that leaves.
const goingAway = 1001

// appendClose appends a close frame with a code. A client's is masked, with key.
func appendClose(dst []byte, code uint16, masked bool, key uint32) []byte {
	payload := [2]byte{byte(code >> 8), byte(code)}
	if !masked {
		return append(dst, 0x80|opClose, 2, payload[0], payload[1])
	}
	k := [4]byte{byte(key >> 24), byte(key >> 16), byte(key >> 8), byte(key)}
	return append(dst, 0x80|opClose, 0x80|2, k[0], k[1], k[2], k[3], payload[0]^k[0], payload[1]^k[1])
}
