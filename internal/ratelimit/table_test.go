package ratelimit

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// hashed spreads small numbers like a hash would: the same ones in each run.
func hashed(k int) uint64 {
	x := uint64(k) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// resize replaces the table as growing and trimming do, whatever is in it.
func (l *Limiter) resize(entries int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.table.Load(); t.old.Load() == nil {
		l.replace(t, entries)
	}
}

// passes has eight loops bring all keys burst times each, in orders of their own,
// and counts for each key how many passed.
func passes(l *Limiter, keys, burst int, seed uint64) []atomic.Int32 {
	passed := make([]atomic.Int32, keys)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), seed))
			for range burst {
				for _, k := range random.Perm(keys) {
					if l.Take(hashed(k), NewRate(1, burst), 5).OK {
						passed[k].Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	return passed
}

func allPassed(t *testing.T, passed []atomic.Int32, want int32) {
	t.Helper()
	for k := range passed {
		if got := passed[k].Load(); got != want {
			t.Fatalf("%d of key %d passed, want %d", got, k, want)
		}
	}
}

// Eight loops make the entries of the same keys at once: each has one, and no
// token is lost or invented.
func TestManyLoopsManyKeys(t *testing.T) {
	for round := range uint64(10) {
		l := New()
		allPassed(t, passes(l, 3000, 3, round), 3)
	}
}

// The same while the table is replaced all the time: none of its tables is
// so full that a key would have to go.
func TestReplacingLosesNothing(t *testing.T) {
	for round := range uint64(5) {
		l := New()
		l.resize(1 << 15)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				l.resize(1 << (14 + i%3))
				if i%5 == 0 {
					l.Trim(5)
				}
			}
		}()
		allPassed(t, passes(l, 3000, 3, round), 3)
		close(stop)
		<-stopped
		allPassed(t, passes(l, 3000, 3, round), 0)
	}
}

// Many more keys than slots, from many loops: whatever is forgotten, nothing
// gets stuck, and afterwards a key is limited as ever.
func TestMoreKeysThanSlots(t *testing.T) {
	l := New()
	l.table.Store(newTable(64))
	l.table.Load().biggest = true
	passed := passes(l, 2000, 2, 1)
	for k := range passed {
		if passed[k].Load() == 0 {
			t.Errorf("none of key %d passed", k)
		}
	}
	for range 2 {
		l.Take(hashed(1), NewRate(1, 2), 5)
	}
	if l.Take(hashed(1), NewRate(1, 2), 5).OK {
		t.Error("a third one passed of a burst of 2")
	}
}

// When all slots in reach are in use, the key that is full again soonest goes.
func TestWhoIsForgotten(t *testing.T) {
	l := New()
	only := newTable(2 * slots)
	only.biggest = true
	l.table.Store(only)
	r := NewRate(1, 100)
	for k := range 2 * slots { // key k+1 takes k+1 tokens
		for range k + 1 {
			l.Take(uint64(k+1), r, 5)
		}
	}
	if v := l.Take(100, r, 5); v.Remaining != 99 {
		t.Errorf("a new key: %+v, want a full bucket", v)
	}
	for k := uint64(2); k <= 2*slots; k++ {
		if v := l.Take(k, r, 5); v.Remaining != 100-int(k)-1 {
			t.Errorf("key %d: %+v, want what it took to be remembered", k, v)
		}
	}
	if v := l.Take(1, r, 5); v.Remaining != 99 {
		t.Errorf("the key that had taken least: %+v, want it forgotten", v)
	}
}

// An entry whose bucket is full again is anybody's, before any other is.
func TestFullBucketsMakeRoom(t *testing.T) {
	l, r := New(), NewRate(1000, 1)
	for k := range 100_000 {
		l.Take(hashed(k), r, int64(k)*1000) // a thousand live at a time
	}
	if n := l.table.Load().entries(); n != minEntries {
		t.Errorf("grew to %d entries for a thousand live keys", n)
	}
}

// The table grows when it has to, keys that have no tokens left are without them
// in the bigger one, and the old one goes.
func TestGrowing(t *testing.T) {
	l, r := New(), NewRate(1e-3, 1)
	sizes := map[int]bool{}
	for k := range 100_000 {
		if v := l.Take(hashed(k), r, 5); !v.OK {
			t.Fatalf("key %d was refused the first time: %+v", k, v)
		}
		sizes[l.table.Load().entries()] = true
		if again := k / 2; l.Take(hashed(again), r, 5).OK {
			t.Fatalf("key %d passed again among %d", again, k)
		}
	}
	if len(sizes) != 4 || !sizes[minEntries] || !sizes[minEntries*growth*growth*growth] {
		t.Errorf("sizes were %v, want four", sizes)
	}
	if l.table.Load().old.Load() != nil {
		t.Error("the old table is still there")
	}
}

func TestTrim(t *testing.T) {
	l, slow, fast := New(), NewRate(1e-3, 1), NewRate(1000, 1)
	for k := range 100_000 {
		l.Take(hashed(k), fast, 5)
	}
	for k := range 500 {
		l.Take(hashed(-k-1), slow, 5)
	}
	grown := l.table.Load().entries()
	if live := l.Trim(5); live != 100_500 || l.table.Load().entries() != grown {
		t.Errorf("%d live in %d entries, want 100500 in %d", live, l.table.Load().entries(), grown)
	}
	const later = 1e9
	if live := l.Trim(later); live != 500 || l.table.Load().entries() != minEntries {
		t.Errorf("%d live in %d entries, want 500 in %d", live, l.table.Load().entries(), minEntries)
	}
	for k := range 500 {
		if l.Take(hashed(-k-1), slow, later).OK {
			t.Fatalf("key %d has a token after Trim", k)
		}
	}
}

// Whoever finds a slot half changed finishes the change, and then goes on.
func TestFinishesWhatOthersBegan(t *testing.T) {
	l, r := New(), NewRate(1, 2)
	table, mine, theirs := l.table.Load(), hashed(1)&keyBits, hashed(2)&keyBits
	s, _ := table.slot(mine, 5)

	// another loop stopped after it had reserved the slot for theirs
	s.time.Store(reserved | int64(theirs))
	if v := l.Take(mine, r, 5); v.Remaining != 1 {
		t.Errorf("mine: %+v", v)
	}
	// ... and here after it had reserved one for mine, in a slot of nobody
	l = New()
	table = l.table.Load()
	first, _ := table.homes(mine)
	first.at(3).time.Store(reserved | int64(mine))
	for want := 1; want >= 0; want-- {
		if v := l.Take(mine, r, 5); v.Remaining != want || !v.OK {
			t.Errorf("mine: %+v, want %d left", v, want)
		}
	}
	if got, full := first.at(3).load(); got != mine || full != 5+2e9 {
		t.Errorf("the slot is of %x until %d", got, full)
	}
	if l.Trim(5) != 1 {
		t.Error("mine has two slots")
	}
}

func FuzzManyKeys(f *testing.F) {
	f.Add([]byte{1, 2, 3, 1, 1, 1, 255, 254, 1})
	f.Fuzz(func(t *testing.T, moves []byte) {
		l, r, now := New(), NewRate(1, 3), int64(0)
		full := map[byte]int64{} // what judge says when nothing is shared
		for _, m := range moves {
			switch {
			case m >= 250:
				l.resize(1 << (12 + int(m)%4))
			case m >= 240:
				now += int64(m-239) * 3e8
			default:
				next, want := r.judge(full[m], now)
				full[m] = next
				if got := l.Take(hashed(int(m)), r, now); got != want {
					t.Fatalf("key %d at %d: %+v, want %+v", m, now, got, want)
				}
			}
		}
	})
}
