package control

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	eventsKept   = 256
	eventsQueued = 256 // per subscriber; one that is further behind loses events
)

// Event is something that happened: to a configuration, a backend or a route. IDs
// grow by one, so that a reader sees what it missed.
type Event struct {
	ID      uint64    `json:"id"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`           // applied, rejected, failed, held, rolled_back, pinned, unpinned, ignored, frozen, thawed, staged, trial, guard, confirmed, override, upgrade, backend or route
	What    string    `json:"what,omitempty"` // of a backend: up, down, ejected, ... as package pool says; of a route as package proxy does
	Version int       `json:"version,omitempty"`
	Pool    string    `json:"pool,omitempty"`
	Backend string    `json:"backend,omitempty"`
	Cause   string    `json:"cause,omitempty"`
	Origin  string    `json:"origin,omitempty"`
	Author  string    `json:"author,omitempty"`

	Listener string `json:"listener,omitempty"` // of a route
	Route    string `json:"route,omitempty"`
}

// events keeps the last ones and hands new ones on. Sending never blocks.
type events struct {
	mu     sync.Mutex // whoever sends, subscribes or leaves; held for a few instructions
	last   uint64
	ring   []Event // oldest first, at most eventsKept
	subs   map[chan Event]struct{}
	closed bool
}

func (e *events) send(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	ev.ID = e.last
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	if len(e.ring) == eventsKept {
		e.ring = slices.Delete(e.ring, 0, 1)
	}
	e.ring = append(e.ring, ev)
	for ch := range e.subs {
		select {
		case ch <- ev:
		default: // its reader sees the gap in the IDs
		}
	}
}

func (e *events) history() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.ring)
}

// subscribe delivers what is sent from now on until ctx ends or the source
// closes; then the channel is closed.
func (e *events) subscribe(ctx context.Context) <-chan Event {
	ch := make(chan Event, eventsQueued)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		close(ch)
		return ch
	}
	if e.subs == nil {
		e.subs = make(map[chan Event]struct{})
	}
	e.subs[ch] = struct{}{}
	context.AfterFunc(ctx, func() { e.leave(ch) })
	return ch
}

func (e *events) leave(ch chan Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.subs[ch]; ok {
		delete(e.subs, ch)
		close(ch)
	}
}

func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for ch := range e.subs {
		delete(e.subs, ch)
		close(ch)
	}
}
