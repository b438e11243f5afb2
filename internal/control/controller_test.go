package control_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/internal/control"
	"weir/internal/history"
	"weir/internal/testkit"
	"weir/pool"
)

func TestApply(t *testing.T) {
	testkit.NoLeaks(t)
	r := newRig(t, saying("one")).start()
	r.wantGet("200 one")
	if s := r.ctl.Status(); s.Version != 1 || s.Origin != "start" || s.File.State != control.InSync || !s.Ready {
		t.Errorf("status after the start: %+v", s)
	}

	v := r.mustApply(saying("two"))
	if v.Version != 2 || v.Previous != 1 || v.TookMS <= 0 {
		t.Errorf("verdict %+v", v)
	}
	if got := v.Plan[0].String(); len(v.Plan) != 1 || got != "listener web: route all respond.body changed" {
		t.Errorf("plan %q", v.Plan)
	}
	r.wantGet("200 two")
	version, source := r.ctl.Config()
	if version != 2 || string(source) != saying("two") {
		t.Errorf("Config() = %d, %q", version, source)
	}
	if _, kept, err := r.ctl.Version(2); err != nil || string(kept) != saying("two") {
		t.Errorf("Version(2) = %q, %v", kept, err)
	}
	r.wantSaid(zap.InfoLevel, "configuration applied", "version:2", "author:ada", "respond.body changed")

	// the same again is nothing, another comment is a version
	if v := r.apply(saying("two")); v.Result != control.Unchanged || v.Version != 2 {
		t.Errorf("the same bytes: %+v", v)
	}
	if v := r.mustApply("# why\n" + saying("two")); v.Version != 3 || len(v.Plan) != 0 || v.Message == "" {
		t.Errorf("another comment: %+v", v)
	}
	r.wantGet("200 two")
	r.wantMetric("weir_config_version", "3")
	r.wantMetric("weir_config_applies_total{result=applied}", "3")
}

func TestIfVersion(t *testing.T) {
	r := newRig(t, saying("one")).start()
	origin := control.Origin{Kind: "api"}
	v, err := r.ctl.Apply(t.Context(), []byte(saying("two")), origin, 7)
	if !errors.Is(err, control.ErrVersionConflict) || v.Version != 1 {
		t.Errorf("Apply if version 7 runs: %+v, %v", v, err)
	}
	if v, err = r.ctl.Apply(t.Context(), []byte(saying("two")), origin, 1); err != nil || v.Version != 2 {
		t.Errorf("Apply if version 1 runs: %+v, %v", v, err)
	}
}

func TestRejected(t *testing.T) {
	testkit.NoLeaks(t)
	r := newRig(t, saying("one")).start()
	broken := strings.Replace(saying("two"), "respond", "pool: ap, respnd", 1)
	v := r.apply(broken)
	if v.Result != control.Rejected || v.Version != 1 || len(v.Problems) == 0 || v.Problems[0].Line != 5 {
		t.Errorf("verdict %+v", v)
	}
	r.wantGet("200 one")
	if n := len(r.ctl.Versions()); n != 1 {
		t.Errorf("%d versions, want 1", n)
	}
	if s := r.ctl.Status(); s.File.State != control.InSync {
		t.Errorf("the file is %s because of what it never held", s.File.State)
	}
	for _, p := range v.Problems {
		r.wantSaid(zap.ErrorLevel, "configuration problem", p.Message, fmt.Sprintf("line:%d", p.Line))
	}
	r.wantMetric("weir_config_applies_total{result=rejected}", "1")
}

// TestEdits follows the file through what people do to it.
func TestEdits(t *testing.T) {
	testkit.NoLeaks(t)
	r := newRig(t, saying("one")).start()
	if e := r.edit(saying("two"), control.Applied); e.Version != 2 || e.Origin != "file" {
		t.Errorf("event %+v", e)
	}
	r.wantGet("200 two")

	r.edit("listeners: [{name: 7", control.Rejected)
	r.wantGet("200 two")
	s := r.ctl.Status()
	if s.File.State != control.Rejected || len(s.File.Problems) == 0 || s.Version != 2 || len(s.Warnings) == 0 {
		t.Errorf("status after a broken edit: %+v", s)
	}

	r.apply(saying("two")) // what runs, again: it says nothing about the file
	if s := r.ctl.Status(); s.File.State != control.Rejected || len(s.File.Problems) == 0 || s.Pinned != nil {
		t.Errorf("status after an apply of what runs: %+v", s)
	}

	r.edit(saying("three"), control.Applied)
	r.wantGet("200 three")
	if s := r.ctl.Status(); s.File.State != control.InSync || len(s.File.Problems) != 0 || len(s.Warnings) != 0 {
		t.Errorf("status after the edit that repairs it: %+v", s)
	}

	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	if s := r.ctl.Status(); s.File.State != control.Missing || s.Version != 3 {
		t.Errorf("status without a file: %+v", s)
	}
	r.wantGet("200 three")
}

// TestSignal: SIGHUP reads the file at once, and tries again what failed.
func TestSignal(t *testing.T) {
	r := newRig(t, saying("one")).start()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	source := strings.Replace(saying("two"), "127.0.0.1:0", taken.Addr().String(), 1)
	r.edit(source, control.Failed)
	if s := r.ctl.Status(); s.File.State != control.Rejected || !strings.Contains(s.File.Message, taken.Addr().String()) {
		t.Errorf("status: %+v", s.File)
	}
	r.wantGet("200 one")
	taken.Close()
	if e := r.await(control.Applied, r.ctl.Kick); e.Origin != "signal" {
		t.Errorf("event %+v", e)
	}
	r.wantGet("200 two")
}

func TestRollback(t *testing.T) {
	testkit.NoLeaks(t)
	r := newRig(t, saying("one")).start()
	r.edit(saying("two"), control.Applied)
	r.edit(saying("three"), control.Applied)

	v := r.mustRollback(0)
	if v.Version != 4 || v.Previous != 3 {
		t.Errorf("verdict %+v", v)
	}
	r.wantGet("200 two")
	got, source, err := r.ctl.Version(4)
	if err != nil || string(source) != saying("two") || got.RollbackOf != 2 || got.Origin != "rollback" || got.Author != "ada" {
		t.Errorf("version 4 is %+v, %q, %v", got, source, err)
	}
	if bad, _, _ := r.ctl.Version(3); bad.Verdict != history.RolledBack || !strings.Contains(bad.Note, "ada") {
		t.Errorf("version 3 is %+v, want it marked", bad)
	}
	s := r.ctl.Status()
	if s.Pinned == nil || !strings.Contains(s.Pinned.Reason, "version 2 by ada") || s.File.State != control.Ignored {
		t.Errorf("status %+v", s)
	}
	r.wantMetric("weir_config_pinned", "1")
	r.wantMetric("weir_config_applies_total{result=rolled_back}", "1")

	// the file is ignored, now and after a restart
	r.await("pinned", func() { r.mustRollback(1) }) // further back
	r.wantGet("200 one")
	r.restart()
	r.wantGet("200 one")
	if s := r.ctl.Status(); s.Pinned == nil || s.Version != 5 || s.File.State != control.Ignored {
		t.Errorf("status after a restart: %+v", s)
	}
	r.wantSaid(zap.WarnLevel, "is ignored", "version 1 by ada")

	// whatever reads it
	r.await(control.Ignored, r.ctl.Kick)
	r.edit("broken", control.Rejected)
	if s := r.ctl.Status(); s.Pinned == nil || s.File.State != control.Rejected {
		t.Errorf("status after a broken edit: %+v", s)
	}
	r.edit(saying("three"), control.Ignored) // as it was at the time
	if s := r.ctl.Status(); s.Pinned == nil || s.File.State != control.Ignored || len(s.File.Problems) != 0 {
		t.Errorf("status after going back on that: %+v", s)
	}
	r.wantGet("200 one")

	// until it is edited again
	r.edit(saying("four"), control.Applied)
	r.wantGet("200 four")
	if s := r.ctl.Status(); s.Pinned != nil || s.File.State != control.InSync {
		t.Errorf("status after an edit: %+v", s)
	}
	r.wantMetric("weir_config_pinned", "0")
}

func TestRollbackToNowhere(t *testing.T) {
	r := newRig(t, saying("one")).start()
	f := func(to int, target error, text string) {
		t.Helper()
		v, err := r.ctl.Rollback(t.Context(), to, control.Origin{Kind: "api"})
		if !errors.Is(err, target) || !strings.Contains(err.Error(), text) || v.Result != control.Rejected {
			t.Errorf("Rollback(%d) = %+v, %v, want %v that says %q", to, v, err, target, text)
		}
	}
	f(0, control.ErrNoTarget, "version 1 is kept")
	f(1, control.ErrNoTarget, "version 1 is running")
	f(9, history.ErrNotFound, "version 1 is kept")
	r.wantGet("200 one")
}

func TestUnpin(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.edit(saying("two"), control.Applied)
	r.mustRollback(0)
	r.wantGet("200 one")
	v, err := r.ctl.Unpin(t.Context(), control.Origin{Kind: "api", Author: "ada"})
	if err != nil || v.Result != control.Applied || v.Version != 4 {
		t.Errorf("Unpin: %+v, %v", v, err)
	}
	r.wantGet("200 two")
	if s := r.ctl.Status(); s.Pinned != nil || s.File.State != control.InSync {
		t.Errorf("status %+v", s)
	}

	// a file that cannot be used does not lift the pin
	r.mustRollback(0)
	r.edit("broken", control.Rejected)
	if v, _ := r.ctl.Unpin(t.Context(), control.Origin{Kind: "api"}); v.Result != control.Rejected || len(v.Problems) == 0 {
		t.Errorf("Unpin with a broken file: %+v", v)
	}
	if s := r.ctl.Status(); s.Pinned == nil || s.File.State != control.Rejected {
		t.Errorf("status %+v", s)
	}

	// a file that says what runs does
	r.await("unpinned", func() { r.write(saying("one")) })
	if s := r.ctl.Status(); s.Pinned != nil || s.File.State != control.InSync || s.Version != 5 {
		t.Errorf("status %+v", s)
	}
}

// TestAppliedOverTheFile: what came through the API and is not in the file is
// not undone by a restart.
func TestAppliedOverTheFile(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.mustApply(saying("two"))
	if s := r.ctl.Status(); s.Pinned == nil || s.File.State != control.Ignored {
		t.Errorf("status %+v", s)
	}
	r.restart()
	r.wantGet("200 two")

	// weir apply of the file itself pins nothing
	r.write(saying("three"))
	r.mustApply(saying("three"))
	if s := r.ctl.Status(); s.Pinned != nil || s.File.State != control.InSync {
		t.Errorf("status %+v", s)
	}
}

// TestBackendsOutliveConfigurations: what is known about a backend is neither
// lost by a change nor by a rollback.
func TestBackendsOutliveConfigurations(t *testing.T) {
	testkit.NoLeaks(t)
	a, b := testkit.NewBackend(t, testkit.Named("a")), testkit.NewBackend(t, testkit.Named("b"))
	r := newRig(t, pooling(a, b)).start()
	if err := r.ctl.Mark("api", a.Addr(), pool.Drain, control.Origin{Kind: "api", Author: "ada"}); err != nil {
		t.Fatal(err)
	}
	onlyB := func(when string) {
		t.Helper()
		for range 5 {
			if got := r.get(); got != "200 b" {
				t.Errorf("%s: GET / = %q, want b, since a is drained", when, got)
			}
		}
		if s, ok := r.ctl.Pool("api"); !ok || s.Backends[0].Admin != pool.Drain {
			t.Errorf("%s: pool %+v", when, s)
		}
	}
	onlyB("marked")
	r.mustApply(strings.Replace(pooling(a, b), "pools:", "  - {name: more, address: 127.0.0.1:0, routes: [{name: x, pool: api}]}\npools:", 1))
	onlyB("after a change elsewhere")
	r.mustApply(strings.Replace(pooling(a, b), "pools:", "pools:\n  other: {backends: [{address: 127.0.0.1:1}]}", 1))
	onlyB("with another pool")
	r.mustRollback(1)
	onlyB("after a rollback")

	// a pool that goes and comes back is another one, in which counts what the
	// operator has said
	r.mustApply(saying("none"))
	if n := len(r.ctl.Pools()); n != 0 {
		t.Errorf("%d pools, want none", n)
	}
	r.mustRollback(1)
	onlyB("back again")
	r.awaitUntil("the last request is counted", func() bool { // its answer may be here before that
		s, _ := r.ctl.Pool("api")
		return len(s.Backends) == 2 && s.Backends[1].Requests == 5
	})
	if err := r.ctl.Mark("api", a.Addr(), pool.Ready, control.Origin{}); err != nil {
		t.Fatal(err)
	}
	seen := []string{r.get(), r.get()}
	slices.Sort(seen)
	if !slices.Equal(seen, []string{"200 a", "200 b"}) {
		t.Errorf("two requests went to %q", seen)
	}

	var unknown *pool.UnknownBackendError
	if err := r.ctl.Mark("nope", "x:1", pool.Drain, control.Origin{}); !errors.As(err, &unknown) {
		t.Errorf("Mark in an unknown pool: %v", err)
	}
}

// TestNewBackendsAreProbedFirst: when Apply returns, a new backend that passes
// its check serves already.
func TestNewBackendsAreProbedFirst(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Named("a")), testkit.NewBackend(t, testkit.Named("b"))
	checked := func(x *testkit.Backend) string {
		return pooling(x) + "    health: {active: {path: /, interval: 1s, timeout: 1s}}\n"
	}
	r := newRig(t, checked(a)).start()
	r.wantGet("200 a")
	for range 5 {
		r.mustApply(checked(b))
		r.wantGet("200 b")
		r.mustRollback(0)
		r.wantGet("200 a")
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	testkit.NoLeaks(t)
	b := testkit.NewBackend(t, testkit.Named("b"))
	r := newRig(t, saying("one")).start()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	source := strings.Replace(pooling(b), "127.0.0.1:0", address, 1)

	// the address is taken
	v := r.apply(source)
	if v.Result != control.Failed || !strings.Contains(v.Message, address) || v.Version != 1 {
		t.Errorf("address in use: %+v", v)
	}
	free.Close()

	// it cannot be recorded
	dir := r.ctl.Status().History.Dir
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if v = r.apply(source); v.Result != control.Failed || v.Version != 1 {
		t.Errorf("history out of reach: %+v", v)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Errorf("somebody still listens on %s", address)
	}
	r.wantGet("200 one")
	if n := len(r.ctl.Pools()); n != 0 {
		t.Errorf("%d pools, want none", n)
	}

	// and then it can
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if v = r.mustApply(source); v.Version != 2 {
		t.Errorf("verdict %+v", v)
	}
	r.wantGet("200 b")
}

func TestStartWithABrokenFile(t *testing.T) {
	testkit.NoLeaks(t)
	r := newRig(t, saying("one")).start()
	r.edit(saying("two"), control.Applied)
	r.stop()
	r.write("listeners:\n  - {nam: web}\n")

	r.strict = true
	err := r.tryStart()
	if err == nil || !strings.Contains(err.Error(), "weir.yaml:2") {
		t.Fatalf("Start in strict mode: %v, want the problems", err)
	}
	r.stop()

	r.strict = false
	r.start()
	r.wantGet("200 two")
	s := r.ctl.Status()
	if s.Version != 2 || s.File.State != control.Rejected || len(s.File.Problems) == 0 || s.File.Problems[0].Line != 2 {
		t.Errorf("status %+v", s)
	}
	r.wantSaid(zap.WarnLevel, "cannot be used", "version:2")
	r.wantSaid(zap.ErrorLevel, "configuration problem", "line:2")

	r.edit(saying("three"), control.Applied)
	r.wantGet("200 three")
}

func TestStartWithoutAFile(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.stop()
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantGet("200 one")
	r.wantSaid(zap.WarnLevel, "cannot be used")
	r.stop()

	r.path = filepath.Join(t.TempDir(), "weir.yaml")
	err := r.tryStart()
	if err == nil || !strings.Contains(err.Error(), r.path) || !strings.Contains(err.Error(), filepath.Join(filepath.Dir(r.path), ".weir")) {
		t.Errorf("Start with nothing at all: %v, want both places that were looked at", err)
	}
}

// TestStartFindsHistoryElsewhere: history.dir has to be found in a file that
// is otherwise broken.
func TestStartFindsHistoryElsewhere(t *testing.T) {
	where := "history: {dir: '${HISTORY}/kept'}\n"
	dir := t.TempDir()
	r := newRig(t, where+saying("one"))
	r.env = func(name string) (string, bool) { return dir, name == "HISTORY" }
	r.start()
	r.stop()
	r.write(where + "listeners: [\n")
	r.start()
	r.wantGet("200 one")
	if got := r.ctl.Status().History.Dir; got != filepath.Join(dir, "kept") {
		t.Errorf("history is in %s", got)
	}
}

// TestStartWithAnotherEnvironment: the newest version needs a variable that is
// gone, the one before does not.
func TestStartWithAnotherEnvironment(t *testing.T) {
	r := newRig(t, saying("one"))
	set := true
	r.env = func(string) (string, bool) { return "two", set }
	r.start()
	r.edit(saying("${TEXT}"), control.Applied)
	r.wantGet("200 two")
	r.stop()
	set = false
	r.start()
	r.wantGet("200 one")
	if s := r.ctl.Status(); s.Version != 1 || s.File.State != control.Rejected {
		t.Errorf("status %+v", s)
	}
}

func TestStartWhereTheAddressIsTaken(t *testing.T) {
	testkit.NoLeaks(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, strings.Replace(saying("one"), "127.0.0.1:0", taken.Addr().String(), 1))
	if err := r.tryStart(); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Fatalf("Start: %v, want the address that is in use", err)
	}
	r.stop()
	taken.Close()
	r.start()
	r.wantGet("200 one")
	if n := len(r.ctl.Versions()); n != 1 {
		t.Errorf("%d versions, want 1", n)
	}
}

func TestRestart(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.restart()
	if s := r.ctl.Status(); s.Version != 1 || s.Origin != "start" {
		t.Errorf("the same file became version %d", s.Version)
	}
	r.stop()
	r.write(saying("two"))
	r.start()
	if s := r.ctl.Status(); s.Version != 2 {
		t.Errorf("status %+v", s)
	}
	r.wantGet("200 two")
	r.mustRollback(0) // version 1 is compiled from its bytes
	r.wantGet("200 one")
}

func TestSettings(t *testing.T) {
	r := newRig(t, saying("one")).start()
	if r.level.Level() != zap.InfoLevel {
		t.Errorf("level %v, want info", r.level)
	}
	v := r.mustApply("log: {level: debug}\nadmin: {address: 127.0.0.1:9}\n" + saying("one"))
	if r.level.Level() != zap.DebugLevel {
		t.Errorf("level %v, want debug", r.level)
	}
	if len(v.Plan) != 2 || !strings.Contains(v.Plan[0].String(), "after a restart") {
		t.Errorf("plan %q", v.Plan)
	}
	s := r.ctl.Status()
	if len(s.Restart) != 1 || s.Restart[0].Name != "admin.address" || len(s.Warnings) == 0 {
		t.Errorf("status %+v", s)
	}
	r.mustApply(saying("one"))
	if s := r.ctl.Status(); len(s.Restart) != 0 {
		t.Errorf("restart needed: %v, with the settings it was started with", s.Restart)
	}
}

func TestDiffOfVersions(t *testing.T) {
	a := testkit.NewBackend(t, testkit.Named("a"))
	r := newRig(t, pooling(a)).start()
	r.mustApply(strings.Replace(pooling(a), a.Addr()+`"`, a.Addr()+`", weight: 5`, 1))
	d, err := r.ctl.Diff(1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("pool api: backend %s weight 1 -> 5", a.Addr()); len(d.Lines) != 1 || d.Lines[0] != want {
		t.Errorf("lines %q, want %q", d.Lines, want)
	}
	if want := fmt.Sprintf("-      - {address: %q}\n+      - {address: %[1]q, weight: 5}\n", a.Addr()); !strings.Contains(d.Text, want) {
		t.Errorf("text\n%s\nwant\n%s", d.Text, want)
	}
	if d, err := r.ctl.Diff(1, 1); err != nil || d.Text != "" || len(d.Changes) != 0 {
		t.Errorf("Diff(1, 1) = %+v, %v", d, err)
	}
	if _, err := r.ctl.Diff(1, 9); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("Diff(1, 9): %v", err)
	}
}

func TestBackendEvents(t *testing.T) {
	a := testkit.NewBackend(t, testkit.Named("a"))
	r := newRig(t, pooling(a)).start()
	e := r.await(pool.EventDrain, func() {
		if err := r.ctl.Mark("api", a.Addr(), pool.Drain, control.Origin{Kind: "api"}); err != nil {
			t.Fatal(err)
		}
	})
	if e.Kind != "backend" || e.Pool != "api" || e.Backend != a.Addr() {
		t.Errorf("event %+v", e)
	}
	past, _ := r.ctl.Events()
	if !slices.ContainsFunc(past, func(e control.Event) bool { return e.What == pool.EventDrain && e.Kind == "backend" }) {
		t.Errorf("remembered: %+v", past)
	}
}

func TestEnd(t *testing.T) {
	testkit.NoLeaks(t)
	r := newRig(t, saying("one")).start()
	r.stop()
	if _, err := r.ctl.Apply(t.Context(), []byte(saying("two")), control.Origin{}, 0); !errors.Is(err, control.ErrClosed) {
		t.Errorf("Apply after the end: %v, want ErrClosed", err)
	}
	if err := r.ctl.Close(t.Context()); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// TestImpatientCaller: who leaves before the verdict does not stop the change.
func TestImpatientCaller(t *testing.T) {
	silent := testkit.NewBackend(t, func(x *testkit.Exchange) bool { x.Wait(patience); return false })
	r := newRig(t, saying("one")).start()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	source := pooling(silent) + "    health: {active: {interval: 1s, timeout: 1s}}\n"
	e := r.await(control.Applied, func() { // held up by the first probe
		if _, err := r.ctl.Apply(ctx, []byte(source), control.Origin{Kind: "api"}, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Apply: %v, want the caller's deadline", err)
		}
	})
	if e.Version != 2 {
		t.Errorf("event %+v", e)
	}
}
