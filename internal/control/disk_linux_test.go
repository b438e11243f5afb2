package control_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/internal/control"
	"weir/internal/history"
	"weir/internal/testkit"
	"weir/pool"
)

// onDisk makes a rig whose history is on a small file system of its own.
func onDisk(t *testing.T, config func(dir string) string) (r *rig, disk string) {
	t.Helper()
	disk = t.TempDir()
	if err := syscall.Mount("weir", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small file system needs root: mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return newRig(t, config(filepath.Join(disk, "history"))), disk
}

// kept is the bytes of all versions, by number.
func (r *rig) kept() map[int]string {
	r.t.Helper()
	out := make(map[int]string)
	for _, v := range r.ctl.Versions() {
		if _, source, err := r.ctl.Version(v.Number); err == nil {
			out[v.Number] = string(source)
		}
	}
	return out
}

// wantKept checks that what was there is there.
func (r *rig) wantKept(before map[int]string) {
	r.t.Helper()
	now := r.kept()
	for n, source := range before {
		if now[n] != source {
			r.t.Errorf("version %d is %q, was %q", n, now[n], source)
		}
	}
	if right, damaged := r.ctl.VerifyHistory(); len(damaged) > 0 || right != len(r.ctl.Versions()) {
		r.t.Errorf("%d versions verified, %q", right, damaged)
	}
}

// unwritable is a history that cannot be written for a while: traffic goes on,
// what was asked is refused with the reason, or counts and is said not to be
// recorded; nothing is lost, and a restart runs what ran.
func unwritable(t *testing.T, cause string, spoil, mend func(disk string)) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	var dir string
	text := func(more string) string {
		return "history: {dir: " + dir + "}\n" + strings.TrimPrefix(pooling(a, b), "\n") + more
	}
	r, disk := onDisk(t, func(d string) string { dir = d; return text("") })
	r.start()
	r.mustApply(text("# two\n"))
	r.drain(a, control.Lasting{})
	before := r.kept()

	spoil(disk)
	r.wantGet("200 b")
	if v := r.apply(text("# three\n")); v.Result != control.Failed || !strings.Contains(v.Message, cause) {
		t.Errorf("apply: %+v", v)
	}
	if v, err := r.ctl.Rollback(t.Context(), 0, ada); err != nil || v.Result != control.Failed {
		t.Errorf("rollback: %+v, %v", v, err)
	}
	if _, err := r.ctl.Freeze(t.Context(), time.Hour, "", ada); err == nil || !strings.Contains(err.Error(), cause) {
		t.Errorf("freeze: %v", err)
	}
	r.edit(text("# file\n"), control.Failed)
	if f := r.ctl.Status().File; f.State != control.Rejected || !strings.Contains(f.Message, cause) {
		t.Errorf("file %+v", f)
	}
	if err := r.ctl.Mark("api", a.Addr(), pool.Ready, ada); err != nil {
		t.Errorf("ready: %v", err)
	}
	r.drain(b, control.Lasting{})
	r.wantGet("200 a")
	if !r.warned("a restart forgets it", cause) {
		t.Errorf("warnings %q", r.ctl.Status().Warnings)
	}
	r.wantSaid(zap.ErrorLevel, "could not be put in force", cause)
	r.wantKept(before)
	if n, _ := r.ctl.Config(); n != 2 {
		t.Errorf("version %d runs", n)
	}

	// a start runs what ran, though the file is another and cannot be recorded
	r.restart()
	r.wantGet("200 b") // as was recorded
	if n, _ := r.ctl.Config(); n != 2 || !r.warned("was rejected") || !strings.Contains(r.ctl.Status().File.Message, cause) {
		t.Errorf("version %d runs, warnings %q, file %+v", n, r.ctl.Status().Warnings, r.ctl.Status().File)
	}
	r.wantKept(before)

	mend(disk)
	r.await(control.Applied, func() { r.ctl.Kick() }) // the file is as it was: SIGHUP reads it again
	if n, _ := r.ctl.Config(); n != 3 {
		t.Errorf("version %d runs", n)
	}
	r.freeze(time.Hour, "")
	r.thaw()
	r.mustRollback(0)
	r.wantKept(before)
}

func TestFullDisk(t *testing.T) {
	unwritable(t, "no space left", func(disk string) {
		f, err := os.Create(filepath.Join(disk, "ballast"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 512))
		}
	}, func(disk string) {
		if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadOnlyDisk(t *testing.T) {
	again := func(flags uintptr) func(string) {
		return func(disk string) {
			if err := syscall.Mount("weir", disk, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
				t.Skipf("the file system cannot be made read-only: %v", err)
			}
		}
	}
	unwritable(t, "read-only file system", again(syscall.MS_RDONLY), func(disk string) {
		again(0)(disk)
	})
}

// A clock that was ahead when versions were made decides nothing: numbers do.
func TestClockSetBack(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.mustApply(saying("two"))
	r.mustApply(saying("three"))
	dir := r.ctl.Status().History.Dir
	r.stop()
	for i, name := range []string{"000001.json", "000002.json"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().UTC().Format("2006-")
		text := strings.Replace(string(data), `"time": "`+at, `"time": "20`+[]string{"90", "80"}[i]+"-", 1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	r.wantGet("200 three")
	if v := r.mustApply(saying("four")); v.Version != 4 {
		t.Errorf("version %d", v.Version)
	}
	r.mustRollback(0)
	r.wantGet("200 three")
	for i, v := range r.ctl.Versions() {
		if v.Number != i+1 || v.Verdict != history.Applied && v.Number != 4 {
			t.Errorf("versions %+v", r.ctl.Versions())
		}
	}
}

// Versions that are damaged or gone are named, and the others run.
func TestDamagedVersions(t *testing.T) {
	r := newRig(t, saying("one")).start()
	r.mustApply(saying("two"))
	r.mustApply(saying("three"))
	dir := r.ctl.Status().History.Dir
	if err := os.WriteFile(filepath.Join(dir, "000002.yaml"), []byte("eno"), 0o600); err != nil {
		t.Fatal(err)
	}
	if right, damaged := r.ctl.VerifyHistory(); right != 2 || len(damaged) != 1 || !strings.Contains(damaged[0], "version 2 is damaged") {
		t.Errorf("%d verified, %q", right, damaged)
	}
	if v, err := r.ctl.Rollback(t.Context(), 2, ada); err != nil || v.Result != control.Failed {
		t.Errorf("rollback to it: %+v, %v", v, err)
	}
	r.wantGet("200 three")
	r.stop()
	if err := os.Remove(filepath.Join(dir, "000003.yaml")); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantGet("200 one")
	if !r.warned("version 2 is damaged", "version 3 is damaged") {
		t.Errorf("warnings %q", r.ctl.Status().Warnings)
	}
	if v := r.mustApply(saying("four")); v.Version != 4 {
		t.Errorf("version %d", v.Version)
	}
}
