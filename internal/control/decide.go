package control

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/history"
)

// seen is the configuration file as Start finds it.
type seen struct {
	path string
	hash string // of its bytes; empty if it could not be read
	err  error  // why it cannot be used: unreadable, or its problems
}

// decision is what to run first.
type decision struct {
	file    bool          // the file, as a new version
	version int           // else this one, as it is
	loud    string        // not what the operator might think: why
	pin     history.State // Pinned and its reason, if the file is to be ignored
	state   string        // of the file, for the status
}

// decide chooses what a starting Weir runs, so that starting never depends on
// the last edit being right. versions are oldest first. The error says that
// there is nothing to run, or what strict does not forgive.
func decide(f seen, versions []history.Version, st history.State, now time.Time, strict bool) (decision, error) {
	good := goodVersions(versions)
	if len(good) == 0 {
		if f.err != nil {
			return decision{}, fmt.Errorf("nothing to run: %w, and no earlier version is kept", f.err)
		}
		return decision{file: true, state: InSync}, nil
	}
	newest := good[0]
	d := decision{version: newest.Number}
	switch bad := condemned(versions, f.hash); {
	case f.err != nil:
		d.state = Rejected
		if f.hash == "" {
			d.state = Missing
		}
		d.loud = fmt.Sprintf("%s cannot be used: version %d runs, the newest good one", f.path, newest.Number)
		if st.Pinned {
			d.pin = st // nobody lifted it: it outlives a broken edit
		}
		if strict {
			return decision{}, fmt.Errorf("strict: %w", f.err)
		}
	case f.hash == newest.Hash:
		d.state = InSync
	case st.Pinned && f.hash == st.FileHash:
		d.state, d.pin = Ignored, st
		d.loud = fmt.Sprintf("%s is ignored until it is edited again or unpinned: %s", f.path, st.Reason)
	case bad != 0:
		reason := fmt.Sprintf("the file has the bytes of version %d, which was rolled back", bad)
		d.state = Ignored
		d.pin = history.State{Pinned: true, FileHash: f.hash, Reason: reason}
		d.loud = fmt.Sprintf("%s is ignored until it is edited again or unpinned: %s", f.path, reason)
		if strict {
			return decision{}, fmt.Errorf("strict: %s: %s", f.path, reason)
		}
	case now.Before(st.Freeze.Until):
		d.state = Held
		d.loud = fmt.Sprintf("%s is held: %v; weir thaw ends that", f.path, Frozen(st.Freeze))
	default:
		return decision{file: true, state: InSync}, nil
	}
	return d, nil
}

// goodVersions are those that may run without anybody asking for them, newest first.
func goodVersions(versions []history.Version) []history.Version {
	var good []history.Version
	for _, v := range slices.Backward(versions) {
		if v.Verdict == history.Applied {
			good = append(good, v)
		}
	}
	return good
}

// condemned returns the number of the version that rolled these bytes back, if
// the last word on them was that; else 0.
func condemned(versions []history.Version, hash string) int { return history.Undone(versions, hash) }

// rollbackTarget chooses where a rollback from running leads. to 0 means the
// version before: the newest older one with other bytes that was not itself
// rolled back. If running is a rollback, "before" counts from the version that
// it repeats, so that a second rollback goes further back and not forth again.
func rollbackTarget(versions []history.Version, running history.Version, to int) (history.Version, error) {
	if to != 0 {
		return namedTarget(versions, running, to)
	}
	if v, ok := history.Before(versions, running); ok {
		return v, nil
	}
	return history.Version{}, fmt.Errorf("%w: no earlier configuration than that of version %d is kept; %s",
		ErrNoTarget, running.Number, kept(versions))
}

func namedTarget(versions []history.Version, running history.Version, to int) (history.Version, error) {
	i := slices.IndexFunc(versions, func(v history.Version) bool { return v.Number == to })
	switch {
	case i < 0:
		return history.Version{}, fmt.Errorf("version %d: %w; %s", to, history.ErrNotFound, kept(versions))
	case to == running.Number:
		return history.Version{}, fmt.Errorf("%w: version %d is running", ErrNoTarget, to)
	case versions[i].Hash == running.Hash:
		return history.Version{}, fmt.Errorf("%w: version %d is the same, byte for byte, as version %d, which is running",
			ErrNoTarget, to, running.Number)
	}
	return versions[i], nil
}

// kept names the versions there are: "versions 3, 5 to 9 are kept".
func kept(versions []history.Version) string {
	var parts []string
	for i := 0; i < len(versions); {
		j := i
		for j+1 < len(versions) && versions[j+1].Number == versions[j].Number+1 {
			j++
		}
		first, last := versions[i].Number, versions[j].Number
		switch {
		case first == last:
			parts = append(parts, fmt.Sprint(first))
		case last == first+1:
			parts = append(parts, fmt.Sprint(first), fmt.Sprint(last))
		default:
			parts = append(parts, fmt.Sprintf("%d to %d", first, last))
		}
		i = j + 1
	}
	switch {
	case len(versions) == 0:
		return "no version is kept"
	case len(versions) == 1:
		return "version " + parts[0] + " is kept"
	}
	return "versions " + strings.Join(parts, ", ") + " are kept"
}
