package history

import "slices"

// Before is where a rollback from v leads that names no version: the newest older
// one with other bytes that has run and was not undone. If v is a rollback,
// "older" counts from the version that it repeats, so that a second rollback goes
// further back and not forth again. versions are oldest first.
func Before(versions []Version, v Version) (Version, bool) {
	at := First(versions, v)
	for _, w := range slices.Backward(versions) {
		if w.Number < at.Number && w.Hash != v.Hash && w.Ran() && Undone(versions, w.Hash) == 0 {
			return w, true
		}
	}
	return Version{}, false
}

// First follows a rollback of a rollback to the version whose bytes were new. If
// that is not kept any more, only its Number is known.
func First(versions []Version, v Version) Version {
	for v.RollbackOf != 0 { // always an older one: it ends
		i := slices.IndexFunc(versions, func(w Version) bool { return w.Number == v.RollbackOf })
		if i < 0 {
			return Version{Number: v.RollbackOf}
		}
		v = versions[i]
	}
	return v
}

// Undone is the number of the version that had these bytes and was rolled back,
// if that is the last word on them; else 0.
func Undone(versions []Version, hash string) int {
	for _, v := range slices.Backward(versions) {
		if v.Hash == hash {
			if v.Verdict == RolledBack {
				return v.Number
			}
			return 0
		}
	}
	return 0
}

// Ran tells whether v is or was what runs, for everybody.
func (v Version) Ran() bool { return v.Verdict == Applied || v.Verdict == RolledBack && !v.Tried }
