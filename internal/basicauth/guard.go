// Package basicauth checks names and passwords of HTTP Basic authentication (RFC
// 7617) against a file of bcrypt hashes.
//
// A bcrypt hash is slow on purpose, tens to hundreds of milliseconds. So there are
// two questions: Cached answers from memory at once, for credentials that were
// checked lately; Verify hashes, on a goroutine that may take its time.
//
// It does not know requests, routes or challenges: it is given the value of an
// Authorization field.
package basicauth

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	lookEvery = 2 * time.Second // how often the file is looked at, at most

	keepAllowed = 5 * time.Minute // after the last use
	maxAllowed  = 4096            // credentials

	// Wrong ones are remembered briefly: a script with last year's password sends
	// the same one again and again, and would hold the lanes that others wait for.
	// They have a cache of their own, or a guesser could fill that of the others.
	keepRefused = 5 * time.Second
	maxRefused  = 256
)

// Verdict is what to do with a request.
type Verdict uint8

// Refused is the zero value, so that what was forgotten is not let in.
const (
	Refused Verdict = iota // wrong, unknown or malformed: 401
	Allowed
	Busy // too many checks are waiting; nothing is known: 503
)

// Result is the answer about one request.
type Result struct {
	Verdict Verdict
	User    string // who it is; only if Allowed
}

// Guard checks credentials against one file, and notices when the file changes.
// It is meant to outlive configurations: what was checked stays known. It starts
// no goroutine and needs no closing. All methods may be called from anywhere.
//
// Memory: the file's users, and at most 4,352 digests of 32 bytes.
type Guard struct {
	path    string
	report  func(error)
	start   time.Time // the Guard's clock counts from here
	key     [32]byte  // of digests; random, so they mean nothing elsewhere
	compare func(hash, password []byte) error

	users   atomic.Pointer[Users] // replaced under mu
	look    atomic.Int64          // when the file is next to be looked at: ns of the Guard's clock
	overdue atomic.Bool           // Cached found that it is: the next Verify looks
	allowed *cache
	refused *cache
	line    *line

	mu        sync.Mutex  // whoever reads the file; never taken by Cached
	seen      os.FileInfo // of the file as it was last read
	settled   bool        // it was last changed long enough before it was read
	complaint string      // what was last reported; empty if all is well
}

// New loads the users of the file at path. What is wrong with the file later on is
// told to report, once for each change; the users stay as they were until it
// is right again. report is called from Verify and Refresh, and must not call the
// Guard.
func New(path string, report func(error)) (*Guard, error) {
	users, info, err := load(path)
	if err != nil {
		return nil, err
	}
	g := &Guard{
		path: path, report: report, start: time.Now(), compare: bcrypt.CompareHashAndPassword,
		allowed: newCache(maxAllowed, keepAllowed), refused: newCache(maxRefused, keepRefused),
		line: newLine(max(1, runtime.GOMAXPROCS(0)/2)),
		seen: info, settled: settled(info),
	}
	rand.Read(g.key[:]) // never fails
	g.users.Store(users)
	g.look.Store(int64(lookEvery))
	return g, nil
}

// Cached answers without hashing, if it can: known says whether it could, and
// if not, Verify has to be asked. It can for credentials that were in use in the
// last five minutes, for wrong ones of the last seconds, and for what is no
// proper Basic authentication at all, which is not allowed. It does not lock, wait
// or allocate, and keeps nothing of header, the value of the Authorization field.
//
// Every two seconds it answers one of the callers that it does not know, so that
// Verify looks at the file: somebody who was removed there is out by then.
func (g *Guard) Cached(header []byte, now time.Time) (allowed, known bool) {
	var c credentials
	if !c.parse(header) {
		return false, true
	}
	at := now.Sub(g.start)
	if g.due(at) {
		g.overdue.Store(true)
		return false, false
	}
	d := g.digest(g.users.Load().find(c.name()), &c)
	return g.recall(&d, at)
}

func (g *Guard) recall(d *digest, now time.Duration) (allowed, known bool) {
	if g.allowed.has(d, now) {
		return true, true
	}
	return false, g.refused.has(d, now)
}

// Verify answers like Cached, and where that could not, hashes. It takes as long
// as a hash takes, and longer if others wait; it must not be called on an event
// loop. When more than 128 wait it is Busy at once, so that a flood of wrong
// passwords can neither take all processors nor pile up. It looks at the file
// first if the last time is two seconds ago.
//
// An unknown name takes as long as a known one. In a file whose hashes are not all
// of one cost it takes as long as the costliest.
func (g *Guard) Verify(header []byte, now time.Time) Result {
	at := now.Sub(g.start)
	if g.due(at) || g.overdue.Swap(false) {
		g.refresh()
	}
	var c credentials
	if !c.parse(header) {
		return Result{}
	}
	u := g.users.Load().find(c.name())
	d := g.digest(u, &c)
	allowed, known := g.recall(&d, at)
	if !known {
		var busy bool
		if allowed, busy = g.line.do(d, func() bool { return g.hash(u, &c, &d, at) }); busy {
			return Result{Verdict: Busy}
		}
	}
	if !allowed {
		return Result{}
	}
	return Result{Allowed, u.name}
}

// hash finds out what no cache knows, and has it remembered.
func (g *Guard) hash(u *user, c *credentials, d *digest, now time.Duration) bool {
	// Nobody's hash is of no password that anybody knows; and yet.
	ok := g.compare(u.hash, c.pass()) == nil && u.name != ""
	if ok {
		g.allowed.add(d, now)
	} else {
		g.refused.add(d, now)
	}
	return ok
}

// digest is SHA-256 with a secret key before the text. That such a digest can be
// extended matters only where digests are shown.
func (g *Guard) digest(u *user, c *credentials) digest {
	var text [len(g.key) + hashLen + len(c.plain)]byte
	n := copy(text[:], g.key[:])
	n += copy(text[n:], u.hash)
	n += copy(text[n:], c.plain[:c.n])
	return sha256.Sum256(text[:n])
}

// due reports to one of its callers, every two seconds, that it is time to look at
// the file.
func (g *Guard) due(at time.Duration) bool {
	next := g.look.Load()
	return int64(at) >= next && g.look.CompareAndSwap(next, int64(at+lookEvery))
}

// Refresh looks at the file if the last time is two seconds ago, and reads it if
// its time, size or identity changed: so a user who was removed, or whose password
// changed, is let in no longer, although nobody calls Verify. It waits for the
// disk, so its caller is no event loop, and calls it now and then.
func (g *Guard) Refresh() {
	if g.due(time.Since(g.start)) {
		g.refresh()
	}
}

func (g *Guard) refresh() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.reload(); err == nil {
		g.complaint = ""
	} else if err.Error() != g.complaint {
		g.complaint = err.Error()
		g.report(fmt.Errorf("%w; the users of before stay", err))
	}
}

// reload reads the file if it changed. Its caller holds mu.
func (g *Guard) reload() error {
	info, err := os.Stat(g.path)
	if err != nil {
		return err
	}
	if g.settled && os.SameFile(info, g.seen) && info.Size() == g.seen.Size() && info.ModTime().Equal(g.seen.ModTime()) {
		return nil
	}
	users, info, err := load(g.path)
	if info != nil {
		g.seen, g.settled = info, settled(info)
	}
	if err != nil {
		return err
	}
	g.users.Store(users)
	return nil
}

// settled reports whether a later change would show in the file's time. Some file
// systems tell whole seconds: one that was changed in this very second is read
// again, for a new password has a hash of the same length.
func settled(info os.FileInfo) bool {
	age := time.Since(info.ModTime())
	return age > 3*time.Second || age < -3*time.Second // from a clock that is wrong
}
