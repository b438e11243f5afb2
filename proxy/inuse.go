package proxy

import (
	"time"

	"weir/internal/metrics"
	"weir/pool"
)

// use is what a connection to a backend is in use for.
type use struct {
	spot   int       // in inUse.conns
	ex     *exchange // whose request it carries; nil before and after
	tunnel *tunnel   // what the request became
	open   time.Time // since then it carries an answer without an end in sight
	events bool      // it carries a stream of events
	parted bool      // it was closed because its backend left
}

// inUse is one worker's connections in use to an address, whatever Backends have
// followed each other there: who drains it must find them all.
type inUse struct {
	conns   []*upConn
	buckets int // that count their connections here
}

func (u *inUse) add(up *upConn) {
	up.use = use{spot: len(u.conns)}
	u.conns = append(u.conns, up)
}

func (u *inUse) remove(up *upConn) {
	last := len(u.conns) - 1
	moved := u.conns[last]
	u.conns[up.spot], moved.spot = moved, up.spot
	u.conns[last] = nil
	u.conns = u.conns[:last]
	up.ex = nil
}

// inUseOf is where connections in use to b are found. Whoever asks is one of its
// buckets.
func (w *worker) inUseOf(b *pool.Backend) *inUse {
	u := w.inUse[b.Lineage()]
	if u == nil {
		u = new(inUse)
		w.inUse[b.Lineage()] = u
	}
	u.buckets++
	return u
}

// forgetUnused drops what no bucket needs any more.
func (w *worker) forgetUnused() {
	for lineage, u := range w.inUse {
		if u.buckets == 0 && len(u.conns) == 0 {
			delete(w.inUse, lineage)
		}
	}
}

// Expire closes what runs on a backend and whose end has come. It returns at
// once; it is what pools want to tell (pool.Options).
func (s *Server) Expire(b *pool.Backend, d pool.Deadline, now time.Time) {
	lineage := b.Lineage()
	for _, w := range s.workers {
		w.loop.Post(func() { w.expire(lineage, d, now) })
	}
}

func (w *worker) expire(lineage uint64, d pool.Deadline, now time.Time) {
	u := w.inUse[lineage]
	if u == nil {
		return
	}
	for _, up := range u.conns {
		if end := d.End(up.streams(now), up.draw); !end.IsZero() && !end.After(now) {
			up.part()
		}
	}
}

// streamAge is how long an answer without a known length goes on before it is
// taken for a stream.
const streamAge = 10 * time.Second

// streams reports whether what the connection carries may never end by itself.
func (up *upConn) streams(now time.Time) bool {
	return up.tunnel != nil || up.events || !up.open.IsZero() && now.Sub(up.open) >= streamAge
}

// part closes the connection because its backend leaves. Whoever waits for the
// backend hears of it as of any failure (classify). Whoever waits for the client
// has to be woken as well: the rest of that answer will not come.
func (up *upConn) part() {
	switch ex := up.ex; {
	case up.parted:
		return
	case up.tunnel != nil:
		up.tunnel.part(metrics.Draining)
	case ex != nil && ex.sent:
		ex.parted = true
		_ = ex.cc.Conn.Abort() // as finish would
		fallthrough
	default:
		_ = up.c.Close()
	}
	up.parted = true
}
