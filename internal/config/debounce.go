package config

import "time"

// debounce decides when a burst of changes has come to rest: quiet after the
// last of them, or longest after the first if they do not end. It knows no
// clock; the zero burst is none.
type debounce struct {
	quiet, longest time.Duration
	first, last    time.Time
}

// touch notes a change.
func (b *debounce) touch(now time.Time) {
	if b.first.IsZero() {
		b.first = now
	}
	b.last = now
}

// due is when to act; false if nothing has changed.
func (b *debounce) due() (time.Time, bool) {
	at, latest := b.last.Add(b.quiet), b.first.Add(b.longest)
	if at.After(latest) {
		at = latest
	}
	return at, !b.first.IsZero()
}

// over says whether the burst has lasted for longest: what is there is taken.
func (b *debounce) over(now time.Time) bool {
	return !now.Before(b.first.Add(b.longest))
}

// reset ends the burst.
func (b *debounce) reset() { b.first, b.last = time.Time{}, time.Time{} }
