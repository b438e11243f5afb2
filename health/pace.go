package health

import (
	"sync"
	"time"
)

const (
	firstWindow  = 20 * time.Millisecond // first probes of a few new targets are spread over this
	firstSpacing = 2 * time.Millisecond  // of many: this much window each, up to their interval
	paceMemory   = 5 * time.Second       // starts further apart than this are not of one crowd
)

// Pace knows how many targets were started lately, so that Probers that share
// one do not together make the burst that each for itself avoids: a process with
// a thousand pools of ten backends has ten thousand targets that start at once.
type Pace struct {
	mu    sync.Mutex // every Sync that starts something
	crowd int        // targets started without a pause of paceMemory
	last  time.Time
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
