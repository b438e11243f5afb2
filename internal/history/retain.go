package history

import (
	"slices"
	"time"
)

// SetKeep changes how many versions the next Append retains; less than 1
// counts as 1.
func (s *Store) SetKeep(keep int) {
	s.mu.Lock()
	s.keep = max(keep, 1)
	s.mu.Unlock()
}

// SetMaxAge makes older versions be removed at the next Append or Prune; 0 or
// less: age does not matter. It goes by the clock, which can be wrong: a version
// from the future is young.
func (s *Store) SetMaxAge(age time.Duration) {
	s.mu.Lock()
	s.maxAge = age
	s.mu.Unlock()
}

// Prune removes what is too old or too many, as every Append does.
func (s *Store) Prune() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.prune(time.Now())
}

// prune removes versions that surplus names, and what is left of damaged ones
// older than all that is kept. A file that cannot be removed is tried again
// next time: an Append that is on the disk must not fail for it. The caller
// holds writing.
func (s *Store) prune(now time.Time) {
	s.mu.RLock()
	if len(s.versions) == 0 {
		s.mu.RUnlock()
		return
	}
	rule := retention{keep: s.keep, running: s.state.Running}
	if s.maxAge > 0 {
		rule.since = now.Add(-s.maxAge)
	}
	gone := surplus(s.versions, rule)
	oldest := s.versions[0].Number
	wrecks := slices.Clone(s.wrecks)
	s.mu.RUnlock()

	removed := make(map[int]bool)
	for _, n := range gone {
		removed[n] = s.erase(n)
	}
	for _, n := range wrecks {
		if n < oldest {
			removed[n] = s.erase(n)
		}
	}
	if len(removed) == 0 {
		return
	}
	s.disk.syncDir(s.dir) // if it is not durable, the next Open prunes again
	s.mu.Lock()
	s.versions = slices.DeleteFunc(slices.Clone(s.versions), func(v Version) bool { return removed[v.Number] })
	s.wrecks = slices.DeleteFunc(s.wrecks, func(n int) bool { return removed[n] })
	s.mu.Unlock()
}

// erase removes both files of n and tells whether the version is gone. The
// metadata goes first, so that a crash in between leaves an orphan that Open
// recognises, not a damaged version.
func (s *Store) erase(n int) bool {
	if err := s.disk.remove(s.path(n, metaExt)); err != nil {
		return false
	}
	s.disk.remove(s.path(n, sourceExt)) // what stays is such an orphan
	return true
}

// retention is what is kept.
type retention struct {
	keep    int       // the newest
	since   time.Time // of those, what is not older; zero: all
	running int       // in any case, and where a rollback from it leads
}

// surplus returns the numbers of the versions to remove. The newest one that ran
// counts as running, too: it is about to, when it has just been appended.
func surplus(versions []Version, r retention) []int {
	need := make(map[int]bool)
	stays := func(v Version) {
		need[v.Number] = true
		if before, ok := Before(versions, v); ok {
			need[before.Number] = true
		}
	}
	if i := slices.IndexFunc(versions, func(v Version) bool { return v.Number == r.running }); i >= 0 {
		stays(versions[i])
	}
	for _, v := range slices.Backward(versions) {
		if v.Ran() {
			stays(v)
			break
		}
	}
	var gone []int
	for i, v := range versions {
		if (i < len(versions)-r.keep || v.Time.Before(r.since)) && !need[v.Number] {
			gone = append(gone, v.Number)
		}
	}
	return gone
}
