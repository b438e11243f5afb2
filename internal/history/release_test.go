package history_test

import (
	"errors"
	"testing"

	"weir/internal/history"
)

// The directory goes to another process and comes back, with what happened to it
// there.
func TestReleaseAndReclaim(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, 10)
	mustAppend(t, s, "one")
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(history.Version{}, []byte("no")); !errors.Is(err, history.ErrReleased) {
		t.Errorf("append: %v", err)
	}
	if err := s.SetState(history.State{Running: 1}); !errors.Is(err, history.ErrReleased) {
		t.Errorf("set state: %v", err)
	}
	if err := s.Mark(1, history.RolledBack, ""); !errors.Is(err, history.ErrReleased) {
		t.Errorf("mark: %v", err)
	}
	if _, err := s.KeepOnce("key", []byte("x")); !errors.Is(err, history.ErrReleased) {
		t.Errorf("keep: %v", err)
	}
	if _, source, err := s.Get(1); err != nil || string(source) != "one" {
		t.Errorf("get: %q, %v", source, err)
	}

	other := mustOpen(t, dir, 10)
	mustAppend(t, other, "two")
	if err := other.SetState(history.State{Running: 2}); err != nil {
		t.Fatal(err)
	}
	if err := s.Reclaim(); !errors.Is(err, history.ErrInUse) {
		t.Errorf("reclaim while the other has it: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Reclaim(); err != nil {
		t.Fatal(err)
	}
	if got := numbers(s.List()); got != "1 2" || s.State().Running != 2 {
		t.Errorf("versions %s, %d runs", got, s.State().Running)
	}
	if v := mustAppend(t, s, "three"); v.Number != 3 {
		t.Errorf("the next version is %d", v.Number)
	}
}
