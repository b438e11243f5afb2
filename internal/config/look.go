package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/fsnotify/fsnotify"
)

type digest [sha256.Size]byte // of a file's content; the zero one is of none

// look is one Run: what was seen, and when to look again. It is fed changes and
// reads; how they come about is not its business.
type look struct {
	o        WatchOptions
	kicks    <-chan struct{}
	changes  <-chan fsnotify.Event
	overflow <-chan error              // events were lost
	concerns func(fsnotify.Event) bool // whether a change may be one of the file
	refresh  func()                    // called at each poll, before reading
	read     func() ([]byte, error)
	deliver  func([]byte)

	burst debounce
	last  digest // delivered last, or what the caller had
	seen  digest // at the last poll of this burst; for writers that give no events
	cause string // of the last error reported
}

// run looks until ctx ends.
func (l *look) run(ctx context.Context) {
	l.burst = debounce{quiet: l.o.Quiet, longest: l.o.Longest}
	if l.o.Have != nil {
		l.last = sha256.Sum256(l.o.Have)
	}
	poll := time.NewTicker(l.o.Poll)
	defer poll.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	l.burst.touch(time.Now().Add(-l.o.Longest)) // the first look is at once
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.kicks:
			l.kick()
		case e := <-l.changes:
			if l.concerns(e) {
				l.burst.touch(time.Now())
			}
		case <-l.overflow:
			l.burst.touch(time.Now())
		case <-poll.C:
			l.refresh()
			l.poll(time.Now())
		case <-rest.C:
			l.settle(time.Now())
		}
		rest.Stop()
		if at, ok := l.burst.due(); ok {
			rest.Reset(time.Until(at))
		}
	}
}

// poll begins a burst if the content is not what was delivered, and draws it
// out while the content goes on changing.
func (l *look) poll(now time.Time) {
	b, err := l.read()
	if err != nil {
		l.report(err)
		return
	}
	l.cause = ""
	if d := digest(sha256.Sum256(b)); d != l.last && d != l.seen {
		l.seen = d
		l.burst.touch(now)
	}
}

// settle ends a burst: the file is read, and delivered if it has changed.
func (l *look) settle(now time.Time) {
	b, err := l.read()
	if err != nil {
		l.end()
		l.report(err)
		return
	}
	d := digest(sha256.Sum256(b))
	if l.seen != (digest{}) && d != l.seen && !l.burst.over(now) {
		l.seen = d // still being written
		l.burst.touch(now)
		return
	}
	l.end()
	l.cause = ""
	if d != l.last {
		l.last = d
		l.deliver(b)
	}
}

func (l *look) kick() {
	l.end() // a burst that was under way is read with this
	b, err := l.read()
	if err != nil {
		l.cause = "" // whoever kicks wants to hear it again
		l.report(err)
		return
	}
	l.cause = ""
	l.last = sha256.Sum256(b)
	l.deliver(b)
}

func (l *look) end() {
	l.burst.reset()
	l.seen = digest{}
}

// report passes an error on, unless it is the last one again. A file that is
// away for a moment is how some editors save.
func (l *look) report(err error) {
	if errors.Is(err, fs.ErrNotExist) && l.cause == "" {
		l.cause = "absent"
		return
	}
	if s := err.Error(); s != l.cause {
		l.cause = s
		l.o.Report(fmt.Errorf("read the configuration: %w", err))
	}
}
