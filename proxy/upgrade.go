package proxy

import (
	"io"
	"time"

	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/pool"
)

// tunnel is a connection that has left HTTP: a WebSocket, or whatever the
// client and the backend agreed on with a 101. It holds its lease until the end
// and nothing of the configuration that began it, so it outlives reloads.
type tunnel struct {
	w     *worker
	cc    *clientConn
	up    *upConn
	lease pool.Lease
	idle  time.Duration
	start time.Time
	log   *record // nil where it is not logged

	active  time.Time // when bytes last moved, either way
	in, out int64     // bytes from and to the client
}

// beginTunnel answers 101. What the client sent behind its request is in the
// connection's input, and goes to the backend only now that it has agreed. The
// tunnel runs when fasthttp has left the connection (clientConn.run).
func (ex *exchange) beginTunnel(up *upConn, lease pool.Lease) {
	ex.cc.SetHangupTarget(nil, 0)
	if ex.site.sticky != nil {
		ex.bind(up.bucket.backend)
	}
	ex.switchHead()
	up.r += ex.answer.size
	if ex.flush() != nil {
		up.close()
		lease.Done(pool.ClientClosed)
		return
	}
	w := ex.w
	lease.Stream()
	ex.cc.ln.tunnels.Add(1)
	ex.cc.tunnel = &tunnel{w: w, cc: ex.cc, up: up, lease: lease, idle: ex.site.timeouts.StreamIdle,
		start: ex.start, active: w.loop.Now(), log: ex.record()}
	w.s.inFlight.add(w.id, 1)
	w.s.metrics.Stream(w.id, metrics.WebSocket, 1)
}

// switchHead builds the 101 that goes to the client.
func (ex *exchange) switchHead() {
	h := &ex.answer
	ex.status = h.status
	dst := h.appendBodiless(ex.out[:0])
	if ex.bound.give != "" {
		dst = ex.appendBinding(dst)
	}
	ex.out = append(dst, "Connection: Upgrade\r\nVia: 1.1 weir\r\n\r\n"...)
}

// run moves bytes both ways until both sides have ended, one has failed, or
// nothing has moved for the idle time.
func (t *tunnel) run() {
	task, ended := t.w.loop.Task(), false
	early := append([]byte(nil), t.cc.in.buffered()...)
	t.cc.in.r = t.cc.in.e
	t.cc.in.release(t.w)
	t.w.loop.Go(func() {
		t.copy(t.up.c, t.cc.Conn, early, &t.in)
		ended = true
		task.Wake()
	})
	first := append([]byte(nil), t.up.buffered()...)
	t.up.releaseBuffer() // a silent tunnel holds none
	t.copy(t.cc.Conn, t.up.c, first, &t.out)
	for !ended {
		task.Park(time.Time{})
	}
	t.end()
}

func (t *tunnel) end() {
	w := t.w
	t.cc.Conn.Close()
	t.up.close()
	t.lease.Done(pool.Success)
	w.s.metrics.Stream(w.id, metrics.WebSocket, -1)
	t.cc.ln.tunnels.Add(-1)
	w.s.inFlight.add(w.id, -1)
	if t.log != nil {
		t.log.bytesIn, t.log.bytesOut = t.in, t.out
		t.log.duration = w.loop.Now().Sub(t.start)
		t.log.attempts[len(t.log.attempts)-1].took = t.log.duration - t.log.upstream()
		w.log.add(t.log)
	}
}

// copy moves bytes from src to dst. The end of src is passed on; a failure of
// either ends both directions.
func (t *tunnel) copy(dst, src *loop.Conn, first []byte, moved *int64) {
	if len(first) > 0 && !t.write(dst, first, moved) {
		t.abort()
		return
	}
	for {
		n, err := t.read(src)
		switch {
		case err == io.EOF:
			_ = dst.CloseWrite() // it may be gone: then the other direction ends too
			return
		case err != nil:
			t.abort()
			return
		}
		ok := t.write(dst, n, moved)
		t.w.putBuffer(n[:bufferSize])
		if !ok {
			t.abort()
			return
		}
	}
}

// read waits for bytes of src without holding a buffer: most tunnels are
// silent most of the time.
func (t *tunnel) read(src *loop.Conn) ([]byte, error) {
	for {
		src.SetReadDeadline(after(t.active, t.idle))
		if err := src.WaitRead(); err != nil {
			if isTimeout(err) && t.w.loop.Now().Before(t.active.Add(t.idle)) {
				continue // the other direction was active meanwhile
			}
			return nil, err
		}
		buf := t.w.takeBuffer()
		n, err := src.Read(buf)
		if n > 0 {
			t.active = t.w.loop.Now()
			return buf[:n], nil
		}
		t.w.putBuffer(buf)
		if err != nil {
			return nil, err
		}
	}
}

func (t *tunnel) write(dst *loop.Conn, b []byte, moved *int64) bool {
	dst.SetWriteDeadline(after(t.w.loop.Now(), t.idle))
	n, err := dst.Write(b)
	*moved += int64(n)
	t.active = t.w.loop.Now()
	return err == nil
}

// abort closes both sides, which ends the other direction as well.
func (t *tunnel) abort() {
	t.cc.Conn.Close()
	t.up.c.Close()
}
