package control_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/internal/control"
	"weir/internal/testkit"
	"weir/pool"
)

var ada = control.Origin{Kind: "api", Author: "ada"}

// backendOf is what pool api says of a backend.
func (r *rig) backendOf(b *testkit.Backend) pool.BackendStatus {
	r.t.Helper()
	p, _ := r.ctl.Pool("api")
	for _, s := range p.Backends {
		if s.Address == b.Addr() {
			return s
		}
	}
	return pool.BackendStatus{}
}

func (r *rig) drain(b *testkit.Backend, l control.Lasting) {
	r.t.Helper()
	if err := r.ctl.MarkFor("api", b.Addr(), pool.Drain, l, ada); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) weigh(b *testkit.Backend, weight int, l control.Lasting) {
	r.t.Helper()
	if err := r.ctl.WeighFor("api", b.Addr(), weight, l, ada); err != nil {
		r.t.Fatal(err)
	}
}

// wantOverrides compares the list, as "address what value".
func (r *rig) wantOverrides(want ...string) {
	r.t.Helper()
	var got []string
	for _, o := range r.ctl.Overrides() {
		got = append(got, fmt.Sprintf("%s %s %s", o.Backend, o.What, o.Value))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.t.Errorf("overrides %q, want %q", got, want)
	}
}

// Overrides have an owner, outlive changes and restarts, and are seen.
func TestOverridesLast(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, pooling(a, b)).start()
	r.wantMetric("weir_overrides{what=admin}", "0")
	r.drain(a, control.Lasting{Why: "disk"})
	r.weigh(b, 7, control.Lasting{For: time.Hour})
	r.wantMetric("weir_overrides{what=admin}", "1")
	check := func(when string) {
		t.Helper()
		if x, y := r.backendOf(a), r.backendOf(b); x.Admin != pool.Drain || y.WeightOverride == nil || *y.WeightOverride != 7 {
			t.Errorf("%s: %+v, %+v", when, x, y)
		}
		for range 4 {
			r.wantGet("200 b")
		}
		for _, o := range r.ctl.Status().Override {
			switch {
			case o.By != "ada" || o.Since.IsZero():
				t.Errorf("%s: %+v", when, o)
			case o.Backend == a.Addr() && (o.Why != "disk" || !o.Until.IsZero()):
				t.Errorf("%s: %+v", when, o)
			case o.Backend == b.Addr() && o.Until.Sub(o.Since) != time.Hour:
				t.Errorf("%s: %+v", when, o)
			}
		}
		if n := len(r.ctl.Overrides()); n != 2 {
			t.Errorf("%s: %d overrides", when, n)
		}
	}
	check("at first")
	r.mustApply(pooling(a, b) + "  other: {backends: []}\n")
	check("after a change")
	r.mustRollback(0)
	check("after a rollback")
	r.restart()
	check("after a restart")
	r.wantMetric("weir_overrides{what=weight}", "1")

	if err := r.ctl.Mark("api", a.Addr(), pool.Ready, ada); err != nil {
		t.Fatal(err)
	}
	if err := r.ctl.Weigh("api", b.Addr(), pool.Configured, ada); err != nil {
		t.Fatal(err)
	}
	r.wantOverrides()
	r.restart()
	r.wantOverrides()
	if x, y := r.backendOf(a), r.backendOf(b); x.Admin != pool.Ready || y.WeightOverride != nil {
		t.Errorf("lifted: %+v, %+v", x, y)
	}
}

func TestOverridesEnd(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, pooling(a, b)).start()
	r.drain(a, control.Lasting{})
	e := r.await("expired", func() { r.weigh(a, 3, control.Lasting{For: time.Millisecond}) })
	if e.Kind != "override" || e.Backend != a.Addr() || e.Cause != "weight 3" {
		t.Errorf("event %+v", e)
	}
	r.wantOverrides(a.Addr() + " admin drain")
	if s := r.backendOf(a); s.WeightOverride != nil || s.Admin != pool.Drain {
		t.Errorf("%+v", s)
	}
	r.wantSaid(zap.InfoLevel, "override expired", a.Addr())

	// while Weir is down; a later one takes the place of an earlier one
	r.drain(a, control.Lasting{For: 2 * time.Hour})
	path := filepath.Join(r.ctl.Status().History.Dir, "overrides.json")
	r.stop()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	year := time.Now().UTC().Format("2006-")
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"until": "`+year, `"until": "2001-`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantOverrides()
	if s := r.backendOf(a); s.Admin != pool.Ready {
		t.Errorf("%+v", s)
	}

	for _, d := range []time.Duration{-time.Second, 1000 * 24 * time.Hour} {
		if err := r.ctl.MarkFor("api", a.Addr(), pool.Drain, control.Lasting{For: d}, ada); !errors.Is(err, control.ErrWrongTime) {
			t.Errorf("for %v: %v", d, err)
		}
	}
	if err := r.ctl.MarkFor("api", a.Addr(), pool.Ready, control.Lasting{For: time.Hour}, ada); !errors.Is(err, control.ErrWrongTime) {
		t.Errorf("ready for an hour: %v", err)
	}
	if err := r.ctl.Weigh("api", a.Addr(), 70000, ada); err == nil {
		t.Error("a weight of 70000")
	}
	var unknown *pool.UnknownBackendError
	if err := r.ctl.Mark("api", "nobody:1", pool.Drain, ada); !errors.As(err, &unknown) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := r.ctl.ClearOverrides("api", "nobody:1", ada); !errors.As(err, &unknown) {
		t.Errorf("nobody: %v", err)
	}
	r.wantOverrides()
}

// A backend that leaves and comes back, with a rollback for example, is what it
// was: nobody sends traffic to what is being repaired.
func TestOverridesOfWhoLeaves(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, pooling(a, b)).start()
	r.drain(a, control.Lasting{})
	r.mustApply(pooling(b))
	if o := r.ctl.Overrides(); len(o) != 1 || o[0].Absent.IsZero() {
		t.Errorf("overrides %+v", o)
	}
	r.wantSaid(zap.WarnLevel, "override rests", a.Addr())
	r.restart()
	r.mustRollback(0)
	if s := r.backendOf(a); s.Admin != pool.Drain {
		t.Errorf("%+v", s)
	}
	if o := r.ctl.Overrides(); len(o) != 1 || !o[0].Absent.IsZero() {
		t.Errorf("overrides %+v", o)
	}
	r.wantSaid(zap.InfoLevel, "override counts again", a.Addr())

	r.mustApply(pooling(b))
	if n, err := r.ctl.ClearOverrides("api", a.Addr(), ada); n != 1 || err != nil {
		t.Errorf("clear: %d, %v", n, err)
	}
	r.drain(b, control.Lasting{})
	r.weigh(b, 4, control.Lasting{})
	if n, err := r.ctl.ClearOverrides("", "", ada); n != 2 || err != nil {
		t.Errorf("clear all: %d, %v", n, err)
	}
	if s := r.backendOf(b); s.Admin != pool.Ready || s.WeightOverride != nil {
		t.Errorf("%+v", s)
	}
}

// The clients of a trial do not get what is drained either.
func TestOverridesInTrial(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, pooling(a, b)).start()
	r.drain(a, control.Lasting{})
	next := strings.Replace(pooling(a, b), "    backends:", "    slow_start: 1ms\n    backends:", 1)
	if v, err := r.ctl.ApplyWith(t.Context(), []byte(next), ada, control.ApplyOptions{Stage: []int{100}, Hold: time.Hour}); err != nil || v.Result != control.Staged {
		t.Fatalf("%+v, %v", v, err)
	}
	for range 4 {
		r.wantGet("200 b")
	}
	if err := r.ctl.Mark("api", a.Addr(), pool.Ready, ada); err != nil {
		t.Fatal(err)
	}
	r.drain(b, control.Lasting{})
	for range 4 {
		r.wantGet("200 a")
	}
	if v, err := r.ctl.EndTrial(t.Context(), true, ada); err != nil || v.Result != control.Applied {
		t.Fatalf("%+v, %v", v, err)
	}
	for range 4 {
		r.wantGet("200 a")
	}
}

// What cannot be recorded counts all the same, and is said.
func TestOverridesNotRecorded(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, pooling(a, b)).start()
	dir := r.ctl.Status().History.Dir
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	r.drain(a, control.Lasting{})
	r.wantGet("200 b")
	r.wantSaid(zap.ErrorLevel, "overrides are in force and not recorded")
	if !r.warned("a restart forgets it") {
		t.Errorf("warnings %q", r.ctl.Status().Warnings)
	}
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
	r.weigh(b, 2, control.Lasting{})
	if r.warned("a restart forgets it") {
		t.Errorf("warnings %q", r.ctl.Status().Warnings)
	}

	// a record that cannot be read keeps nobody from starting
	r.stop()
	if err := os.WriteFile(filepath.Join(dir, "overrides.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantOverrides()
	if !r.warned("overrides.json is damaged") {
		t.Errorf("warnings %q", r.ctl.Status().Warnings)
	}
}

func TestExportOverrides(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, "# why\n"+pooling(a, b)).start()
	r.drain(a, control.Lasting{})
	r.weigh(a, 9, control.Lasting{})
	r.weigh(b, 3, control.Lasting{})
	e, err := r.ctl.ExportOverrides()
	want := strings.NewReplacer(fmt.Sprintf("%q", a.Addr()), fmt.Sprintf("%q, weight: 0", a.Addr()), fmt.Sprintf("%q", b.Addr()), fmt.Sprintf("%q, weight: 3", b.Addr())).Replace("# why\n" + pooling(a, b))
	if err != nil || e.Source != want || e.Written != 2 || len(e.Left) > 0 {
		t.Errorf("%v, %+v\nwant\n%s", err, e, want)
	}
	r.drain(b, control.Lasting{})
	if _, err := r.ctl.ExportOverrides(); err == nil || !strings.Contains(err.Error(), "every backend has weight 0") {
		t.Errorf("nobody left: %v", err)
	}
}

// A backend that is drained leaves the configuration and comes back: it is listed
// and drained in one step, between which no request finds it.
func TestOverrideOfOneThatComesBack(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, pooling(a, b)).start()
	r.drain(a, control.Lasting{})
	r.weigh(a, 7, control.Lasting{})
	r.mustApply(pooling(b))
	r.mustApply(pooling(a, b))
	past := r.ctl.BackendHistory("api", a.Addr())
	at := map[string]time.Time{}
	for _, e := range past {
		at[e.What] = e.Time
	}
	if added := at[pool.EventAdded]; added.IsZero() || !at[pool.EventDrain].Equal(added) || !at[pool.EventWeight].Equal(added) {
		t.Errorf("%+v", past)
	}
	for range 10 {
		r.wantGet("200 b")
	}
}
