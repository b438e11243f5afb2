package control_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/internal/control"
	"weir/internal/history"
	"weir/internal/testkit"
)

func (r *rig) freeze(d time.Duration, why string) control.Frozen {
	r.t.Helper()
	f, err := r.ctl.Freeze(r.t.Context(), d, why, control.Origin{Kind: "api", Author: "ada"})
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func (r *rig) thaw() control.Verdict {
	r.t.Helper()
	v, err := r.ctl.Thaw(r.t.Context(), control.Origin{Kind: "api", Author: "ada"})
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

func (r *rig) warned(parts ...string) bool {
	all := strings.Join(r.ctl.Status().Warnings, "\n")
	for _, p := range parts {
		if !strings.Contains(all, p) {
			return false
		}
	}
	return true
}

// What comes during a freeze is recorded, once, and nothing else.
func TestFreezeHolds(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.wantMetric("weir_config_frozen", "0")
	f := r.freeze(time.Hour, "incident 123")
	for range 2 {
		v := r.apply(saying("two"))
		if v.Result != control.Held || v.Held != 2 || v.Version != 1 || !strings.Contains(v.Message, "held as version 2: frozen until ") || !strings.Contains(v.Message, "(incident 123); weir thaw") {
			t.Errorf("verdict %+v", v)
		}
	}
	r.wantGet("200 one")
	if v := r.version(2); v.Verdict != history.Held || v.Author != "ada" || !strings.Contains(v.Note, "incident 123") {
		t.Errorf("version %+v", v)
	}
	if v := r.apply(saying("one")); v.Result != control.Unchanged {
		t.Errorf("what runs: %+v", v)
	}
	if v := r.apply("pols: {}"); v.Result != control.Rejected {
		t.Errorf("what is wrong: %+v", v)
	}
	st := r.ctl.Status()
	if st.Frozen == nil || !st.Frozen.Until.Equal(f.Until) || st.Frozen.By != "ada" || !r.warned("frozen until ", "incident 123") {
		t.Errorf("status %+v, %q", st.Frozen, st.Warnings)
	}
	r.wantMetric("weir_config_frozen", "1")
	if until := r.metric("weir_config_frozen_until_timestamp_seconds"); until == "0" {
		t.Error("the end is not in the metrics")
	}
	r.wantSaid(zap.WarnLevel, "is frozen", "incident 123")

	// a second one takes its place
	if g := r.freeze(2*time.Hour, ""); !g.Until.After(f.Until) || r.warned("incident 123") {
		t.Errorf("second freeze %+v, %q", g, r.ctl.Status().Warnings)
	}

	// who knows better
	origin := control.Origin{Kind: "api"}
	if v, err := r.ctl.ApplyWith(t.Context(), []byte(saying("three")), origin, control.ApplyOptions{Force: true}); err != nil || v.Result != control.Applied || v.Version != 3 {
		t.Errorf("forced: %+v, %v", v, err)
	}
	r.wantGet("200 three")

	// and the other ways to change something are held as well
	v, err := r.ctl.ApplyWith(t.Context(), []byte(saying("four")), origin, control.ApplyOptions{Stage: []int{50}, Hold: time.Hour})
	if err != nil || v.Result != control.Held || v.Held != 4 {
		t.Errorf("staged: %+v, %v", v, err)
	}

	if v := r.thaw(); v.Result != control.Unchanged {
		t.Errorf("thaw: %+v", v)
	}
	r.wantMetric("weir_config_frozen", "0")
	r.wantMetric("weir_config_frozen_until_timestamp_seconds", "0")
	if _, err := r.ctl.Thaw(t.Context(), origin); !errors.Is(err, control.ErrNotFrozen) {
		t.Errorf("thaw again: %v", err)
	}
	if v := r.mustApply(saying("two")); v.Version != 5 {
		t.Errorf("what was held: %+v", v)
	}
	for _, d := range []time.Duration{0, -time.Hour, 1000 * time.Hour} {
		if _, err := r.ctl.Freeze(t.Context(), d, "", origin); !errors.Is(err, control.ErrWrongTime) {
			t.Errorf("freeze for %v: %v", d, err)
		}
	}
}

// The file waits, and is applied at the end: by hand, by time, or at a start.
func TestFreezeHoldsTheFile(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.freeze(time.Hour, "x")
	if e := r.edit(saying("two"), control.Held); e.Version != 2 {
		t.Errorf("event %+v", e)
	}
	if f := r.ctl.Status().File; f.State != control.Held || !strings.Contains(f.Message, "held as version 2") || !r.warned("was edited and is held") {
		t.Errorf("file %+v", f)
	}
	r.wantGet("200 one")
	if v := r.thaw(); v.Result != control.Applied || v.Version != 3 {
		t.Errorf("thaw: %+v", v)
	}
	r.wantGet("200 two")
	if f := r.ctl.Status().File; f.State != control.InSync {
		t.Errorf("file %+v", f)
	}

	// it may come back by itself to what runs
	r.freeze(time.Hour, "x")
	r.edit(saying("three"), control.Held)
	r.write(saying("two"))
	for end := time.Now().Add(patience); r.ctl.Status().File.State != control.InSync; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("file %+v", r.ctl.Status().File)
		}
	}

	// by time
	r.edit(saying("four"), control.Held)
	r.await(control.Applied, func() { r.freeze(time.Millisecond, "x") })
	r.wantGet("200 four")
	r.wantSaid(zap.InfoLevel, "thawed", "its time is over")

	// edited while Weir was down
	r.freeze(time.Hour, "x")
	r.stop()
	r.write(saying("five"))
	r.start()
	r.wantGet("200 four")
	r.wantMetric("weir_config_frozen", "1")
	if st := r.ctl.Status(); st.File.State != control.Held || st.Frozen == nil || st.Frozen.Why != "x" {
		t.Errorf("file %+v, %+v", st.File, st.Frozen)
	}
	held := r.ctl.Versions()[len(r.ctl.Versions())-1]
	if held.Verdict != history.Held {
		t.Errorf("newest %+v", held)
	}
	r.restart()
	if n := r.ctl.Versions()[len(r.ctl.Versions())-1].Number; n != held.Number || len(r.ctl.Status().History.Damaged) != 0 {
		t.Errorf("held again as version %d; damaged %q", n, r.ctl.Status().History.Damaged)
	}
	if v := r.thaw(); v.Result != control.Applied {
		t.Errorf("thaw: %+v", v)
	}
	r.wantGet("200 five")
}

// A freeze keeps nobody from going back, and what never ran is not where that leads.
func TestRollbackDuringFreeze(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.mustApply(saying("two"))
	r.freeze(time.Hour, "")
	r.apply(saying("held"))
	if _, err := r.ctl.Rollback(t.Context(), 3, control.Origin{}); !errors.Is(err, control.ErrNoTarget) {
		t.Errorf("to what is held: %v", err)
	}
	r.mustRollback(0)
	r.wantGet("200 one")
	r.thaw()
	r.mustApply(saying("three"))
	r.mustRollback(0)
	r.wantGet("200 one")
}

func TestGuardDuringFreeze(t *testing.T) {
	good, bad := testkit.NewBackend(t, testkit.Answer(200, "good")), testkit.NewBackend(t, testkit.Answer(500, "bad"))
	r := newRig(t, guarded(good, "")).start()
	r.ask(50)
	e := r.verdict(func() {
		r.mustApply(guarded(bad, ""))
		r.freeze(time.Hour, "")
	})
	if e.What != control.Bad {
		t.Errorf("event %+v", e)
	}
	r.wantGet("200 good")
	if v := r.apply(guarded(bad, "")); v.Result != control.Rejected {
		t.Errorf("what was undone is rejected, not held: %+v", v)
	}
}

// The pin of a rollback is not forgotten because there is a freeze as well.
func TestPinDuringFreeze(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.edit(saying("two"), control.Applied)
	r.mustRollback(0)
	r.freeze(time.Hour, "")
	r.restart()
	if f := r.ctl.Status().File; f.State != control.Ignored {
		t.Errorf("file %+v", f)
	}
	r.thaw()
	r.wantGet("200 one")

	// unless it is lifted
	r.freeze(time.Hour, "")
	if v, err := r.ctl.Unpin(t.Context(), control.Origin{Kind: "api"}); err != nil || v.Result != control.Held {
		t.Errorf("unpin: %+v, %v", v, err)
	}
	if st := r.ctl.Status(); st.Pinned != nil || st.File.State != control.Held {
		t.Errorf("%+v, %+v", st.Pinned, st.File)
	}
	r.restart()
	r.thaw()
	r.wantGet("200 two")
}

// A staged version stays at its share, and does not become what runs.
func TestTrialDuringFreeze(t *testing.T) {
	r := newRig(t, saying("one")).start()
	origin := control.Origin{Kind: "api"}
	v, err := r.ctl.ApplyWith(t.Context(), []byte(saying("two")), origin, control.ApplyOptions{Stage: []int{100}, Hold: 300 * time.Millisecond})
	if err != nil || v.Result != control.Staged {
		t.Fatalf("%+v, %v", v, err)
	}
	r.freeze(time.Hour, "")
	if v, err := r.ctl.EndTrial(t.Context(), true, origin); err != nil || v.Result != control.Held {
		t.Errorf("promote: %+v, %v", v, err)
	}
	r.await(control.Applied, func() { r.thaw() })
	if v, _ := r.ctl.Config(); v != 2 {
		t.Errorf("version %d runs", v)
	}
}

// A freeze that cannot be recorded is none.
func TestFreezeNotRecorded(t *testing.T) {
	r := newRig(t, saying("one")).start()
	dir := r.ctl.Status().History.Dir
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ctl.Freeze(t.Context(), time.Hour, "", control.Origin{}); err == nil {
		t.Error("frozen without a record")
	}
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
	r.freeze(time.Hour, "")
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	if v := r.apply(saying("two")); v.Result != control.Failed {
		t.Errorf("held without a record: %+v", v)
	}
	if _, err := r.ctl.Thaw(t.Context(), control.Origin{}); err == nil || r.ctl.Status().Frozen == nil {
		t.Errorf("thawed without a record: %v", err)
	}
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
	r.thaw()
}
