package ratelimit

import (
	"math"
	"sync/atomic"
)

const (
	slots   = 8  // of a bucket
	crowded = 7  // so many slots of both of a key's buckets in use: time to grow
	perSlot = 16 // bytes
)

// What a slot's time says, apart from when the bucket of its key is full.
const (
	empty    = int64(0)             // of no key yet; like any time that has passed
	frozen   = int64(math.MaxInt64) // what was here is in the next table
	fresh    = int64(-1 << 62)      // with the key in the low bits: of this key, which has not taken yet
	reserved = int64(math.MinInt64) // with the key in the low bits: about to be of this key
	keyBits  = uint64(1<<62 - 1)
)

// table is a hash table of fixed size, with two buckets for each key to be in.
// Everything in it is atomic, and nobody waits for anybody.
//
// A slot changes hands in three steps: its time becomes reserved (with the new
// key), its key becomes the new one, its time becomes fresh. Whoever meets a
// reserved slot does the remaining steps, so that it does not matter where the
// one that began was interrupted. Hence the key of a slot never changes while
// its time stays the same, and a change of the time that succeeds was made for
// the right key.
//
// What is left to chance: two loops that bring the same new key at the same
// moment may choose different buckets, if in that moment a third one takes from an
// old key in one of them. One of the two entries is then forgotten, and with it
// what was taken from it.
type table struct {
	buckets []bucket
	mask    uint64
	biggest bool // never crowded: it cannot grow

	crowded atomic.Bool           // set by who found it so
	old     atomic.Pointer[table] // what is being carried over into this one; nil when all is

	// Of a table that is being carried over.
	next  atomic.Int64 // the next bucket to take in hand
	moved atomic.Int64 // how many are done
}

// bucket is two cache lines: a key that is not here costs only the first.
type bucket struct {
	keys  [slots]atomic.Uint64
	times [slots]atomic.Int64 // when the key's bucket is full: ns of the caller's clock
}

// slot is a place in a bucket.
type slot struct {
	key  *atomic.Uint64
	time *atomic.Int64
}

func newTable(entries int) *table {
	n := entries / slots
	return &table{buckets: make([]bucket, n), mask: uint64(n - 1), biggest: entries == maxEntries}
}

func (t *table) entries() int { return len(t.buckets) * slots }

// homes are the two buckets that a key may be in.
func (t *table) homes(key uint64) (*bucket, *bucket) {
	first, second := key&t.mask, key>>32&t.mask
	if first == second {
		second ^= 1
	}
	return &t.buckets[first], &t.buckets[second]
}

// take takes for key at now. It reports false if the slot went to another key or
// the table was replaced meanwhile: then all starts again.
func (t *table) take(key uint64, r Rate, now int64) (Verdict, bool) {
	s, ok := t.slot(key, now)
	for ok {
		k, full := s.load()
		if k != key || full == frozen {
			break
		}
		next, v := r.judge(full, now)
		if !v.OK || s.time.CompareAndSwap(full, next) {
			return v, true
		}
	}
	return Verdict{}, false
}

// raise makes the time of key at least full. It does nothing in a table that has
// itself been replaced: somebody else has raised it before that.
func (t *table) raise(key uint64, full, now int64) {
	for {
		s, ok := t.slot(key, now)
		if !ok {
			return
		}
		k, was := s.load()
		if k != key {
			continue
		}
		if was >= full || s.time.CompareAndSwap(was, full) {
			return
		}
	}
}

// slot finds the slot of key, or gets one for it. It reports false if the table
// has been replaced.
func (t *table) slot(key uint64, now int64) (slot, bool) {
	first, second := t.homes(key)
	for i := range first.keys {
		if first.keys[i].Load() == key {
			return first.at(i), true
		}
	}
	for i := range second.keys {
		if second.keys[i].Load() == key {
			return second.at(i), true
		}
	}
	return t.claim(key, now)
}

// claim gets a slot for a key that has none: of the emptier bucket, the one
// whose time is the earliest. It has nearly always passed, and then nothing is
// lost: a key of which nothing is known has a full bucket, too.
func (t *table) claim(key uint64, now int64) (slot, bool) {
	first, second := t.homes(key)
	for {
		v, w := first.choose(key, now), second.choose(key, now)
		switch {
		case v.key == key: // somebody else was quicker
			return v.slot, true
		case w.key == key:
			return w.slot, true
		case v.time == frozen || w.time == frozen:
			return slot{}, false
		}
		if w.before(v) {
			v, w = w, v
		}
		if v.used >= crowded && !t.biggest {
			t.crowded.Store(true)
		}
		// If w is still what it was, another loop with this key cannot have chosen
		// differently: it would have seen the same.
		if w.slot.time.Load() == w.time && v.slot.time.CompareAndSwap(v.time, reserved|int64(key)) {
			v.slot.load()
			return v.slot, true
		}
	}
}

// choice is the slot that a bucket can best do without, as it was when looked at.
type choice struct {
	slot
	key   uint64
	time  int64
	score int64 // the earlier the better
	used  int   // slots of the bucket that are somebody's
}

func (c *choice) before(d choice) bool {
	return c.used < d.used || c.used == d.used && c.score < d.score
}

// choose finds the slot with the earliest time; or that of key, if it is here; or
// one that is frozen, for then the whole bucket is about to be.
func (b *bucket) choose(key uint64, now int64) choice {
	best := choice{score: math.MaxInt64}
	used := 0
	for i := range b.keys {
		s := b.at(i)
		k, full := s.load()
		if k == key || full == frozen {
			return choice{slot: s, key: k, time: full}
		}
		score := full
		if full < 0 {
			score = now // rather one that nobody is about to take from
		}
		if full > now || full < 0 {
			used++
		}
		if score < best.score {
			best = choice{slot: s, key: k, time: full, score: score}
		}
	}
	best.used = used
	return best
}

func (b *bucket) at(i int) slot { return slot{&b.keys[i], &b.times[i]} }

// load reads key and time of one moment, after finishing what others began. The
// time is never a reserved one.
func (s slot) load() (key uint64, full int64) {
	for {
		full = s.time.Load()
		key = s.key.Load()
		if full < fresh {
			heir := uint64(full) & keyBits
			s.key.CompareAndSwap(key, heir)
			s.time.CompareAndSwap(full, fresh|int64(heir))
			continue
		}
		if s.time.Load() == full {
			return key, full
		}
	}
}

// move carries the bucket over into t and freezes it. Any number may do so at
// once: a time is raised before it is frozen, and nobody takes from a key in t
// before its buckets here are frozen, so nothing is lost and nothing counted twice.
func (b *bucket) move(t *table, now int64) {
	if b.times[slots-1].Load() == frozen { // the last to be
		return
	}
	for i := range b.keys {
		s := b.at(i)
		for {
			key, full := s.load()
			if full > now && full != frozen {
				t.raise(key, full, now)
			}
			if full == frozen || s.time.CompareAndSwap(full, frozen) {
				break
			}
		}
	}
}

// carry carries over what concerns key, and one bucket more: so the work is
// spread over requests, and done when the table is an eighth fuller.
func (t *table) carry(key uint64, now int64) {
	old := t.old.Load()
	if old == nil {
		return
	}
	first, second := old.homes(key)
	first.move(t, now)
	second.move(t, now)
	t.carryNext(old, now)
}

// carryNext carries one bucket of old over. It reports false if all are in hand.
func (t *table) carryNext(old *table, now int64) bool {
	n := int64(len(old.buckets))
	i := old.next.Add(1) - 1
	if i >= n {
		return false
	}
	old.buckets[i].move(t, now)
	if old.moved.Add(1) == n {
		t.old.Store(nil)
	}
	return true
}

// live counts the keys whose bucket is not full.
func (t *table) live(now int64) (n int) {
	for i := range t.buckets {
		for j := range t.buckets[i].times {
			if full := t.buckets[i].times[j].Load(); full > now && full != frozen {
				n++
			}
		}
	}
	return n
}
