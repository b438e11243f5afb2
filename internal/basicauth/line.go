package basicauth

import "sync"

const (
	maxLine      = 128  // checks that wait for a processor
	maxFollowers = 1024 // callers that wait for the check of somebody with the same credentials
)

// line is where checks wait. A few run at a time, so that passwords never take
// more than half of the processors; a bounded number waits.
type line struct {
	lanes chan struct{} // as many as may run at a time

	mu        sync.Mutex // held for moments, never while hashing
	checks    map[digest]*check
	followers int
}

// check is one that runs or waits. ok is read after done.
type check struct {
	done chan struct{}
	ok   bool
}

func newLine(lanes int) *line {
	return &line{lanes: make(chan struct{}, lanes), checks: make(map[digest]*check)}
}

// do runs fn, or waits for the one that runs for the same d: a client that opens
// fifty connections has its password hashed once. It reports busy, at once, if
// too many wait already.
func (l *line) do(d digest, fn func() bool) (ok, busy bool) {
	l.mu.Lock()
	if c := l.checks[d]; c != nil {
		return l.follow(c)
	}
	if len(l.checks) >= maxLine+cap(l.lanes) {
		l.mu.Unlock()
		return false, true
	}
	c := &check{done: make(chan struct{})}
	l.checks[d] = c
	l.mu.Unlock()

	l.lanes <- struct{}{}
	defer func() { // also if fn panics: the others must not wait for ever
		<-l.lanes
		l.mu.Lock()
		delete(l.checks, d)
		l.mu.Unlock()
		close(c.done)
	}()
	c.ok = fn()
	return c.ok, false
}

// follow waits for c. Its caller holds mu, which it gives back.
func (l *line) follow(c *check) (ok, busy bool) {
	if l.followers >= maxFollowers {
		l.mu.Unlock()
		return false, true
	}
	l.followers++
	l.mu.Unlock()
	<-c.done
	l.mu.Lock()
	l.followers--
	l.mu.Unlock()
	return c.ok, false
}
