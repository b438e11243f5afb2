package control_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/control"
	"weir/internal/history"
)

// other is the process that becomes the writer: it runs source as a version.
func other(t *testing.T, r *rig, source string) {
	t.Helper()
	s, err := history.Open(filepath.Join(filepath.Dir(r.path), ".weir"), 50)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := s.Append(history.Version{Origin: "api"}, []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	st := s.State()
	st.Running, st.Pinned, st.FileHash, st.Reason = v.Number, true, history.Hash([]byte(saying("one"))), "another was applied"
	if err := s.SetState(st); err != nil {
		t.Fatal(err)
	}
}

// While another process is the writer nothing is changed; when it is gone, what
// it did is done here.
func TestHandOverAndTakeBack(t *testing.T) {
	r := newRig(t, saying("one")).start()
	if err := r.ctl.HandOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, control.ErrHandedOver) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := r.ctl.Apply(t.Context(), []byte(saying("no")), control.Origin{Kind: "api"}, 0)
	f("apply", err)
	_, err = r.ctl.Rollback(t.Context(), 0, control.Origin{})
	f("rollback", err)
	_, err = r.ctl.Unpin(t.Context(), control.Origin{})
	f("unpin", err)
	_, err = r.ctl.Confirm(t.Context(), control.Origin{})
	f("confirm", err)
	f("again", r.ctl.HandOver(t.Context()))
	r.wantGet("200 one")

	other(t, r, saying("two"))
	reopened := false
	e := r.await("upgrade", func() {
		if err := r.ctl.TakeBack(t.Context(), "it died", func() error { reopened = true; return nil }); err != nil {
			t.Error(err)
		}
	})
	if e.What != "rolled_back" || e.Cause != "it died" || !reopened {
		t.Errorf("%+v, reopened %v", e, reopened)
	}
	r.wantGet("200 two")
	if s := r.ctl.Status(); s.Version != 2 || s.Pinned == nil {
		t.Errorf("version %d runs, pinned %v", s.Version, s.Pinned)
	}
	if v := r.mustApply(saying("three")); v.Version != 3 {
		t.Errorf("the next version is %d", v.Version)
	}
	if err := r.ctl.TakeBack(t.Context(), "", nil); err != nil { // there is nothing to take back
		t.Error(err)
	}
}

// An edit of the file that came meanwhile counts afterwards, and nothing is
// changed while the other process still has the history.
func TestTakeBackReadsTheFile(t *testing.T) {
	r := newRig(t, saying("one")).start()
	if err := r.ctl.HandOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.write(saying("two"))
	if err := r.ctl.Reload(t.Context()); err != nil { // SIGHUP, which is put off
		t.Fatal(err)
	}
	s, err := history.Open(filepath.Join(filepath.Dir(r.path), ".weir"), 50)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ctl.TakeBack(context.Background(), "", nil); !errors.Is(err, history.ErrInUse) || !strings.Contains(err.Error(), "stay refused") {
		t.Errorf("the history is still in use: %v", err)
	}
	r.wantGet("200 one")
	s.Close()
	if err := r.ctl.TakeBack(t.Context(), "", nil); err != nil {
		t.Error(err)
	}
	r.wantGet("200 two")
}
