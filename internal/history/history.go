// Package history keeps every configuration that was accepted: numbered, byte
// for byte, as files that a person can read.
//
//	000012.yaml   the configuration as it was accepted
//	000012.json   when, from where, by whom; written last, it makes 12 exist
//	state.json    which version runs, and whether the file on disk is ignored
//	sticky.key    or what else Keep and KeepOnce keep: overrides.json, weir.yaml
//	lock          held by the process that writes here
//
// The package knows nothing of what the bytes mean. A crash or a full disk at
// any moment leaves a directory that Open can use: every file appears through a
// rename, and what was promised to a caller is on the disk before it returns.
package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Verdicts on a version.
const (
	Applied    = "applied"     // it was accepted and committed
	RolledBack = "rolled_back" // it was accepted, and then undone
	Held       = "held"        // it was right, and came while changes were not applied
	Staged     = "staged"      // it is tried by some of the clients, and does not run yet
)

var verdicts = []string{Applied, RolledBack, Held, Staged}

// ErrNotFound is returned for a version that is not, or no longer, kept.
var ErrNotFound = errors.New("no such version")

// Version describes one accepted configuration. Number, Hash, Time and Size are
// assigned by Append; the rest is the caller's.
type Version struct {
	Number     int       `json:"number"`
	Hash       string    `json:"hash"` // SHA-256 of the source, hex
	Time       time.Time `json:"time"`
	Origin     string    `json:"origin"` // start, file, api, signal, rollback
	Author     string    `json:"author,omitempty"`
	Verdict    string    `json:"verdict"`
	Tried      bool      `json:"tried,omitempty"`       // some of the clients had it, and it was dropped
	RollbackOf int       `json:"rollback_of,omitempty"` // it has the bytes of that version
	Note       string    `json:"note,omitempty"`
	Guard      *Guard    `json:"guard,omitempty"` // what became of traffic; nil: nobody has said
	Size       int       `json:"size"`            // bytes of source
}

// Freeze is a time in which changes are not applied.
type Freeze struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"` // zero: there is none
	By    string    `json:"by,omitempty"`
	Why   string    `json:"why,omitempty"`
}

// Guard is what a version did to the routes that it touched. Stored as it is: the
// package does not know what the numbers mean.
type Guard struct {
	Verdict string       `json:"verdict"`
	Why     string       `json:"why,omitempty"`
	At      time.Time    `json:"at"`
	Routes  []RouteGuard `json:"routes"`
}

// RouteGuard is one route before and after a change.
type RouteGuard struct {
	Route   string  `json:"route"` // listener/route
	Verdict string  `json:"verdict"`
	Before  Measure `json:"before"`
	After   Measure `json:"after"`
}

// Measure is what a route answered in some time.
type Measure struct {
	Requests   int     `json:"requests"`
	ErrorShare float64 `json:"error_share"` // percent
	P99        float64 `json:"p99"`         // seconds to the begin of an answer
}

// State is what has to survive a restart besides the versions themselves.
type State struct {
	Running  int       `json:"running"` // number of the version that runs; 0: none yet
	Pinned   bool      `json:"pinned"`
	FileHash string    `json:"file_hash,omitempty"` // bytes on disk that the pin ignores
	Since    time.Time `json:"since,omitzero"`      // of the pin
	Reason   string    `json:"reason,omitempty"`    // of the pin

	Unconfirmed int       `json:"unconfirmed,omitempty"` // number of the version that is undone unless it is confirmed; 0: none
	ConfirmBy   time.Time `json:"confirm_by,omitzero"`

	Freeze Freeze `json:"freeze,omitzero"`
}

// Store is one history directory, locked for this process. Its methods may be
// called from any goroutine; changes happen one after another.
type Store struct {
	dir  string
	lock *os.File // nil: another process may have the directory; guarded by writing
	disk disk

	writing sync.Mutex // taken by whoever changes files, before mu

	mu       sync.RWMutex // what readers see; never held across disk access
	keep     int
	maxAge   time.Duration
	next     int
	versions []Version // oldest first
	state    State
	damaged  []error
	wrecks   []int         // numbers of damaged versions, whose files await pruning
	why      map[int]error // what is wrong with each
}

// Open opens dir, creating it if need be, and removes what a crash left behind.
// It fails if another process has it open. A damaged version is left out and
// reported by Damaged. keep is how many versions Append retains; less than 1
// counts as 1.
func Open(dir string, keep int) (*Store, error) {
	return open(dir, keep, realDisk())
}

func open(dir string, keep int, d disk) (*Store, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	s := &Store{dir: dir, lock: lock, disk: d, keep: max(keep, 1), why: make(map[int]error)}
	if err := s.load(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("history: %w", err)
	}
	return s, nil
}

// Close releases the directory. The Store must not be used afterwards.
func (s *Store) Close() error {
	if err := s.Release(); !errors.Is(err, ErrReleased) {
		return err
	}
	return nil
}

// Dir is the directory that Open was given.
func (s *Store) Dir() string { return s.dir }

// List returns the versions that are kept, oldest first. The slice is the
// caller's.
func (s *Store) List() []Version {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.versions)
}

// Get returns version n and its source, verified against its hash. The error is
// ErrNotFound if n is not kept.
func (s *Store) Get(n int) (Version, []byte, error) {
	s.mu.RLock()
	i, ok := s.find(n)
	if !ok {
		s.mu.RUnlock()
		return Version{}, nil, fmt.Errorf("version %d: %w", n, ErrNotFound)
	}
	v := s.versions[i]
	s.mu.RUnlock()
	source, err := readSource(s.dir, v)
	if errors.Is(err, os.ErrNotExist) {
		if _, still := s.findLocked(n); !still { // pruned in between
			err = ErrNotFound
		}
	}
	if err != nil {
		return Version{}, nil, fmt.Errorf("version %d: %w", n, err)
	}
	return v, source, nil
}

// find returns the index of version n. The caller holds mu.
func (s *Store) find(n int) (int, bool) {
	return slices.BinarySearchFunc(s.versions, n, func(v Version, n int) int { return v.Number - n })
}

func (s *Store) findLocked(n int) (int, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.find(n)
}

// State returns what SetState stored last, in this process or an earlier one.
func (s *Store) State() State {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state
}

// SetState stores st durably. After an error the old state is still in force.
func (s *Store) SetState(st State) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.lock == nil {
		return ErrReleased
	}
	st.Since, st.ConfirmBy = st.Since.UTC(), st.ConfirmBy.UTC()
	data, err := encode(st)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if _, err := s.disk.put(filepath.Join(s.dir, stateName), data); err != nil {
		return fmt.Errorf("history: record state: %w", err)
	}
	s.mu.Lock()
	s.state = st
	s.mu.Unlock()
	return nil
}

// Damaged reports what Open found unreadable: one error for each version or
// file, naming it and what is wrong with it.
func (s *Store) Damaged() []error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.damaged)
}
