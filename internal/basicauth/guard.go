package basicauth

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	rememberFor = 5 * time.Minute // how long a verified password is known
	maxKnown    = 4096            // verified passwords that are known at once
	lookEvery   = 2 * time.Second // how often the file is looked at, while somebody asks
	maxWaiting  = 128             // for their turn to be hashed
)

// Verdict is what is known of somebody's credentials.
type Verdict uint8

// The verdicts.
const (
	Refused Verdict = iota // no name and password, or not the right ones
	Allowed
	Busy // too many wait to be hashed: nothing is known
)

// Result is a verdict, and whom it is about.
type Result struct {
	Verdict Verdict
	User    string // of Allowed
}

// Guard lets in who is in a file. It outlives configurations, and notices when
// the file changes: who was taken out of it is out within lookEvery.
//
// Wrong passwords are not remembered: each costs a hash, of which only a few are
// made at once, and a list of them could be filled by anybody.
type Guard struct {
	path   string
	report func(error)
	secret [32]byte      // keeps what is in memory from being guessed at
	slots  chan struct{} // for those who hash

	state   atomic.Pointer[state] // replaced under mu
	looked  atomic.Int64          // when the file was looked at, ns
	waiting atomic.Int32

	mu   sync.Mutex // whoever replaces state
	file os.FileInfo
	bad  string // what was wrong with the file when it was last looked at
}

// state is the users, and the credentials of theirs that have been verified.
// It does not change.
type state struct {
	users *Users
	known map[[32]byte]proof
}

// proof is that credentials were verified against a hash.
type proof struct {
	user, hash string
	until      time.Time
}

// New reads the file. report is told, from any goroutine, of a file that has
// become unreadable or wrong later: then the users of before stay in force.
func New(path string, report func(error)) (*Guard, error) {
	g := &Guard{path: path, report: report, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	if _, err := rand.Read(g.secret[:]); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	users, err := Load(path)
	if err != nil {
		return nil, err
	}
	g.file = info
	g.state.Store(&state{users: users})
	return g, nil
}

// Cached answers from memory whether the credentials in an Authorization value
// are those of a user. It does not allocate, wait or hash. Where it does not
// know, Verify does; it says so now and then of what it knows, too, so that the
// file is looked at.
func (g *Guard) Cached(header []byte, now time.Time) (allowed, known bool) {
	if last := g.looked.Load(); now.UnixNano()-last > int64(lookEvery) && g.looked.CompareAndSwap(last, now.UnixNano()) {
		return false, false
	}
	_, ok := g.recall(header, now)
	return ok, ok
}

func (g *Guard) recall(header []byte, now time.Time) (user string, ok bool) {
	if len(header) > maxHeader {
		return "", false
	}
	s := g.state.Load()
	p, ok := s.known[g.digest(header)]
	if !ok || !now.Before(p.until) || s.users.hashes[p.user] != p.hash {
		return "", false
	}
	return p.user, true
}

// digest stands for credentials that must not be kept in clear.
func (g *Guard) digest(header []byte) [32]byte {
	var room [len(g.secret) + maxHeader]byte
	b := append(append(room[:0], g.secret[:]...), header...)
	return sha256.Sum256(b)
}

// Verify hashes, which takes some 50 ms of a processor, and may wait for its
// turn: its caller is no event loop.
func (g *Guard) Verify(header []byte, now time.Time) Result {
	g.Refresh()
	if user, ok := g.recall(header, now); ok {
		return Result{Allowed, user}
	}
	name, password, ok := credentials(header)
	if !ok {
		return Result{}
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > maxWaiting {
		return Result{Verdict: Busy}
	}
	g.slots <- struct{}{}
	defer func() { <-g.slots }()
	// A page asks for twenty things at once: one of them is hashed.
	if user, ok := g.recall(header, now); ok {
		return Result{Allowed, user}
	}
	users := g.state.Load().users
	if !users.verify(name, password) {
		return Result{}
	}
	g.remember(header, proof{name, users.hashes[name], now.Add(rememberFor)}, now)
	return Result{Allowed, name}
}

// remember keeps a proof, in place of some other where there are too many.
func (g *Guard) remember(header []byte, p proof, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.state.Load()
	next := &state{users: old.users, known: make(map[[32]byte]proof, len(old.known)+1)}
	for key, p := range old.known {
		if now.Before(p.until) && len(next.known) < maxKnown-1 {
			next.known[key] = p
		}
	}
	next.known[g.digest(header)] = p
	g.state.Store(next)
}

// Refresh reads the file if it is another than it was. It reads from disk: its
// caller is no event loop.
func (g *Guard) Refresh() {
	g.mu.Lock()
	defer g.mu.Unlock()
	info, err := os.Stat(g.path)
	if err == nil && os.SameFile(info, g.file) && info.ModTime().Equal(g.file.ModTime()) && info.Size() == g.file.Size() {
		g.bad = ""
		return
	}
	var users *Users
	if err == nil {
		users, err = Load(g.path)
	}
	if err != nil {
		g.complain(err)
		return
	}
	g.file, g.bad = info, ""
	// What was verified against a hash that is still there stays known: recall
	// compares the two.
	g.state.Store(&state{users: users, known: g.state.Load().known})
}

// complain tells of each problem once.
func (g *Guard) complain(err error) {
	if text := err.Error(); text != g.bad {
		g.bad = text
		g.report(errors.Join(errStale, err))
	}
}

var errStale = errors.New("the file of users cannot be used; those of before stay in force")
