package proxy

import (
	"time"

	"weir/pool"
)

// queue waits for a backend while all are full. A client that hangs up meanwhile
// gives its place away.
func (ex *exchange) queue() (pool.Lease, error) {
	w, start := ex.w, ex.w.loop.Now()
	var key uint64
	if ex.site.hashes {
		key = ex.site.hashKey.hash(ex)
	}
	task := w.loop.Task()
	ex.cc.SetHangupTask(task, ex.lc.timeouts.ClientHalfClosed)
	lease, err := ex.site.pool.AcquireWait(task, w.id, key, ex.tried, ex.turnBy())
	ex.cc.SetHangupTarget(nil, 0)
	ex.queued += w.loop.Now().Sub(start)
	return lease, err
}

// turnBy is until when there is a point in having a backend: a turn that leaves
// less time than an answer usually takes only keeps a backend busy. Zero: always.
func (ex *exchange) turnBy() time.Time {
	if ex.deadline.IsZero() {
		return ex.deadline
	}
	return ex.deadline.Add(-ex.site.state.usual.of(ex.w.id))
}
