package proxy

import "weir/pool"

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
	lease, err := ex.site.pool.AcquireWait(task, w.id, key, ex.tried, ex.deadline)
	ex.cc.SetHangupTarget(nil, 0)
	ex.queued += w.loop.Now().Sub(start)
	return lease, err
}
