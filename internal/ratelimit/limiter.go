// Package ratelimit holds a token bucket for each of very many keys.
//
// One Limiter is shared by all event loops. Taking a token is a few atomic
// operations: no lock, no waiting, no allocation; a request that is refused
// writes nothing, so a flood of one key does not make the loops fight for it.
//
// It does not know what a key stands for, nor what is done with those refused.
package ratelimit

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
)

// A table grows by growth when it gets crowded: from 128 KiB to 32 MiB in four steps.
const (
	minEntries = 1 << 13
	maxEntries = 1 << 21
	growth     = 4
)

// Limiter is the buckets of all keys.
//
// Memory: 16 bytes a slot, 128 KiB to begin with, 32 MiB at most; 40 MiB while
// growing to that. The biggest table has 2^21 slots and holds well over a million
// keys at a time. Only keys whose bucket is not full count: the others are
// forgotten, and lose nothing by it.
//
// Beyond what it holds, or should new keys come faster than it grows, a new key
// takes the place of the one in reach that is full again soonest. That client
// starts anew, which is lenient, and the reason why no number of clients can
// exhaust the memory or make anybody wait.
//
// Growing allocates, four times in the life of most processes. What was known is
// carried over bit by bit by those who take.
type Limiter struct {
	table atomic.Pointer[table] // replaced under mu
	seed  maphash.Seed

	mu sync.Mutex // whoever replaces table; Take only tries it
}

// New makes a Limiter in which every bucket is full. Keys are hashed with a seed
// of its own, so that nobody can choose what falls into one bucket.
func New() *Limiter {
	l := &Limiter{seed: maphash.MakeSeed()}
	l.table.Store(newTable(minEntries))
	return l
}

// Take takes a token of key, if there is one, and says how things stand. Of the
// loops that want the last one, one gets it.
//
// key comes from KeyAddr, KeyBytes or Mix. now is ns of a monotonic clock, and 0
// if it is less; clocks of several loops may differ a little. The rate of a key may
// change from one call to the next: what is remembered is when its bucket would
// be full, so it then has the tokens that the new rate makes in the time that is
// left, and at worst none.
//
// It may be called from anywhere, and allocates only where it grows.
func (l *Limiter) Take(key uint64, r Rate, now int64) Verdict {
	if r.interval == 0 {
		return Verdict{OK: true, Remaining: math.MaxInt}
	}
	key = max(1, key&keyBits) // 0 is the key of empty slots
	now = max(now, 0)         // a loop's clock can be a tick older than where the owner counts from
	for {
		t := l.table.Load()
		t.carry(key, now)
		v, ok := t.take(key, r, now)
		if !ok {
			continue
		}
		if t.crowded.Load() {
			l.grow(t)
		}
		return v
	}
}

// grow replaces a crowded table, unless somebody else is about to, or the last
// time is not over yet.
func (l *Limiter) grow(t *table) {
	if t.old.Load() != nil || !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	if l.table.Load() == t {
		l.replace(t, min(t.entries()*growth, maxEntries))
	}
}

// replace makes a table that t is carried over into. Its caller holds mu.
func (l *Limiter) replace(t *table, entries int) *table {
	heir := newTable(entries)
	heir.old.Store(t)
	l.table.Store(heir)
	return heir
}

// Trim gives back memory that a past flood of keys has left, and returns how
// many keys have a bucket that is not full. It goes through the whole table, which
// takes milliseconds: its caller is no event loop, and calls it every minute or so
// with the clock that Take is given.
func (l *Limiter) Trim(now int64) (live int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.table.Load()
	t.settle(now)
	live = t.live(now)
	fitting := minEntries
	for fitting < live*slots {
		fitting *= growth
	}
	// Another loop may still hold the last bucket that is being carried over.
	if fitting < t.entries() && t.old.Load() == nil {
		l.replace(t, fitting).settle(now)
	}
	return live
}

// settle carries over all that is left to carry.
func (t *table) settle(now int64) {
	if old := t.old.Load(); old != nil {
		for t.carryNext(old, now) {
			continue
		}
	}
}
