package bench

import (
	"context"
	"math"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// progressEvery is the interval of Options.Progress.
const progressEvery = time.Second

// Run loads the target until the options' bounds or ctx end it, waits for the
// requests in flight, and reports. Cancelling ctx abandons them instead; what
// was counted until then is still reported. The error is about the options:
// a target that does not answer is a result.
func Run(ctx context.Context, o Options) (*Report, error) {
	t, err := o.resolve()
	if err != nil {
		return nil, err
	}
	r := &run{o: o, target: t, start: time.Now(), stop: make(chan struct{})}
	r.shards = make([]*shard, min(o.Connections, 2*runtime.GOMAXPROCS(0)))
	for i := range r.shards {
		r.shards[i] = newShard()
	}
	if o.Duration > 0 {
		r.end = r.start.Add(o.Duration)
	}
	total := newTally()
	r.work(ctx, total)
	return r.report(total), nil
}

// run is one benchmark under way.
type run struct {
	o      Options
	target target
	start  time.Time
	end    time.Time // no request starts after it; zero: no end
	stop   chan struct{}
	next   atomic.Int64 // tickets given out
	shards []*shard
}

// work runs the workers and, beside them, the progress report, which is also
// what moves the shards' counts into total.
func (r *run) work(ctx context.Context, total *tally) {
	var workers, watch sync.WaitGroup
	for i := range r.o.Connections {
		w := &worker{run: r, shard: r.shards[i%len(r.shards)]}
		workers.Go(func() { w.loop(ctx) })
	}
	watch.Go(func() { r.watch(total) })
	workers.Wait()
	close(r.stop)
	watch.Wait()
	r.collect(total)
}

// watch reports progress until the run is over.
func (r *run) watch(total *tally) {
	if r.o.Progress == nil {
		return
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	last := r.start
	for {
		select {
		case <-r.stop:
			return
		case now := <-tick.C:
			part := r.collect(total)
			r.o.Progress(Progress{
				Elapsed:  now.Sub(r.start),
				Interval: now.Sub(last),
				Answers:  part.answers,
				Failed:   part.failed(),
				P50:      time.Duration(part.latency.ValueAtQuantile(50)),
				P99:      time.Duration(part.latency.ValueAtQuantile(99)),
			})
			last = now
		}
	}
}

// collect moves what the shards have counted into total, and returns it.
func (r *run) collect(total *tally) *tally {
	part := newTally()
	for _, s := range r.shards {
		s.drainInto(part)
	}
	total.add(part)
	return part
}

// ticket is the right to send one request: when it should start. An open loop
// counts its latency from there, however late it really starts; otherwise the
// requests that a slow server prevented would be missing from the numbers.
func (r *run) ticket() (due time.Time, ok bool) {
	n := r.next.Add(1) - 1
	if r.o.Requests > 0 && n >= r.o.Requests {
		return due, false
	}
	if r.o.Rate > 0 {
		due = r.start.Add(offset(n, r.o.Rate))
	} else {
		due = time.Now()
	}
	return due, r.end.IsZero() || due.Before(r.end)
}

// offset is when ticket n of a rate is due, after the start. It is computed
// from the start each time, so that rounding does not add up.
func offset(n int64, rate float64) time.Duration {
	return time.Duration(math.Round(float64(n) / rate * float64(time.Second)))
}

// over says whether the time for starting requests has passed.
func (r *run) over() bool {
	return !r.end.IsZero() && !time.Now().Before(r.end)
}

// due is how many requests of an open loop should have started by now.
func (r *run) due() int64 {
	d := time.Since(r.start)
	if r.o.Duration > 0 {
		d = min(d, r.o.Duration)
	}
	n := int64(math.Ceil(d.Seconds() * r.o.Rate))
	if r.o.Requests > 0 {
		n = min(n, r.o.Requests)
	}
	return n
}

// worker is one connection and the goroutine that drives it.
type worker struct {
	*run
	shard *shard
	conn  *conn
	unarm func() bool // stops the cancellation of conn
}

// loop sends until there are no tickets or ctx ends.
func (w *worker) loop(ctx context.Context) {
	defer w.drop()
	for ctx.Err() == nil {
		due, ok := w.ticket()
		if !ok {
			return
		}
		// A ticket that no worker was free for until the end is not sent; the
		// report says how many there were.
		if w.over() || !wait(ctx, due) {
			return
		}
		w.shard.begin()
		w.request(ctx, due)
	}
}

// wait sleeps until due; false if ctx ended first.
func wait(ctx context.Context, due time.Time) bool {
	d := time.Until(due)
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// request sends one request that was due then, and counts it.
func (w *worker) request(ctx context.Context, due time.Time) {
	if w.conn == nil && !w.dial(ctx) {
		return
	}
	begin := time.Now()
	a, err := w.conn.roundTrip(w.target.request, w.target.head, begin.Add(w.o.Timeout))
	now := time.Now()
	if err != nil {
		w.drop()
		if ctx.Err() == nil { // else it is we who ended it
			w.shard.fail(causeOf(err))
		}
		return
	}
	if !a.reuse {
		w.drop()
	}
	// In a closed loop the request starts when the worker is ready for it;
	// connecting belongs to the latency, not to the service.
	w.shard.answer(a, now.Sub(due), now.Sub(begin))
}

// dial opens the worker's connection.
func (w *worker) dial(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, w.o.Timeout)
	defer cancel()
	c, err := w.o.Dial(limited, "tcp", w.target.address)
	if err != nil {
		if ctx.Err() == nil {
			w.shard.fail(Connect)
			pause(ctx)
		}
		return false
	}
	w.shard.connected()
	w.attach(ctx, c)
	return true
}

// attach makes c the worker's connection, which dies with ctx.
func (w *worker) attach(ctx context.Context, c net.Conn) {
	w.conn = newConn(c)
	w.unarm = context.AfterFunc(ctx, func() { _ = c.Close() })
}

// drop closes the worker's connection, if it has one.
func (w *worker) drop() {
	if w.conn == nil {
		return
	}
	w.unarm()
	_ = w.conn.Close()
	w.conn = nil
}

// pause keeps a server that refuses from being asked thousands of times a
// second by every worker.
func pause(ctx context.Context) {
	wait(ctx, time.Now().Add(10*time.Millisecond))
}
