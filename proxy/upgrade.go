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

	webSocket           bool
	toClient, toBackend flow
	active              time.Time // when bytes last moved, either way

	partBy time.Time      // it is to end before its time, and has until then; zero: it is not
	reason metrics.Reason // why
}

// flow is one direction of a tunnel.
type flow struct {
	dst, src *loop.Conn
	moved    int64  // bytes
	frames   frames // of a WebSocket
	masked   bool   // they are those of a client
	parting  bool   // it has been told that the tunnel is to end
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
	lease.Stream()
	if ex.flush() != nil {
		up.close()
		lease.Done(pool.ClientClosed)
		return
	}
	w := ex.w
	t := &tunnel{w: w, cc: ex.cc, up: up, lease: lease, idle: ex.site.timeouts.StreamIdle,
		start: ex.start, active: w.loop.Now(), log: ex.record(), webSocket: equalFold(ex.answer.upgrade, "websocket")}
	t.toClient = flow{dst: t.cc.Conn, src: up.c}
	t.toBackend = flow{dst: up.c, src: t.cc.Conn, masked: true}
	ex.cc.tunnel, up.tunnel, up.ex = t, t, nil
	w.s.tunnels.add(w.id, 1)
	ex.cc.ln.tunnels.Add(1)
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
		t.move(&t.toBackend, early)
		ended = true
		task.Wake()
	})
	first := append([]byte(nil), t.up.buffered()...)
	t.up.releaseBuffer() // a silent tunnel holds none
	t.move(&t.toClient, first)
	for !ended {
		task.Park(time.Time{})
	}
	t.end()
}

func (t *tunnel) end() {
	w := t.w
	t.cc.Conn.Close()
	t.up.close()
	outcome := pool.Success
	if t.reason == metrics.Draining {
		outcome = pool.Drained
	}
	t.lease.Done(outcome)
	w.s.tunnels.add(w.id, -1)
	w.s.metrics.Stream(w.id, metrics.WebSocket, -1)
	t.cc.ln.tunnels.Add(-1)
	w.s.inFlight.add(w.id, -1)
	if t.log != nil {
		t.log.bytesIn, t.log.bytesOut, t.log.reason = t.toBackend.moved, t.toClient.moved, t.reason
		t.log.duration = w.loop.Now().Sub(t.start)
		t.log.attempts[len(t.log.attempts)-1].took = t.log.duration - t.log.upstream()
		w.log.add(t.log)
	}
}

// move moves bytes one way until that ends. The end of its source is passed on; a
// failure ends both directions.
func (t *tunnel) move(f *flow, first []byte) {
	switch err := t.copy(f, first); {
	case err == io.EOF:
		_ = f.dst.CloseWrite() // it may be gone: then the other direction ends too
	case err == errParting && t.webSocket:
		t.farewell(f)
	default:
		t.abort()
	}
}

// copy moves bytes until there is an error. That of a source's end is io.EOF.
func (t *tunnel) copy(f *flow, b []byte) (err error) {
	if len(b) > 0 {
		err = t.write(f, b)
	}
	for err == nil {
		if b, err = t.read(f); err == nil {
			err = t.write(f, b)
			t.w.putBuffer(b[:bufferSize])
		}
	}
	return err
}

// read waits for bytes of a source without holding a buffer: most tunnels are
// silent most of the time. Once it says errParting, for a tunnel that is to end.
func (t *tunnel) read(f *flow) ([]byte, error) {
	for {
		if t.parting() && !f.parting {
			f.parting = true
			return nil, errParting
		}
		f.src.SetReadDeadline(t.readBy())
		b, err := t.readOnce(f.src)
		if isTimeout(err) && t.w.loop.Now().Before(t.readBy()) {
			continue // the other direction was active meanwhile, or the tunnel is to end
		}
		if len(b) > 0 || err != nil {
			return b, err
		}
	}
}

func (t *tunnel) readOnce(src *loop.Conn) ([]byte, error) {
	if err := src.WaitRead(); err != nil {
		return nil, err
	}
	buf := t.w.takeBuffer()
	n, err := src.Read(buf)
	if n > 0 {
		t.active = t.w.loop.Now()
		return buf[:n], nil
	}
	t.w.putBuffer(buf)
	return nil, err
}

func (t *tunnel) readBy() time.Time {
	if t.parting() {
		return t.partBy
	}
	return after(t.active, t.idle)
}

func (t *tunnel) write(f *flow, b []byte) error {
	if t.webSocket {
		f.frames.pass(b)
	}
	return t.send(f, b)
}

func (t *tunnel) send(f *flow, b []byte) error {
	by := t.partBy
	if !t.parting() {
		by = after(t.w.loop.Now(), t.idle)
	}
	f.dst.SetWriteDeadline(by)
	n, err := f.dst.Write(b)
	f.moved += int64(n)
	t.active = t.w.loop.Now()
	return err
}

// abort closes both sides, which ends the other direction as well.
func (t *tunnel) abort() {
	t.cc.Conn.Close()
	t.up.c.Close()
}
