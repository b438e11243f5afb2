package pool

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/loop"
	"weir/internal/metrics"
)

// Why AcquireWait gave up. The caller answers 503 to the first two.
var (
	ErrQueueFull    = errors.New("as many requests wait for a backend as may")
	ErrQueueTimeout = errors.New("no backend was free in time")
	ErrLeft         = errors.New("the client left while its request waited")
)

// QueueSpec says how many requests wait while every backend is full.
type QueueSpec struct {
	Size    int           // 0: none
	Timeout time.Duration // of one
}

// Queue is what waits at one moment.
type Queue struct {
	Length int `json:"length"`
	Size   int `json:"size"` // 0: there is no queue
}

// queue holds requests that found every backend full, in the order in which
// they came. Who gives a lease back wakes the first of them, which then picks
// for itself, on its own loop; whoever comes meanwhile queues up behind it.
//
// Nobody is forgotten: a request is in the queue before it looks at the backends
// once more, and a lease is given back before its holder looks at the queue.
type queue struct {
	_       [cacheLine]byte
	waiting atomic.Int64 // in the list; read at the end of each request
	choosy  atomic.Int64 // of these, have tried some backends: what they leave may do for others
	size    atomic.Int64
	timeout atomic.Int64 // ns
	_       [cacheLine]byte

	mu          sync.Mutex // never held while a coroutine waits
	first, last *waiter
	spare       int  // times somebody was to be woken when all were awake
	spareChain  bool // of these, one in which more than one may go
	pace        pace
}

// waiter is one request in the queue. Its fields are under queue.mu.
type waiter struct {
	task       *loop.Task
	next, prev *waiter
	awake      bool // is about to look at the backends
	chain      bool // and if it finds one there may be more
	choosy     bool // has tried some backends and does not take them
}

// AcquireWait is AcquireKey for a request that was told ErrAllFull, in a pool
// with a queue: it parks until it is its turn, until the pool's time for it is
// over or until the given moment, if that is not zero. loop is task's. Requests
// that could not have their turn in time, as things go, are told so at once.
//
// Beyond AcquireKey's, its errors are ErrQueueFull, ErrQueueTimeout, and ErrLeft
// when task was cancelled.
func (p *Pool) AcquireWait(task *loop.Task, loop int, key uint64, tried Tried, until time.Time) (Lease, error) {
	start := time.Now()
	l, err := p.wait(&waiter{task: task, choosy: tried.n > 0}, loop, key, tried, start, until)
	switch err {
	case nil:
		p.traffic.Waited(loop, time.Since(start))
	case ErrQueueFull:
		p.traffic.QueueRejected(loop, metrics.QueueFull)
	case ErrQueueTimeout:
		p.traffic.QueueRejected(loop, metrics.QueueTimeout)
	case ErrLeft:
		p.traffic.QueueRejected(loop, metrics.ClientClosed)
	}
	return l, err
}

func (p *Pool) wait(w *waiter, loop int, key uint64, tried Tried, now, until time.Time) (Lease, error) {
	q := &p.queue
	limit, err := q.enter(w, now, until)
	if err != nil {
		return Lease{}, err
	}
	for {
		if q.isAwake(w) {
			l, err := p.set.Load().acquire(p.cursors[loop].ask(key, tried))
			if err != ErrAllFull {
				q.leave(w, err == nil)
				return l, err
			}
			if q.rest(w) {
				continue
			}
		}
		woken := w.task.Park(limit)
		if w.task.Canceled() {
			q.leave(w, false)
			return Lease{}, ErrLeft
		}
		if !woken && !q.isAwake(w) {
			q.leave(w, false)
			return Lease{}, ErrQueueTimeout
		}
	}
}

// enter puts w at the end and says until when it may stay.
func (q *queue) enter(w *waiter, now, until time.Time) (limit time.Time, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ahead := q.waiting.Load()
	if ahead >= q.size.Load() {
		return limit, ErrQueueFull
	}
	limit = now.Add(time.Duration(q.timeout.Load()))
	if !until.IsZero() && until.Before(limit) {
		limit = until
	}
	if now.Add(q.pace.wait(ahead+1, now)).After(limit) {
		return limit, ErrQueueTimeout
	}
	w.awake = ahead == q.choosy.Load() // somebody may have gone since it looked, or they leave what would do for it
	w.prev = q.last
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	if w.choosy {
		q.choosy.Add(1)
	}
	q.waiting.Add(1)
	return limit, nil
}

func (q *queue) isAwake(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return w.awake
}

// rest is for who found all backends full: it reports whether to look again at
// once, because another one was given back meanwhile.
func (q *queue) rest(w *waiter) (again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.spare > 0 {
		q.spare--
		w.chain = w.chain || q.takeChain()
		return true
	}
	w.awake = false
	if w.choosy { // what it does not take may do for the next
		q.wakeFrom(w.next, w.chain)
	}
	return false
}

// leave takes w out. Who was woken and has no use for it passes it on.
func (q *queue) leave(w *waiter, served bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	if w.choosy {
		q.choosy.Add(-1)
	}
	if served {
		q.pace.step(time.Now())
	}
	if q.waiting.Add(-1) == 0 {
		q.spare, q.spareChain = 0, false
		q.pace.stop()
		return
	}
	switch {
	case served && w.chain, !served && w.awake:
		q.wakeFrom(q.first, w.chain)
	}
	if q.spare > 0 {
		q.spare--
		q.wakeFrom(q.first, q.takeChain())
	}
}

func (q *queue) takeChain() bool {
	chain := q.spareChain
	q.spareChain = false
	return chain
}

// wake lets the first look at the backends; all of them one after the other if
// more than one may find something.
func (q *queue) wake(all bool) {
	if q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first != nil {
		q.wakeFrom(q.first, all)
	}
}

// wakeFrom wakes the first that sleeps, of w and those behind it. q.mu is held.
func (q *queue) wakeFrom(w *waiter, chain bool) {
	for ; w != nil; w = w.next {
		if !w.awake {
			w.awake, w.chain = true, chain
			w.task.Wake()
			return
		}
	}
	q.spare++
	q.spareChain = q.spareChain || chain
}

// pace is how fast the queue moves: the mean time between two that leave it for
// a backend, while there is always somebody left.
type pace struct {
	mean  time.Duration
	steps int       // that mean is made of, up to paceSteps
	last  time.Time // when one left; zero: the queue was empty since
}

const (
	paceSteps = 16               // an exponential mean of about so many
	paceStale = 10 * time.Second // what is older says nothing
)

func (p *pace) step(now time.Time) {
	if !p.last.IsZero() {
		p.steps = min(p.steps+1, paceSteps)
		p.mean += (now.Sub(p.last) - p.mean) / time.Duration(p.steps)
	}
	p.last = now
}

func (p *pace) stop() { p.last = time.Time{} }

// wait is how long the n-th in the queue is going to wait; 0 if that is not known.
func (p *pace) wait(n int64, now time.Time) time.Duration {
	if p.steps < paceSteps || p.last.IsZero() || now.Sub(p.last) > paceStale {
		return 0
	}
	return time.Duration(n) * p.mean
}
