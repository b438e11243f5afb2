package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/internal/config"
)

// logRing carries records from a loop to the goroutine that writes them. One
// side writes head, the other tail: no lock. A full ring drops: the log must
// not slow down what it tells of.
type logRing struct {
	slots   [ringSize]record
	head    atomic.Uint64 // next to write; the loop's
	tail    atomic.Uint64 // next to read; the writer's
	dropped atomic.Uint64
}

const ringSize = 1024 // records a loop can make between two visits of the writer

func newLogRing() *logRing { return new(logRing) }

// next is the slot for one more record; nil if the ring is full.
func (r *logRing) next() *record {
	h := r.head.Load()
	if h-r.tail.Load() >= ringSize {
		r.dropped.Add(1)
		return nil
	}
	return &r.slots[h%ringSize]
}

func (r *logRing) publish() { r.head.Add(1) }

// add copies a finished record into the ring.
func (r *logRing) add(rec *record) {
	if slot := r.next(); slot != nil {
		text, attempts := slot.text[:0], slot.attempts[:0]
		*slot = *rec
		slot.text = append(text, rec.text...)
		slot.attempts = append(attempts, rec.attempts...)
		r.publish()
	}
}

// accessLog writes the rings out. Formatting costs more than some requests do,
// so it happens on a goroutine, in batches.
type accessLog struct {
	out     *zap.Logger
	workers []*worker
	fields  []zap.Field // of the record being written
	on      atomic.Bool
	sample  atomic.Uint32 // of 1<<16 requests so many are logged

	once sync.Once
	quit chan struct{}
	done chan struct{}
}

// logEvery is how long a record may wait.
const logEvery = 50 * time.Millisecond

func newAccessLog(out *zap.Logger, workers []*worker) *accessLog {
	a := &accessLog{out: out, workers: workers, quit: make(chan struct{}), done: make(chan struct{})}
	if out == nil {
		close(a.done)
		return a
	}
	go a.run()
	return a
}

// configure switches the log on or off for the requests to come.
func (a *accessLog) configure(c config.Log) {
	a.sample.Store(uint32(c.Sample * (1 << 16)))
	a.on.Store(a.out != nil && c.Access && c.Sample > 0)
}

// wants draws whether a request is logged.
func (a *accessLog) wants(w *worker) bool {
	return a.on.Load() && (a.sample.Load() >= 1<<16 || uint32(w.random.Uint64()&0xffff) < a.sample.Load())
}

func (a *accessLog) run() {
	defer close(a.done)
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	for {
		select {
		case <-a.quit:
			a.drain()
			return
		case <-tick.C:
			a.drain()
		}
	}
}

// stop writes what is left and ends the goroutine.
func (a *accessLog) stop() {
	a.once.Do(func() { close(a.quit) })
	<-a.done
}

func (a *accessLog) drain() {
	for _, w := range a.workers {
		r := w.log
		for t := r.tail.Load(); t != r.head.Load(); t++ {
			a.fields = r.slots[t%ringSize].write(a.out, a.fields[:0])
			r.tail.Store(t + 1)
		}
		if n := r.dropped.Swap(0); n > 0 {
			a.out.Warn("access log could not keep up", zap.Uint64("dropped", n))
		}
	}
}
