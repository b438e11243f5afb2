package control_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/control"
	"weir/internal/history"
	"weir/internal/testkit"
)

// guarded is a configuration that watches briefly and needs little to judge.
func guarded(b *testkit.Backend, more string) string {
	return fmt.Sprintf(`guard: {window: 1s, min_requests: 20%s}
listeners: [{name: web, address: "127.0.0.1:0", routes: [{name: all, pool: app}]}]
pools: {app: {backends: [{address: "%s"}]}}
`, more, b.Addr())
}

// ask sends n requests.
func (r *rig) ask(n int) {
	for range n {
		r.get()
	}
}

// verdict waits for the guard's next word, with requests all the while.
func (r *rig) verdict(do func()) control.Event {
	r.t.Helper()
	stop, stopped := make(chan bool), make(chan bool)
	e := r.await("guard", func() {
		do()
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					r.get()
				}
			}
		}()
	})
	close(stop)
	<-stopped
	return e
}

func (r *rig) version(n int) history.Version {
	r.t.Helper()
	v, _, err := r.ctl.Version(n)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// A change that brings errors is undone, and the reason is kept with it.
func TestGuardUndoesErrors(t *testing.T) {
	good, bad := testkit.NewBackend(t, testkit.Answer(200, "good")), testkit.NewBackend(t, testkit.Answer(500, "bad"))
	r := newRig(t, guarded(good, "")).start()
	r.ask(50)
	e := r.verdict(func() { r.mustApply(guarded(bad, "")) })
	if e.What != control.Bad || e.Version != 2 || !strings.Contains(e.Cause, "route web/all: 100.0 % of") {
		t.Errorf("event %+v", e)
	}
	r.wantGet("200 good")
	if st := r.ctl.Status(); st.Version != 3 || st.Pinned != nil || st.Guard != nil {
		t.Errorf("status: version %d, pinned %v, guard %v", st.Version, st.Pinned, st.Guard)
	}
	v := r.version(2)
	if v.Verdict != history.RolledBack || v.Guard == nil || v.Guard.Verdict != control.Bad || !strings.Contains(v.Note, "undone by the guard, as version 3") {
		t.Fatalf("version 2: %+v", v)
	}
	g := v.Guard.Routes[0]
	if g.Route != "web/all" || g.Before.Requests < 40 || g.Before.ErrorShare != 0 || g.After.Requests < 20 || g.After.ErrorShare != 100 || g.After.P99 <= 0 {
		t.Errorf("numbers %+v", g)
	}

	// the same bytes again: only when that is meant, and a preview says so
	p := r.preview(guarded(bad, ""))
	if len(p.Warnings) == 0 || p.Warnings[0].Code != "undone-before" || !p.Blocked() || !strings.Contains(p.Warnings[0].Message, "bytes of version 2") {
		t.Errorf("preview: %+v", p.Warnings)
	}
	again := r.apply(guarded(bad, ""))
	if again.Result != control.Rejected || !strings.Contains(again.Message, "these are the bytes of version 2, which the guard has undone") {
		t.Errorf("again: %+v", again)
	}
	r.wantGet("200 good")
	forced, err := r.ctl.ApplyWith(t.Context(), []byte(guarded(bad, "")), control.Origin{}, control.ApplyOptions{Force: true, NoGuard: true})
	if err != nil || forced.Result != control.Applied {
		t.Fatalf("forced: %+v, %v", forced, err)
	}
	r.ask(30)
	if st := r.ctl.Status(); st.Version != 4 || st.Guard != nil {
		t.Errorf("without a guard: version %d, %v", st.Version, st.Guard)
	}
}

// So is one that comes with the file, which is then ignored.
func TestGuardUndoesAnEdit(t *testing.T) {
	good, bad := testkit.NewBackend(t, testkit.Answer(200, "good")), testkit.NewBackend(t, testkit.Answer(503, "bad"))
	told := filepath.Join(t.TempDir(), "told")
	hook := fmt.Sprintf(`, notify: {exec: [sh, -c, "cat > %s.part && mv %s.part %s"]}`, told, told, told)
	r := newRig(t, guarded(good, hook)).start()
	r.ask(50)
	r.verdict(func() { r.write(guarded(bad, hook)) })
	st := r.ctl.Status()
	if st.Pinned == nil || st.File.State != control.Ignored || !strings.Contains(st.Pinned.Reason, "rolled back to version 1 by guard") {
		t.Errorf("pinned %+v, file %+v", st.Pinned, st.File)
	}
	var text []byte
	for end := time.Now().Add(patience); len(text) == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		text, _ = os.ReadFile(told)
	}
	for _, part := range []string{`"event":"rolled_back"`, `"version":2`, `"to":1`, `"running":3`, `"after":{"requests":`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("no %s in what the program was told: %s", part, text)
		}
	}
	// It is not run by a restart either.
	r.restart().wantGet("200 good")
}

func TestGuardUndoesSlowness(t *testing.T) {
	good := testkit.NewBackend(t, testkit.After(2*time.Millisecond, testkit.Answer(200, "good")))
	slow := testkit.NewBackend(t, testkit.After(60*time.Millisecond, testkit.Answer(200, "slow")))
	r := newRig(t, guarded(good, ", max_latency_factor: 3")).start()
	r.ask(60)
	e := r.verdict(func() {
		v := r.mustApply(strings.Replace(guarded(slow, ", max_latency_factor: 3"), "window: 1s", "window: 30s", 1))
		if v.Version != 2 {
			t.Error(v)
		}
	})
	if e.What != control.Bad || !strings.Contains(e.Cause, "answers is") {
		t.Errorf("event %+v", e)
	}
	r.wantGet("200 good")
}

// A change that does no harm stays, and one that nobody used is not proven.
func TestGuardKeeps(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, guarded(a, "")).start()
	r.ask(50)
	if e := r.verdict(func() { r.mustApply(guarded(b, "")) }); e.What != control.Good || e.Version != 2 {
		t.Errorf("event %+v", e)
	}
	r.wantGet("200 b")
	if v := r.version(2); v.Verdict != history.Applied || v.Guard == nil || v.Guard.Verdict != control.Good {
		t.Errorf("version %+v", v)
	}
	if e := r.await("guard", func() { r.mustApply(guarded(a, "")) }); e.What != control.Unproven || e.Version != 3 {
		t.Errorf("event %+v", e)
	}
}

// What was as bad before does not condemn a change.
func TestGuardForgivesOldErrors(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(500, "a")), testkit.NewBackend(t, testkit.Answer(500, "b"))
	r := newRig(t, guarded(a, "")).start()
	r.ask(50)
	if e := r.verdict(func() { r.mustApply(guarded(b, "")) }); e.What != control.Good {
		t.Errorf("event %+v", e)
	}
	r.wantGet("500 b")
}

// A rollback is not rolled back, whatever happens under it.
func TestGuardDoesNotFlap(t *testing.T) {
	good, bad := testkit.NewBackend(t, testkit.Answer(200, "good")), testkit.NewBackend(t, testkit.Answer(500, "bad"))
	r := newRig(t, guarded(good, "")).start()
	r.ask(50)
	r.verdict(func() { r.mustApply(guarded(bad, "")) })
	good.Become(testkit.Answer(500, "broken"))
	r.ask(60)
	if st := r.ctl.Status(); st.Version != 3 || st.Guard != nil {
		t.Errorf("version %d, %+v", st.Version, st.Guard)
	}
}

// A bad change that another one follows leads back to what ran before both.
func TestGuardOfTwoChanges(t *testing.T) {
	good, bad := testkit.NewBackend(t, testkit.Answer(200, "good")), testkit.NewBackend(t, testkit.Answer(500, "bad"))
	long := func(b *testkit.Backend, more string) string {
		return strings.Replace(guarded(b, ""), "window: 1s", "window: 1m", 1) + more
	}
	r := newRig(t, long(good, "")).start()
	r.ask(50)
	e := r.verdict(func() {
		r.mustApply(long(bad, ""))
		r.mustApply(strings.Replace(long(bad, ""), "name: all, pool: app", "name: other, match: {path: /other}, pool: app}, {name: all, pool: app", 1))
		if g := r.ctl.Status().Guard; g == nil || g.Version != 3 || len(g.Routes) != 2 {
			t.Errorf("watched: %+v", g)
		}
	})
	if e.What != control.Bad || e.Version != 3 {
		t.Errorf("event %+v", e)
	}
	r.wantGet("200 good")
	for n := 2; n <= 3; n++ {
		if v := r.version(n); v.Verdict != history.RolledBack {
			t.Errorf("version %d: %+v", n, v)
		}
	}
	if v := r.version(4); v.RollbackOf != 1 {
		t.Errorf("version 4: %+v", v)
	}
}

// Where changes never cease, each is watched for the window and not for ever: a
// bad one leads back to one of the last window.
func TestGuardOfManyChanges(t *testing.T) {
	good, bad := testkit.NewBackend(t, testkit.Answer(200, "good")), testkit.NewBackend(t, testkit.Answer(500, "bad"))
	weighing := func(b *testkit.Backend, weight int) string {
		return strings.Replace(guarded(b, ""), `"}]`, fmt.Sprintf(`", weight: %d}]`, weight), 1)
	}
	r := newRig(t, weighing(good, 1)).start()
	r.ask(50)
	for n := 2; n <= 3; n++ {
		r.mustApply(weighing(good, n))
		for end := time.Now().Add(600 * time.Millisecond); time.Now().Before(end); {
			r.get()
		}
	}
	r.verdict(func() { r.mustApply(weighing(bad, 4)) })
	r.wantGet("200 good")
	if v := r.version(5); v.RollbackOf != 3 {
		t.Errorf("version 5: %+v, want version 3 again", v)
	}
	for n, want := range map[int]string{2: control.Good, 4: control.Bad} {
		if v := r.version(n); v.Guard == nil || v.Guard.Verdict != want || (v.Verdict == history.RolledBack) != (want == control.Bad) {
			t.Errorf("version %d: %+v, want it %s", n, v, want)
		}
	}
	if v := r.version(3); v.Verdict != history.Applied || v.Guard != nil && v.Guard.Verdict == control.Bad {
		t.Errorf("version 3: %+v", v)
	}
}

// A change that has to be confirmed is undone if nobody does, also after a restart.
func TestConfirm(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, guarded(a, "")).start()
	origin := control.Origin{Kind: "api", Author: "ada"}
	confirmable := func(b *testkit.Backend, in time.Duration) {
		t.Helper()
		if v, err := r.ctl.ApplyWith(t.Context(), []byte(guarded(b, "")), origin, control.ApplyOptions{Confirm: in}); err != nil || v.Result != control.Applied {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	if _, err := r.ctl.Confirm(t.Context(), origin); err != control.ErrNothingToConfirm {
		t.Errorf("nothing to confirm: %v", err)
	}
	confirmable(b, time.Hour)
	if c := r.ctl.Status().Confirm; c == nil || c.Version != 2 {
		t.Errorf("status %+v", c)
	}
	r.restart()
	r.wantGet("200 b")
	if n, err := r.ctl.Confirm(t.Context(), origin); n != 2 || err != nil {
		t.Errorf("confirm: %d, %v", n, err)
	}
	if c := r.ctl.Status().Confirm; c != nil {
		t.Errorf("status %+v", c)
	}

	r.await(history.RolledBack, func() { confirmable(a, time.Millisecond) })
	r.wantGet("200 b")
	for end := time.Now().Add(patience); r.version(3).Verdict != history.RolledBack || !strings.Contains(r.version(3).Note, "nobody confirmed it"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("version 3: %+v", r.version(3))
		}
	}
}
