package health

// Tracker turns single results into a verdict: Fall failures in a row make an
// address down, Rise passes in a row make it up again, and a result in between
// starts the count anew. The very first result decides alone: a new backend
// should not wait for Rise probes, nor get traffic for Fall of them.
//
// It knows no time and is not safe for concurrent use.
type Tracker struct {
	Fall, Rise int // below 1 counts as 1

	known  bool
	up     bool
	streak int // results in a row that contradict up
}

// Observe takes one result and reports whether the verdict changed. Learning
// the first verdict is a change.
func (t *Tracker) Observe(ok bool) (changed bool) {
	if !t.known {
		t.known, t.up = true, ok
		return true
	}
	if ok == t.up {
		t.streak = 0
		return false
	}
	t.streak++
	need := t.Fall
	if ok {
		need = t.Rise
	}
	if t.streak < need {
		return false
	}
	t.up, t.streak = ok, 0
	return true
}

// Up is the verdict; false until there is one.
func (t *Tracker) Up() bool { return t.up }

// Known reports whether there has been a result.
func (t *Tracker) Known() bool { return t.known }

// InTransition reports whether a streak against the verdict has begun and is
// not complete: the time to ask more often.
func (t *Tracker) InTransition() bool { return t.streak > 0 }
