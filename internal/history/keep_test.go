package history

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What was kept first stays, for the owner alone.
func TestKeepOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "some.key")
	keep := func(data, want string) {
		t.Helper()
		s, err := Open(dir, 5)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for range 2 {
			got, err := s.KeepOnce("some.key", []byte(data))
			if err != nil || string(got) != want {
				t.Errorf("%q is kept, %v; want %q", got, err, want)
			}
		}
		if len(s.Damaged()) > 0 || len(s.List()) > 0 {
			t.Errorf("%v, %v", s.Damaged(), s.List())
		}
	}
	keep("one", "one")
	keep("two", "one")
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if err := os.WriteFile(path, []byte("somebody's"), 0o640); err != nil {
		t.Fatal(err)
	}
	keep("two", "somebody's")

	// what cannot be read is not replaced
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.KeepOnce("some.key", []byte("three")); err == nil {
		t.Errorf("kept %q although a directory is there", got)
	}
}

// Whatever step fails, there is all of it or nothing, and the next try works.
func TestKeepOnceFails(t *testing.T) {
	broken := errors.New("broken")
	for fail := 1; ; fail++ {
		x := &faults{fail: fail, short: true, err: broken}
		dir := t.TempDir()
		s, err := open(dir, 5, x.disk())
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.KeepOnce("some.key", []byte("one"))
		if err != nil && !errors.Is(err, broken) {
			t.Errorf("step %d: %v", fail, err)
		}
		if data, e := os.ReadFile(filepath.Join(dir, "some.key")); e == nil && string(data) != "one" || e != nil && err == nil {
			t.Errorf("step %d: %q is there, %v", fail, data, e)
		}
		if got, err := s.KeepOnce("some.key", []byte("one")); err != nil || string(got) != "one" {
			t.Errorf("after step %d: %q, %v", fail, got, err)
		}
		s.Close()
		if err == nil {
			return // there were no more steps
		}
	}
}
