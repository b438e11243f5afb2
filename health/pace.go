package health

import (
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/loop"
)

const (
	firstWindow  = 20 * time.Millisecond // first probes of a few new targets are spread over this
	firstSpacing = 2 * time.Millisecond  // of many: this much window each, up to their interval
	paceMemory   = 5 * time.Second       // starts further apart than this are not of one crowd

	earlyEach  = 10 * time.Microsecond // how much too early a probe may go out, for each target there is
	earlyMost  = 25 * time.Millisecond
	earlyShare = 20 // and no more than this part of its interval
)

// Pace is what the Probers of a process share: when their targets are asked, and
// where. It spreads probes, so that Probers do not together make the burst that
// each for itself avoids: a process with a thousand pools of ten backends has ten
// thousand targets that start at once. And it wakes up for some at a time, for to
// wake up is what costs most. The zero value is ready to use.
type Pace struct {
	// Loop is where HTTP and TCP are asked, whose probes cost a third there of
	// what they cost on goroutines; nil: on goroutines as others are. It must
	// outlive the Probers. Set before the first Sync.
	Loop *loop.Loop

	// Spares is how many connections probes may keep on Loop until the next
	// probe; others make a new one each time. Set before the first Sync.
	Spares int64

	spares  atomic.Int64 // that are kept
	buffers sync.Pool    // of *incoming

	mu    sync.Mutex // every Sync, and each probe when it begins and when it ends
	crowd int        // targets started without a pause of paceMemory
	last  time.Time
	epoch time.Time // the queue counts from here
	users int       // probes that have not been stopped
	queue queue     // when they are to be asked, the first due first
	dead  int       // entries of queue that have been stopped
	made  []*probe  // on the loop, and not yet reported
	clock clock     // begins them; nil without users
	next  time.Time // when it looks again; zero: when it is woken
	past  chan struct{}
}

// window enters n targets that start now, and is the time over which to spread
// the first probes of one of them: a few get their verdict at once, thousands do
// not go out together.
func (p *Pace) window(n int, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.last) > paceMemory {
		p.crowd = 0
	}
	p.crowd += n
	p.last = now
	return max(firstWindow, time.Duration(p.crowd)*firstSpacing)
}

// join plans the first probe of pr.
func (p *Pace) join(pr *probe, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users++; p.clock == nil {
		p.epoch, p.next = time.Now(), time.Time{}
		p.clock = p.start()
	}
	p.plan(pr, at)
}

// again plans the next probe of pr, unless it has been stopped.
func (p *Pace) again(pr *probe, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !pr.stopped {
		p.plan(pr, at)
	}
}

// plan enters a probe. p.mu is held, and there is a clock.
func (p *Pace) plan(pr *probe, at time.Time) {
	pr.due, pr.queued = at, true
	p.queue.push(planned{int64(at.Sub(p.epoch)), pr})
	if p.next.IsZero() || at.Before(p.next) {
		p.next = at
		p.clock.wake(at)
	}
}

// leave stops pr: nothing of it begins any more.
func (p *Pace) leave(pr *probe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr.stopped = true
	if p.users--; p.users == 0 {
		p.past = p.clock.stop()
		p.clock, p.queue, p.dead = nil, nil, 0
		p.tell()
		return
	}
	if !pr.queued {
		return
	}
	// To look for it would cost more than to pass over it later.
	if p.dead++; p.dead > len(p.queue)/2 {
		p.queue.sweep()
		p.dead = 0
	}
}

// wait returns when the clock that was no longer needed is gone.
func (p *Pace) wait() {
	p.mu.Lock()
	past := p.past
	p.mu.Unlock()
	if past != nil {
		<-past
	}
}

// take has back a probe that was made on the loop. Where many are made there is a
// tick soon, and reporting can wait for that.
func (p *Pace) take(pr *probe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = append(p.made, pr)
	if p.clock == nil || p.next.IsZero() || p.next.Sub(pr.outcome.end) > 2*p.early() {
		p.tell()
	}
}

// tell reports what the loop has made: not there, for reporting may block. p.mu
// is held. Each Prober waits for its own.
func (p *Pace) tell() {
	if len(p.made) == 0 {
		return
	}
	made := p.made
	p.made = nil
	go func() {
		for _, pr := range made {
			pr.tell()
		}
	}()
}

// early is how long before its time a probe may be made, so as to be made
// together with another one. p.mu is held.
func (p *Pace) early() time.Duration {
	return min(time.Duration(len(p.queue))*earlyEach, earlyMost)
}

// tick begins what is due, on behalf of c. It is false if c is no longer needed.
func (p *Pace) tick(c clock) bool {
	due, ok := p.takeDue(c)
	for _, pr := range due {
		pr.begin()
	}
	return ok
}

// takeDue takes from the queue what is due, and tells c when to look again.
func (p *Pace) takeDue(c clock) (due []*probe, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clock != c {
		return nil, false
	}
	p.tell()
	now, early := time.Since(p.epoch), p.early()
	for len(p.queue) > 0 {
		at, pr := time.Duration(p.queue[0].at), p.queue[0].pr
		if !pr.stopped && at-now > min(early, pr.target.Interval/earlyShare) {
			break
		}
		p.queue.pop()
		if pr.stopped {
			p.dead--
			continue
		}
		pr.queued = false
		pr.p.wg.Add(1)
		due = append(due, pr)
	}
	p.next = time.Time{}
	if len(p.queue) > 0 {
		p.next = p.epoch.Add(time.Duration(p.queue[0].at))
	}
	c.sleep(p.next)
	return due, true
}
