package control_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/internal/control"
)

// inGit is a configuration that is committed.
func inGit(text string) string {
	return "history: {git: true}\n" + strings.TrimPrefix(saying(text), "\n")
}

// git asks the repository beside the configuration, as a person would.
func (r *rig) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = filepath.Join(filepath.Dir(r.path), ".weir")
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_CEILING_DIRECTORIES="+filepath.Dir(r.path))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return err.Error() + ": " + string(out)
	}
	return strings.TrimSpace(string(out))
}

// until waits for something that happens beside the changes.
func (r *rig) awaitUntil(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// untilSubjects waits until the log of the repository is this, newest first.
func (r *rig) untilSubjects(want ...string) {
	r.t.Helper()
	got := ""
	for end := time.Now().Add(patience); got != strings.Join(want, "\n"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("git log is\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
		got = r.git("log", "--format=%an: %s")
	}
}

func needGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
}

func TestHistoryInGit(t *testing.T) {
	needGit(t)
	// what the user likes is not asked: a hook that refuses, a signature, an editor
	hooks := t.TempDir()
	if err := os.WriteFile(filepath.Join(hooks, "reference-transaction"), []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(hooks, "config")
	if err := os.WriteFile(config, []byte("[core]\nhooksPath = "+hooks+"\n[commit]\ngpgSign = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CONFIG_GLOBAL", config)

	r := newRig(t, saying("off")).start()
	if _, err := os.Stat(filepath.Join(filepath.Dir(r.path), ".weir", ".git")); err == nil {
		t.Fatal("a repository that nobody asked for")
	}
	r.mustApply(inGit("one")) // what came before is committed as well
	first, second := "weir: version 1: start", "ada: version 2: api, ada"
	r.untilSubjects(second, first)
	r.mustApply(inGit("two"))
	third := "ada: version 3: api, ada"
	r.untilSubjects(third, second, first)

	r.freeze(time.Hour, "")
	r.apply(inGit("held")) // is not what runs
	r.thaw()
	r.mustRollback(0)
	fifth := "ada: version 5: rollback of 2, ada"
	r.untilSubjects(fifth, third, second, first)
	if got := r.git("show", "HEAD:weir.yaml"); got+"\n" != inGit("one") {
		t.Errorf("the newest is %q", got)
	}
	if got := r.git("diff", "--stat", "HEAD~1", "HEAD"); !strings.Contains(got, "weir.yaml") {
		t.Errorf("diff %s", got)
	}
	if blame := r.git("blame", "HEAD", "--", "weir.yaml"); strings.Count(blame, "\n") < 4 || strings.Contains(blame, "fatal") {
		t.Errorf("blame %s", blame)
	}
	r.awaitUntil("a clean work tree", func() bool { return r.git("status", "--porcelain") == "" })
	if fi, err := os.Stat(filepath.Join(filepath.Dir(r.path), ".weir", "weir.yaml")); err != nil || fi.Mode() != 0o600 {
		t.Errorf("weir.yaml: %v, %v", fi, err)
	}

	// Weir's own files cannot be committed by accident, and what others commit stays
	r.git("add", ".")
	if files := r.git("ls-files"); files != "weir.yaml" {
		t.Errorf("files %q", files)
	}
	readme := filepath.Join(filepath.Dir(r.path), ".weir", "README")
	if err := os.WriteFile(readme, []byte("ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.git("add", "-f", "README")
	r.git("-c", "user.name=ann", "-c", "user.email=ann@localhost", "commit", "-qm", "a word")

	// what was not committed is at the next start
	r.stop()
	r.write(inGit("three"))
	path := os.Getenv("PATH")
	t.Setenv("PATH", t.TempDir())
	r.start()
	r.awaitUntil("a warning", func() bool { return r.warned("history.git", "no git on this machine") })
	r.wantSaid(zap.ErrorLevel, "not committed to git")
	r.mustApply(inGit("four"))
	r.wantGet("200 four")
	r.stop()
	t.Setenv("PATH", path)
	r.start()
	r.untilSubjects("ada: version 7: api, ada", "weir: version 6: start", "ann: a word", fifth, third, second, first)
	if files := r.git("ls-tree", "--name-only", "HEAD"); files != "README\nweir.yaml" {
		t.Errorf("files %q", files)
	}
	if r.warned("history.git") {
		t.Errorf("warnings %q", r.ctl.Status().Warnings)
	}

	// an author that git would not take
	v, err := r.ctl.Apply(t.Context(), []byte(inGit("five")), control.Origin{Kind: "api", Author: "<>"}, 0)
	if err != nil || v.Result != control.Applied {
		t.Fatal(v, err)
	}
	r.awaitUntil("version 8", func() bool { return strings.HasPrefix(r.git("log", "-1", "--format=%an: %s"), "weir: version 8: ") })
}

// A git that hangs or fails delays no change and fails none.
func TestGitFails(t *testing.T) {
	bin := t.TempDir()
	fake := func(script string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(bin, "git.new"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(bin, "git.new"), filepath.Join(bin, "git")); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	started := filepath.Join(bin, "started")
	fake("touch " + started + "; exec sleep 1000")
	r := newRig(t, inGit("one")).start()
	r.awaitUntil("git at work", func() bool { _, err := os.Stat(started); return err == nil })
	r.mustApply(inGit("two"))
	r.wantGet("200 two")
	r.restart() // and it ends with Weir
	r.stop()

	fake("echo 'fatal: disk on fire' >&2; exit 128")
	r.start()
	r.awaitUntil("a warning", func() bool { return r.warned("history.git", "disk on fire") })
	r.mustApply(inGit("three"))
	r.wantGet("200 three")
	r.mustApply(saying("off"))
	r.awaitUntil("no warning", func() bool { return !r.warned("history.git") })
}
