package health

import "time"

// Tracker turns single results into a verdict: Fall failures in a row make an
// address down, Rise passes in a row make it up again, and a result in between
// starts the count anew. The very first result decides alone: a new backend
// should not wait for Rise probes, nor get traffic for Fall of them. An address
// that flaps needs more passes than Rise, as Damping says.
//
// It reads no clock and is not safe for concurrent use.
type Tracker struct {
	Fall, Rise int // below 1 counts as 1

	known   bool
	up      bool
	streak  int // results in a row that contradict up
	damping Damping
}

// Observe takes one result and reports whether the verdict changed. Learning
// the first verdict is a change.
func (t *Tracker) Observe(ok bool, now time.Time) (changed bool) {
	if t.known && ok != t.up {
		t.streak++
		need := t.Fall
		if ok {
			need = t.RiseNow(now)
		}
		if t.streak < need {
			return false
		}
	}
	return t.Decide(ok, now)
}

// Decide makes ok the verdict, without counting: somebody knows. It reports
// whether that is a change.
func (t *Tracker) Decide(ok bool, now time.Time) (changed bool) {
	t.streak = 0
	if t.known && ok == t.up {
		return false
	}
	if t.known {
		t.damping.Changed(now) // to learn the first verdict is not to flap
	}
	t.known, t.up = true, ok
	return true
}

// RiseNow is how many passes in a row it takes to come up: Rise, or more of an
// address that flaps.
func (t *Tracker) RiseNow(now time.Time) int { return t.damping.Rise(t.Rise, now) }

// Up is the verdict; false until there is one.
func (t *Tracker) Up() bool { return t.up }

// Known reports whether there has been a result.
func (t *Tracker) Known() bool { return t.known }

// InTransition reports whether a streak against the verdict has begun and is
// not complete: the time to ask more often.
func (t *Tracker) InTransition() bool { return t.streak > 0 }
