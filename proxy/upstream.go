package proxy

import (
	"time"

	"weir/internal/loop"
	"weir/pool"
)

// upConn is a connection to a backend. It belongs to the loop that dialed it:
// no other loop sees it, so it needs no lock.
type upConn struct {
	c       *loop.Conn
	w       *worker
	bucket  *bucket
	place   int  // in bucket.idle; -1 while in use
	reused  bool // it has carried an answer before
	since   time.Time
	connect time.Duration // what dialing took
	hello   int           // version of the PROXY header to begin with; 0: none
	draw    float64       // for pool.Deadline.End
	use

	buf  []byte // what was read and not yet used: buf[r:e]
	r, e int
	full bool // the last read filled the buffer: there is more where that came from
}

// bucket holds one worker's idle connections to one backend, the newest last:
// what is used again is warm, and what is too many grows old and is closed.
type bucket struct {
	backend *pool.Backend
	idle    []*upConn
	inUse   *inUse
	timeout time.Duration // of the newest configuration that used it
}

// care is how much trust a connection that was used before gets.
type care uint8

const (
	anyIdle     care = iota // epoll would have told if it had been closed
	checkedIdle             // ask the kernel too: the request must not be sent twice
	freshOnly               // after one stale connection the others are suspect
)

// take returns an idle connection to b, or dials one.
func (w *worker) take(b *pool.Backend, how care, deadline time.Time) (*upConn, error) {
	bk := w.bucketOf(b)
	for n := len(bk.idle); n > 0 && how != freshOnly; n = len(bk.idle) {
		up := bk.idle[n-1]
		if how == checkedIdle && !up.c.Silent() {
			up.discard()
			continue
		}
		w.unlist(up)
		up.c.SetIdle(nil)
		bk.inUse.add(up)
		b.Metrics().Conns(w.id, -1, 1)
		return up, nil
	}
	start := time.Now()
	c, err := w.loop.Dial(b.Target(), deadline)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	b.Metrics().Connected(w.id, took)
	b.Metrics().Conns(w.id, 0, 1)
	up := &upConn{c: c, w: w, bucket: bk, place: -1, connect: took, draw: w.draw()}
	bk.inUse.add(up)
	return up, nil
}

func (w *worker) bucketOf(b *pool.Backend) *bucket {
	bk := w.buckets[b]
	if bk == nil {
		bk = &bucket{backend: b, inUse: w.inUseOf(b)}
		w.buckets[b] = bk
	}
	return bk
}

// put gives a connection back after a complete answer. It is kept unless the
// backend drains, the bucket is full, or bytes nobody asked for wait in it.
func (w *worker) put(up *upConn, keep int, timeout time.Duration) {
	bk := up.bucket
	if up.e > up.r || len(bk.idle) >= keep || timeout <= 0 || bk.backend.Ending() || up.c.Readable() || up.c.Broken() || w.s.closing.Load() {
		up.close()
		return
	}
	bk.inUse.remove(up)
	up.releaseBuffer()
	up.reused, up.connect = true, 0
	up.since = w.loop.Now()
	up.place = len(bk.idle)
	bk.idle = append(bk.idle, up)
	bk.timeout = timeout
	bk.backend.Metrics().Conns(w.id, 1, -1)
	up.c.SetIdle(up)
	w.startReaper()
}

// unlist takes up out of its bucket.
func (w *worker) unlist(up *upConn) {
	idle := up.bucket.idle
	last := len(idle) - 1
	copy(idle[up.place:], idle[up.place+1:]) // mostly the last: nothing moves
	for i := up.place; i < last; i++ {
		idle[i].place = i
	}
	idle[last] = nil
	up.bucket.idle = idle[:last]
	up.place = -1
}

// Spoiled closes an idle connection on which something happened: the backend
// closed it, or sent what nobody asked for. It runs on the loop, before anybody
// could use the connection again (loop.IdleOwner).
func (up *upConn) Spoiled(*loop.Conn) {
	if up.place >= 0 {
		up.discard()
	}
}

// discard closes an idle connection.
func (up *upConn) discard() {
	up.w.unlist(up)
	up.bucket.backend.Metrics().Conns(up.w.id, -1, 0)
	up.c.Close()
}

// close ends a connection in use.
func (up *upConn) close() {
	up.releaseBuffer()
	up.bucket.inUse.remove(up)
	up.bucket.backend.Metrics().Conns(up.w.id, 0, -1)
	up.c.Close()
}

func (up *upConn) releaseBuffer() {
	switch len(up.buf) {
	case bufferSize:
		up.w.putBuffer(up.buf)
	case bigSize:
		up.w.putBig(up.buf)
	}
	up.buf, up.r, up.e, up.full = nil, 0, 0, false
}

// fill reads more bytes behind those that are buffered. There is room: callers
// use up what they have first.
func (up *upConn) fill(deadline time.Time) error {
	if up.buf == nil {
		up.buf = up.w.takeBuffer()
	}
	if up.r == up.e {
		up.r, up.e = 0, 0
		if up.full {
			up.grow()
		}
	} else if up.e == len(up.buf) && up.r > 0 {
		up.e = copy(up.buf, up.buf[up.r:up.e])
		up.r = 0
	}
	up.c.SetReadDeadline(deadline)
	room := up.buf[up.e:]
	n, err := up.c.Read(room)
	up.e += n
	up.full = n == len(room)
	if n > 0 {
		return nil
	}
	return err
}

// buffered is what has been read and not used yet.
func (up *upConn) buffered() []byte { return up.buf[up.r:up.e] }

// reapEvery is how often old idle connections are looked for.
const reapEvery = time.Second

// startReaper closes connections that were idle for too long. One coroutine a
// worker, and only while there are idle connections.
func (w *worker) startReaper() {
	if w.reaping {
		return
	}
	w.reaping = true
	w.loop.Go(func() {
		defer func() { w.reaping = false }()
		for w.reap() {
			began := w.loop.Now()
			w.loop.Task().Sleep(reapEvery)
			if w.loop.Now().Sub(began) < reapEvery/2 {
				return // woken early: the loops are ending, and the connections with them
			}
		}
	})
}

// reap closes what is old or belongs to a backend that drains, forgets empty
// buckets, and reports whether any idle connection is left.
func (w *worker) reap() bool {
	now, left := w.loop.Now(), 0
	for b, bk := range w.buckets {
		for len(bk.idle) > 0 {
			up := bk.idle[0]
			if !b.Ending() && now.Sub(up.since) < bk.timeout && !w.s.closing.Load() {
				break // the rest is younger
			}
			up.discard()
		}
		if len(bk.idle) == 0 && b.Retired() {
			delete(w.buckets, b)
			bk.inUse.buckets--
		}
		left += len(bk.idle)
	}
	w.forgetUnused()
	for p, b := range w.budgets {
		if b.idle(now.Unix()) {
			delete(w.budgets, p) // the pool may be gone
		}
	}
	return left > 0
}
