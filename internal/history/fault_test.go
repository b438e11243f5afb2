package history

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faults is a disk whose n-th step fails. After a crash every later step fails
// too; otherwise the disk works again.
type faults struct {
	step, fail int
	crash      bool
	short      bool // a write that fails leaves half of its bytes
	err        error
}

func (x *faults) next() error {
	x.step++
	if x.step == x.fail || x.crash && x.fail > 0 && x.step > x.fail {
		return x.err
	}
	return nil
}

func (x *faults) disk() disk {
	real := realDisk()
	return disk{
		create: func(dir string) (*os.File, error) {
			if err := x.next(); err != nil {
				return nil, err
			}
			return real.create(dir)
		},
		write: func(f *os.File, data []byte) error {
			if err := x.next(); err != nil {
				if x.short {
					real.write(f, data[:len(data)/2])
				}
				return err
			}
			return real.write(f, data)
		},
		sync: func(*os.File) error { return x.next() }, // the machine does not go down
		rename: func(from, to string) error {
			if err := x.next(); err != nil {
				return err
			}
			return real.rename(from, to)
		},
		remove: func(path string) error {
			if err := x.next(); err != nil {
				return err
			}
			return real.remove(path)
		},
		syncDir: func(string) error { return x.next() },
	}
}

// model is what a caller was told: versions that must exist, and those that
// may, because the crash came between the disk and the answer.
type model struct {
	must   map[int]string
	seen   map[int]bool    // numbers that anybody could have seen
	judged map[int]Version // what must be known of them
	states []State         // what may be the state: the last that was promised, and those that failed since
	kept   []string        // the same of what is kept as overrides.json; "" is nothing
}

// check reopens dir with a disk that works and compares it with the model.
func (m model) check(t *testing.T, what, dir string) {
	t.Helper()
	s, err := Open(dir, 100)
	if err != nil {
		t.Fatalf("%s: Open: %v", what, err)
	}
	defer s.Close()
	if d := s.Damaged(); len(d) != 0 {
		t.Errorf("%s: damaged: %v", what, d)
	}
	if !slices.Contains(m.states, s.State()) {
		t.Errorf("%s: state %+v, want one of %+v", what, s.State(), m.states)
	}
	if kept, err := s.Kept("overrides.json"); !slices.Contains(m.kept, string(kept)) {
		t.Errorf("%s: kept is %q, %v, want one of %q", what, kept, err, m.kept)
	}
	for n, want := range m.judged {
		if v, _, err := s.Get(n); err != nil || v.Verdict != want.Verdict || (v.Guard == nil) != (want.Guard == nil) {
			t.Errorf("%s: version %d is known as %+v, %v, want %+v", what, n, v, err, want)
		}
	}
	if right, wrong := s.Verify(); right < len(m.must) || len(wrong) > 0 {
		t.Errorf("%s: %d versions verified, %v", what, right, wrong)
	}
	for n, want := range m.must {
		if _, got, err := s.Get(n); err != nil || string(got) != want {
			t.Errorf("%s: version %d = %q, %v, want %q", what, n, got, err, want)
		}
	}
	v, err := s.Append(Version{}, []byte("after"))
	if err != nil {
		t.Fatalf("%s: Append after reopening: %v", what, err)
	}
	if m.seen[v.Number] {
		t.Errorf("%s: number %d is used again", what, v.Number)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, tempGlob)); len(left) != 0 {
		t.Errorf("%s: %v stayed", what, left)
	}
}

// TestEveryStepFails makes each single step of a series of changes fail, once
// as a full disk that has room again, once as a crash.
func TestEveryStepFails(t *testing.T) {
	for _, crash := range []bool{false, true} {
		for fail := 1; ; fail++ {
			what := fmt.Sprintf("step %d, crash %v", fail, crash)
			x := &faults{fail: fail, crash: crash, short: true, err: syscall.ENOSPC}
			dir := t.TempDir()
			m := series(t, what, dir, x)
			m.check(t, what, dir)
			if x.step < fail { // all steps have had their turn
				break
			}
		}
	}
}

// series appends three versions, sets the state, keeps something, marks and judges
// after each, and returns what it was promised.
func series(t *testing.T, what, dir string, x *faults) model {
	t.Helper()
	m := model{must: map[int]string{}, seen: map[int]bool{}, judged: map[int]Version{}, states: []State{{}}, kept: []string{""}}
	s, err := open(dir, 100, x.disk())
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer s.Close()
	var state State
	for i := range 3 {
		source := fmt.Sprintf("source %d", i)
		v, err := s.Append(Version{}, []byte(source))
		for _, v := range s.List() {
			m.seen[v.Number] = true
		}
		if err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s: the error hides its cause: %v", what, err)
			}
			continue
		}
		if _, dup := m.must[v.Number]; dup {
			t.Errorf("%s: number %d was given twice", what, v.Number)
		}
		m.must[v.Number] = source
		at := time.Date(2026, 1, 1, i, 0, 0, 0, time.UTC)
		st := State{
			Running: v.Number, Pinned: i == 1, Unconfirmed: v.Number, ConfirmBy: at,
			Freeze: Freeze{Since: at, Until: at.Add(time.Hour), By: "ada", Why: source},
		}
		if m.states = append(m.states, st); s.SetState(st) == nil {
			state, m.states = st, []State{st}
		}
		if s.State() != state {
			t.Errorf("%s: state %+v, want %+v", what, s.State(), state)
		}
		if m.kept = append(m.kept, source); s.Keep("overrides.json", []byte(source)) == nil {
			m.kept = []string{source}
		}
		marked, judged := s.Mark(v.Number, RolledBack, "note"), s.Judge(v.Number, Guard{Verdict: "bad"})
		got, _, _ := s.Get(v.Number)
		if marked == nil && got.Verdict != RolledBack || judged == nil && got.Guard == nil {
			t.Errorf("%s: the mark on %d is lost: %+v, %v, %v", what, v.Number, got, marked, judged)
		}
		if marked == nil && judged == nil { // of one that failed either may be on the disk
			m.judged[v.Number] = got
		}
	}
	if len(m.must) != len(s.List()) {
		t.Errorf("%s: %d versions were promised, %d are there", what, len(m.must), len(s.List()))
	}
	return m
}

// TestNumberThatWasVisible makes the very last step of an Append fail: the
// version had its name already, so its number must not come back.
func TestNumberThatWasVisible(t *testing.T) {
	x := &faults{err: syscall.EIO}
	dir := t.TempDir()
	s, err := open(dir, 10, x.disk())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x.fail = x.step + 10 // create, write, sync, rename, sync of the directory; twice
	if _, err := s.Append(Version{}, []byte("one")); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Append = %v, want the failure of the last step", err)
	}
	if _, _, err := s.Get(1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get(1) = %v, want ErrNotFound", err)
	}
	v, err := s.Append(Version{}, []byte("two"))
	if err != nil || v.Number != 2 {
		t.Errorf("Append = version %d, %v, want 2", v.Number, err)
	}
}

// TestPruneFails: what cannot be removed now is removed later, and an Append
// never fails for it.
func TestPruneFails(t *testing.T) {
	x := &faults{err: syscall.EIO}
	dir := t.TempDir()
	s, err := open(dir, 2, x.disk())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 3 {
		if i == 2 {
			x.fail = x.step + 11 // the removal that follows the ten steps
		}
		if _, err := s.Append(Version{}, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.List()) != 3 {
		t.Fatalf("%d versions, want the one that could not be removed too", len(s.List()))
	}
	if _, err := s.Append(Version{}, []byte("more")); err != nil || len(s.List()) != 2 {
		t.Errorf("%d versions, %v, want 2", len(s.List()), err)
	}
}

func TestParseName(t *testing.T) {
	f := func(name string, number int, ext string) {
		t.Helper()
		if n, e, _ := parseName(name); n != number || e != ext {
			t.Errorf("parseName(%q) = %d, %q, want %d, %q", name, n, e, number, ext)
		}
	}
	f("000012.yaml", 12, ".yaml")
	f("000012.json", 12, ".json")
	f("1234567.json", 1234567, ".json")
	f("state.json", 0, "")
	f("12.yaml", 0, "")
	f("000000.yaml", 0, "")
	f("-00012.yaml", 0, "")
	f("+00012.yaml", 0, "")
	f("99999999999.yaml", 0, "")
	f("000012.yml", 0, "")
}

func FuzzParseVersion(f *testing.F) {
	good, _ := encode(Version{Number: 3, Hash: Hash(nil), Verdict: Applied, Origin: "file", RollbackOf: 1})
	f.Add(3, good)
	f.Add(3, []byte(`{"number":3,"hash":"`+strings.Repeat("A", 64)+`","verdict":"applied"}`))
	f.Add(1, []byte(`{"number":1,"time":"2026-02-30T00:00:00Z"}`))
	f.Add(0, []byte("null"))
	judged, _ := encode(Version{Number: 2, Hash: Hash(nil), Verdict: Held, Guard: &Guard{Verdict: "bad", Routes: []RouteGuard{{Route: "a/b"}}}})
	f.Add(2, judged)
	f.Fuzz(func(t *testing.T, n int, data []byte) {
		v, err := parseVersion(n, data)
		if err != nil {
			return
		}
		again, err := encode(v)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", v, err)
		}
		w, err := parseVersion(n, again)
		if err != nil {
			t.Fatalf("%+v became %+v, %v", v, w, err)
		}
		if third, _ := encode(w); !bytes.Equal(third, again) {
			t.Fatalf("%s became %s", again, third)
		}
	})
}

func TestSurplus(t *testing.T) {
	day := 24 * time.Hour
	now := time.Now()
	// line is a hash for each version: ! was rolled back, ~ held, ? tried and
	// dropped, n= rolls back to n. The newest is of now, each other a day older.
	f := func(line string, keep int, age time.Duration, running int, want ...int) {
		t.Helper()
		words := strings.Fields(line)
		var versions []Version
		for i, w := range words {
			v := Version{Number: i + 1, Verdict: Applied, Time: now.Add(-day * time.Duration(len(words)-1-i))}
			if of, hash, ok := strings.Cut(w, "="); ok {
				fmt.Sscan(of, &v.RollbackOf)
				w = hash
			}
			switch w[0] {
			case '!':
				v.Verdict = RolledBack
			case '~':
				v.Verdict = Held
			case '?':
				v.Verdict, v.Tried = RolledBack, true
			}
			v.Hash = strings.TrimLeft(w, "!~?")
			versions = append(versions, v)
		}
		r := retention{keep: keep, running: running}
		if age > 0 {
			r.since = now.Add(-age)
		}
		if got := surplus(versions, r); !slices.Equal(got, want) {
			t.Errorf("surplus(%q, %d, %v, %d) = %v, want %v", line, keep, age, running, got, want)
		}
	}
	f("a b c d", 4, 0, 4)
	f("a b c d", 2, 0, 4, 1, 2)
	f("a b c d", 2, 0, 2)
	f("a a a b", 1, 0, 3, 1, 2)
	f("a b c d", 1, 0, 9, 1, 2) // what runs is not kept any more
	f("", 1, 0, 0)

	// where a rollback leads stays, whatever came in between
	f("a b !c !d ?e ~f g", 1, 0, 7, 1, 3, 4, 5, 6)
	f("a b ~c ~d ~e", 2, 0, 2, 3)
	f("a b !c 2=b", 1, 0, 4, 2, 3)

	// by age, of those that are not too many
	f("a b c d e", 9, 2*day+time.Hour, 5, 1, 2)
	f("a b c d e", 4, 3*day+time.Hour, 5, 1)
	f("a b c d e", 9, time.Hour, 5, 1, 2, 3)
	f("a b ~c ~d", 9, time.Hour, 2, 3)
}
