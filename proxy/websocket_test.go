package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// frame makes a WebSocket frame (RFC 6455, section 5.2). A client's is masked.
func frame(fin bool, op byte, masked bool, payload []byte) []byte {
	first := op
	if fin {
		first |= 0x80
	}
	b := []byte{first, 126}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	if !masked {
		return append(b, payload...)
	}
	b[1] |= 0x80
	mask := []byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, mask...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// fragments sends a message in pieces of up to 5000 bytes.
func fragments(w io.Writer, message []byte, masked bool) error {
	for op := byte(2); ; op = 0 {
		n := min(5000, len(message))
		if _, err := w.Write(frame(n == len(message), op, masked, message[:n])); err != nil {
			return err
		}
		if message = message[n:]; len(message) == 0 {
			return nil
		}
	}
}

// message reads fragments up to the last.
func message(r *bufio.Reader) (all []byte, err error) {
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, err
		}
		var mask [4]byte
		if head[1]&0x80 != 0 {
			if _, err := io.ReadFull(r, mask[:]); err != nil {
				return nil, err
			}
		}
		payload := make([]byte, binary.BigEndian.Uint16(head[2:]))
		if _, err := io.ReadFull(r, payload); err != nil {
			return nil, err
		}
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		if all = append(all, payload...); head[0]&0x80 != 0 {
			return all, nil
		}
	}
}

// Messages of 1 MiB in fragments go both ways at once.
func TestWebSocketMessages(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		up, down := []byte(noise(1<<20)), bytes.Repeat([]byte("down"), 1<<18)
		result := make(chan error, 1)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\n")
			sent := make(chan error, 1)
			go func() { sent <- fragments(x.Conn, down, false) }()
			got, err := message(x.R)
			if err == nil && !bytes.Equal(got, up) {
				t.Error("the backend got another message")
			}
			if err == nil {
				err = <-sent
			}
			if err == nil {
				err = fragments(x.Conn, got, false) // and the echo
			}
			result <- err
			return false
		})
		w := testkit.StartOn(t, before(b), o)
		c := upgrade(t, w, "")
		_ = c.Conn.SetDeadline(time.Now().Add(patience))
		sent := make(chan error, 1)
		go func() { sent <- fragments(c.Conn, up, true) }()
		for _, want := range [][]byte{down, up} {
			got, err := message(c.R)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, want %d: %v", len(got), len(want), err)
			}
		}
		if err := await(t, sent, "the client's message"); err != nil {
			t.Error(err)
		}
		if err := await(t, result, "the backend"); err != nil {
			t.Error(err)
		}
	})
}
