package pool

const (
	firstScanned = 64 // up to so many members are all looked at
	firstClimb   = 8  // of more, so many upwards from where there was room
	firstSweep   = 4  // and so many of those below, each time
)

// first fills one member before the next, in the order of the Spec. Those at
// the end are idle while load is low, and can be taken away.
//
// Of many members it looks at few in each pick, and is right in the long run:
// what becomes free in the front is used within as many picks as there are
// members in front of it.
type first struct{}

// front is a loop's memory of where first has found room.
type front struct {
	at   int // full from here downwards, as far as was seen
	low  int // next of those below at to be looked at again
	idle int // had room when it was last looked at
}

func (first) pick(members []Member, c *cursor) (Lease, bool) {
	if len(members) <= firstScanned {
		return anyOf(members, 0, c)
	}
	f := &c.front
	if f.at >= len(members) { // the round is over, or the Set is another one
		f.at = 0
	}
	f.idle = max(f.at, min(f.idle, len(members)-1))
	f.sweep(members, c)
	for range firstClimb {
		if f.at == len(members) {
			break
		}
		if l, ok := members[f.at].takeUntried(c); ok {
			return l, false
		}
		f.at++
	}
	return f.beyond(members, c)
}

// sweep goes back to a member that has room again.
func (f *front) sweep(members []Member, c *cursor) {
	for range firstSweep {
		if f.low >= f.at {
			f.low = 0
			return
		}
		if m := &members[f.low]; m.open(c) && !m.full() {
			f.at, f.low = f.low, 0
			return
		}
		f.low++
	}
}

// beyond looks for the first idle one behind a row of full ones. The search is
// binary: there may be room in what it leaves out, which is for sweep to find.
func (f *front) beyond(members []Member, c *cursor) (Lease, bool) {
	from := f.at
	for from < f.idle {
		middle := (from + f.idle) / 2
		if m := &members[middle]; m.open(c) && !m.full() {
			f.idle = middle
		} else {
			from = middle + 1
		}
	}
	for ; f.idle < len(members); f.idle++ {
		if l, ok := members[f.idle].takeUntried(c); ok {
			return l, false
		}
	}
	return anyOf(members, 0, c)
}
