package proxy

import (
	"context"
	"errors"
	"time"

	"weir/internal/metrics"
)

// partTime is how long a WebSocket has to end once it has been told to: for the
// rest of a frame on its way, and for both sides to answer.
const partTime = time.Second

// errParting tells the directions of a tunnel that it is to end.
var errParting = errors.New("the tunnel is to end")

// part ends the tunnel before its time: a WebSocket in good order, as far as
// there is time for that, and anything else by closing it. It runs on the loop
// and does not wait.
func (t *tunnel) part(reason metrics.Reason) {
	if t.parting() {
		return
	}
	now := t.w.loop.Now()
	t.reason, t.partBy = reason, now.Add(partTime)
	if !t.webSocket {
		t.abort()
		return
	}
	for _, f := range [...]*flow{&t.toClient, &t.toBackend} {
		f.src.SetReadDeadline(now) // wakes whoever waits: see read
		f.dst.SetWriteDeadline(t.partBy)
	}
}

func (t *tunnel) parting() bool { return !t.partBy.IsZero() }

// farewell ends one direction of a WebSocket (RFC 6455, section 7.1.2): the frame
// on its way comes to its end, a close frame says that no more follow, and what
// the source still sends is dropped until it has said the same: that is its
// answer to the other direction's close frame.
func (t *tunnel) farewell(f *flow) {
	said := f.frames.closed
	if !f.frames.between() {
		var err error
		if said, err = t.endFrame(f); err != nil {
			t.abort() // a frame that is cut is no place for another one
			return
		}
	}
	if !said {
		var buf [16]byte
		frame := appendClose(buf[:0], goingAway, f.masked, uint32(t.w.random.Uint64()))
		if _, err := f.dst.Write(frame); err != nil {
			t.abort()
			return
		}
	}
	for !f.frames.closed {
		b, err := t.read(f)
		if err != nil {
			return
		}
		f.frames.pass(b)
		t.w.putBuffer(b[:bufferSize])
	}
}

// endFrame moves bytes up to the end of a frame and drops what follows it. It
// reports whether that was a close frame.
func (t *tunnel) endFrame(f *flow) (said bool, err error) {
	for {
		b, err := t.read(f)
		if err != nil {
			return false, err
		}
		n := f.frames.next(b)
		ended, closes := f.frames.between(), f.frames.closed
		err = t.send(f, b[:n])
		f.frames.pass(b[n:])
		t.w.putBuffer(b[:bufferSize])
		if err != nil || ended {
			return closes, err
		}
	}
}

// EndTunnels ends every tunnel, WebSockets with a close frame to both sides, and
// waits for that, or for ctx. It is for what Shutdown did not wait for.
func (s *Server) EndTunnels(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.tunnels.sum() > 0 {
		for _, w := range s.workers {
			w.loop.Post(w.endTunnels)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *worker) endTunnels() {
	for _, u := range w.inUse {
		for _, up := range u.conns {
			if up.tunnel != nil {
				up.tunnel.part(metrics.ShuttingDown)
			}
		}
	}
}
