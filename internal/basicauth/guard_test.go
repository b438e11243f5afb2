package basicauth

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// rig is a Guard of a file, a clock, and all that was reported.
type rig struct {
	*testing.T
	g        *Guard
	path     string
	now      time.Time
	mtime    time.Time
	reported []string
	hashed   atomic.Int32
}

func newRig(t *testing.T, content string) *rig {
	r := &rig{T: t, path: filepath.Join(t.TempDir(), "users"), mtime: time.Now().Add(-time.Hour)}
	r.write(content)
	g, err := New(r.path, func(err error) { r.reported = append(r.reported, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	compare := g.compare
	g.compare = func(hash, password []byte) error {
		r.hashed.Add(1)
		return compare(hash, password)
	}
	r.g, r.now = g, g.start
	return r
}

// write changes the file, and its time for sure.
func (r *rig) write(content string) {
	r.Helper()
	write(r, r.path, content)
	r.mtime = r.mtime.Add(time.Second)
	if err := os.Chtimes(r.path, r.mtime, r.mtime); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) verify(plain string, want Result) {
	r.Helper()
	if got := r.g.Verify(basic(plain), r.now); got != want {
		r.Errorf("Verify of %q: %+v, want %+v", plain, got, want)
	}
}

// cached wants "allowed", "refused" or "unknown".
func (r *rig) cached(plain, want string) {
	r.Helper()
	allowed, known := r.g.Cached(basic(plain), r.now)
	got := "refused"
	switch {
	case !known:
		got = "unknown"
	case allowed:
		got = "allowed"
	}
	if got != want {
		r.Errorf("Cached of %q: %s, want %s", plain, got, want)
	}
}

func (r *rig) wantReported(n int, last string) {
	r.Helper()
	if len(r.reported) != n || n > 0 && !strings.Contains(r.reported[n-1], last) {
		r.Errorf("reported %q, want %d, the last about %q", r.reported, n, last)
	}
}

func (r *rig) wantHashed(n int32) {
	r.Helper()
	if got := r.hashed.Swap(0); got != n {
		r.Errorf("%d hashes, want %d", got, n)
	}
}

func TestGoodAndBad(t *testing.T) {
	r := newRig(t, "alice:"+hashOf(t, "open sesame")+"\nbob:"+hashOf(t, ""))
	r.cached("alice:open sesame", "unknown")
	r.verify("alice:open sesame", Result{Allowed, "alice"})
	r.cached("alice:open sesame", "allowed")
	r.verify("alice:open sesame", Result{Allowed, "alice"})
	r.wantHashed(1)

	// an empty password is one
	r.verify("bob:", Result{Allowed, "bob"})
	r.wantHashed(1)

	// who is unknown costs a hash as well
	for _, wrong := range []string{"alice:open sesam", "alice:", "Alice:open sesame", "eve:open sesame", "bob:open sesame"} {
		r.cached(wrong, "unknown")
		r.verify(wrong, Result{})
		r.wantHashed(1)
	}
	// and bcrypt must not look at half of a password
	r.verify("alice:open sesame"+strings.Repeat("x", 72), Result{})
	r.cached("alice:open sesame"+strings.Repeat("x", 72), "refused")
	r.wantHashed(0)

	for _, malformed := range []string{"", "Basic", "Basic !", "Bearer x", "Digest username=alice"} {
		if allowed, known := r.g.Cached([]byte(malformed), r.now); !known || allowed {
			t.Errorf("Cached of %q: %v, %v", malformed, allowed, known)
		}
		if got := r.g.Verify([]byte(malformed), r.now); got != (Result{}) {
			t.Errorf("Verify of %q: %+v", malformed, got)
		}
	}
	r.wantHashed(0)
}

func TestHowLongIsKnown(t *testing.T) {
	r := newRig(t, "alice:"+hashOf(t, "a"))
	pass := func(d time.Duration) {
		r.now = r.now.Add(d)
		r.g.look.Store(1 << 62) // this is not about the file
	}
	pass(0)
	r.verify("alice:a", Result{Allowed, "alice"})
	r.verify("alice:b", Result{})
	r.wantHashed(2)
	pass(keepRefused - 1)
	r.cached("alice:b", "refused")
	r.verify("alice:b", Result{})
	r.wantHashed(0)

	// being asked again does not make a wrong one known for longer than it was asked for
	pass(keepAllowed - keepRefused)
	r.cached("alice:b", "unknown")

	// the right one is known while it is in use
	for range 10 {
		r.cached("alice:a", "allowed")
		pass(keepAllowed - 1)
	}
	r.cached("alice:a", "allowed")
	pass(keepAllowed)
	r.cached("alice:a", "unknown")
	r.wantHashed(0)
}

func TestFileChanges(t *testing.T) {
	a, b, c := hashOf(t, "a"), hashOf(t, "b"), hashOf(t, "c")
	r := newRig(t, "alice:"+a+"\nbob:"+b)
	r.verify("alice:a", Result{Allowed, "alice"})
	r.verify("bob:b", Result{Allowed, "bob"})
	r.verify("carol:c", Result{})

	// not looked at yet
	r.write("alice:" + c + "\ncarol:" + c)
	r.cached("alice:a", "allowed")

	// one caller of Cached sends somebody to look; the others are still answered
	r.now = r.now.Add(lookEvery)
	r.cached("bob:b", "unknown")
	r.cached("bob:b", "allowed")
	r.verify("bob:b", Result{})
	r.cached("alice:a", "unknown")
	r.verify("alice:a", Result{})
	r.verify("alice:c", Result{Allowed, "alice"})

	// who was refused for being unknown is known at once
	r.verify("carol:c", Result{Allowed, "carol"})

	// what did not change stays cached
	r.hashed.Store(0)
	r.write("bob:" + b + "\nalice:" + c)
	r.now = r.now.Add(lookEvery)
	r.verify("alice:c", Result{Allowed, "alice"})
	r.cached("carol:c", "unknown")
	r.wantHashed(0)
	r.wantReported(0, "")
}

func TestBrokenFile(t *testing.T) {
	a := hashOf(t, "a")
	r := newRig(t, "alice:"+a)
	look := func(want Result) {
		r.Helper()
		r.now = r.now.Add(lookEvery)
		r.verify("alice:a", want)
	}
	alice := Result{Allowed, "alice"}
	r.write("alice:" + a + "\nalice:secret")
	for range 3 {
		look(alice)
		r.wantReported(1, "users:2: the hash of \"alice\" is not bcrypt; make it with htpasswd -B; the users of before stay")
	}
	// broken in another way
	r.write("")
	look(alice)
	r.wantReported(2, "no users")

	// gone, and gone still
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	look(alice)
	look(alice)
	r.wantReported(3, "no such file")

	// right again, then broken as before: that is news
	r.write("alice:" + a)
	look(alice)
	r.write("")
	look(alice)
	r.wantReported(4, "no users")
	r.write("bob:" + a)
	look(Result{})
	r.verify("bob:a", Result{Allowed, "bob"})
}

// A file that was written in this very second may be written again without its
// time telling.
func TestSameTime(t *testing.T) {
	a, b := hashOf(t, "a"), hashOf(t, "b")
	path := filepath.Join(t.TempDir(), "users")
	at := time.Now()
	put := func(hash string) {
		write(t, path, "alice:"+hash)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	put(a)
	g, err := New(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	put(b)
	if got := g.Verify(basic("alice:b"), g.start.Add(lookEvery)); got.Verdict != Allowed {
		t.Errorf("%+v, want the new password to be right", got)
	}
}

func TestRefresh(t *testing.T) {
	r := newRig(t, "alice:"+hashOf(t, "a"))
	r.verify("alice:a", Result{Allowed, "alice"})
	r.write("bob:" + hashOf(t, "b"))
	r.g.Refresh() // too soon
	r.cached("alice:a", "allowed")
	r.g.look.Store(0)
	r.g.Refresh()
	r.cached("alice:a", "unknown")
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// slow makes hashing wait until release is called, and the password be right.
func (r *rig) slow() (started chan struct{}, release func()) {
	started, gate := make(chan struct{}, 10_000), make(chan struct{})
	r.g.compare = func(_, password []byte) error {
		r.hashed.Add(1)
		started <- struct{}{}
		<-gate
		if string(password) == "a" {
			return nil
		}
		return bcrypt.ErrMismatchedHashAndPassword
	}
	return started, func() { close(gate) }
}

// A flood of wrong passwords: some are hashed, some wait, the others are sent away.
func TestBusy(t *testing.T) {
	r := newRig(t, "alice:"+hashOf(t, "a"))
	started, release := r.slow()
	lanes := cap(r.g.line.lanes)
	if lanes != max(1, runtime.GOMAXPROCS(0)/2) {
		t.Errorf("%d lanes", lanes)
	}
	const more = 50
	results := make(chan Result, lanes+maxLine+more)
	var wg sync.WaitGroup
	for i := range lanes + maxLine + more {
		wg.Go(func() { results <- r.g.Verify(basic("alice:"+strconv.Itoa(i)), r.now) })
	}
	for range more {
		if got := <-results; got.Verdict != Busy || got.User != "" {
			t.Errorf("%+v, want Busy", got)
		}
	}
	// what is known is answered all the same
	if allowed, known := r.g.Cached([]byte("nonsense"), r.now); allowed || !known {
		t.Error("Cached does not answer")
	}
	for range lanes {
		<-started
	}
	r.wantHashed(int32(lanes))
	release()
	wg.Wait()
	close(results)
	for got := range results {
		if got != (Result{}) {
			t.Errorf("%+v, want Refused", got)
		}
	}
	r.verify("alice:a", Result{Allowed, "alice"})
}

// Many connections of one client: one hash, and nobody is sent away.
func TestSameCredentialsHashedOnce(t *testing.T) {
	r := newRig(t, "alice:"+hashOf(t, "a"))
	started, release := r.slow()
	var wg sync.WaitGroup
	var allowed atomic.Int32
	for range 500 {
		wg.Go(func() {
			if r.g.Verify(basic("alice:a"), r.now) == (Result{Allowed, "alice"}) {
				allowed.Add(1)
			}
		})
	}
	<-started
	for l, waiting := r.g.line, 0; waiting < 499; runtime.Gosched() { // who comes later is hashed again
		l.mu.Lock()
		waiting = l.followers
		l.mu.Unlock()
	}
	release()
	wg.Wait()
	if allowed.Load() != 500 {
		t.Errorf("%d were allowed, want 500", allowed.Load())
	}
	r.wantHashed(1)
	if len(r.g.line.checks) != 0 || r.g.line.followers != 0 {
		t.Errorf("%d checks and %d followers are left", len(r.g.line.checks), r.g.line.followers)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(64, time.Minute)
	digestOf := func(i int) *digest { return &digest{byte(i), byte(i >> 8), 2: 1} }
	for i := range 10_000 {
		c.add(digestOf(i), time.Duration(i))
	}
	var have []int
	for i := range 10_000 {
		if c.has(digestOf(i), 10_000) {
			have = append(have, i)
		}
	}
	if len(have) != 64 || have[0] != 10_000-64 {
		t.Errorf("%d are remembered, from %d on; want the last 64", len(have), have[0])
	}
	if !slices.IsSorted(have) || c.has(digestOf(9_999), time.Hour) {
		t.Error("remembered for ever")
	}
	// the same one again takes no more room
	for range 10 {
		c.add(digestOf(9_999), time.Hour)
	}
	if !c.has(digestOf(9_999-16), 10_000) || !c.has(digestOf(9_999), time.Hour) {
		t.Error("one that was added again drove out others")
	}
}

// Everything at once, for the race detector.
func TestConcurrently(t *testing.T) {
	a, b := hashOf(t, "a"), hashOf(t, "b")
	r := newRig(t, "alice:"+a)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			now := r.now
			for n := range 40 {
				now = now.Add(lookEvery / 3)
				header := basic("alice:" + string(rune('a'+(i+n)%2)))
				if _, known := r.g.Cached(header, now); !known {
					r.g.Verify(header, now)
				}
				if i == 0 && n%10 == 0 {
					r.write("alice:" + []string{a, b}[n/10%2])
				}
			}
		})
	}
	wg.Wait()
}

func TestAllocCached(t *testing.T) {
	r := newRig(t, "alice:"+hashOf(t, "a"))
	good, wrong := basic("alice:a"), basic("alice:wrong")
	r.verify("alice:a", Result{Allowed, "alice"})
	unknown, malformed := basic("eve:a"), []byte("Basic nonsense")
	n := testing.AllocsPerRun(1000, func() {
		for _, header := range [][]byte{good, wrong, unknown, malformed} {
			r.g.Cached(header, r.now)
		}
	})
	if n != 0 {
		t.Errorf("Cached allocates %v times, want 0", n)
	}
}

func BenchmarkCached(b *testing.B) {
	path := filepath.Join(b.TempDir(), "users")
	write(b, path, "alice:"+hashOf(b, "open sesame"))
	g, err := New(path, func(err error) { b.Error(err) })
	if err != nil {
		b.Fatal(err)
	}
	header, now := basic("alice:open sesame"), g.start
	g.Verify(header, now)
	b.ReportAllocs()
	for b.Loop() {
		if allowed, _ := g.Cached(header, now); !allowed {
			b.Fatal("not known")
		}
	}
}
