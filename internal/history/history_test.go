package history_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/history"
)

func mustOpen(t *testing.T, dir string, keep int) *history.Store {
	t.Helper()
	s, err := history.Open(dir, keep)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustAppend(t *testing.T, s *history.Store, source string) history.Version {
	t.Helper()
	v, err := s.Append(history.Version{Origin: "file"}, []byte(source))
	if err != nil {
		t.Fatalf("Append(%q): %v", source, err)
	}
	return v
}

// numbers renders a list like "1 2 4".
func numbers(versions []history.Version) string {
	var b []string
	for _, v := range versions {
		b = append(b, fmt.Sprint(v.Number))
	}
	return strings.Join(b, " ")
}

func TestVersionsSurviveReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "history")
	s := mustOpen(t, dir, 10)
	before := time.Now().Add(-time.Second)
	first, err := s.Append(history.Version{Origin: "api", Author: "ada", Note: "first"}, []byte("a: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if first.Number != 1 || first.Size != 5 || first.Hash != history.Hash([]byte("a: 1\n")) ||
		first.Verdict != history.Applied || first.Time.Before(before) {
		t.Errorf("Append returned %+v", first)
	}
	mustAppend(t, s, "a: 2\n")
	state := history.State{Running: 2, Pinned: true, FileHash: "x", Since: time.Now(), Reason: "because"}
	if err := s.SetState(state); err != nil {
		t.Fatal(err)
	}
	if err := s.Mark(2, history.RolledBack, "5xx 1 % -> 40 %"); err != nil {
		t.Fatal(err)
	}
	s.Close()

	s = mustOpen(t, dir, 10)
	v, source, err := s.Get(1)
	if err != nil || string(source) != "a: 1\n" || v != first {
		t.Errorf("Get(1) = %+v, %q, %v, want %+v", v, source, err, first)
	}
	v, _, err = s.Get(2)
	if err != nil || v.Verdict != history.RolledBack || v.Note != "5xx 1 % -> 40 %" {
		t.Errorf("Get(2) = %+v, %v: the mark is lost", v, err)
	}
	if got := s.State(); got.Running != 2 || !got.Pinned || !got.Since.Equal(state.Since) || got.Reason != "because" {
		t.Errorf("State() = %+v, want %+v", got, state)
	}
	if d := s.Damaged(); len(d) != 0 {
		t.Errorf("Damaged() = %v", d)
	}
	if v := mustAppend(t, s, "a: 3\n"); v.Number != 3 {
		t.Errorf("the next version is %d, want 3", v.Number)
	}
}

func TestFilesArePrivateAndReadable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	s := mustOpen(t, dir, 10)
	mustAppend(t, s, "a: 1\n")
	if err := s.SetState(history.State{Running: 1}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		fi, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", e.Name(), fi.Mode().Perm())
		}
	}
	if want := []string{"000001.json", "000001.yaml", "lock", "state.json"}; !slices.Equal(names, want) {
		t.Errorf("the directory holds %v, want %v", names, want)
	}
	if fi, _ := os.Stat(dir); fi.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, want 0700", fi.Mode().Perm())
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "000001.yaml")); string(b) != "a: 1\n" {
		t.Errorf("000001.yaml holds %q", b)
	}
}

func TestUnknownVersion(t *testing.T) {
	s := mustOpen(t, t.TempDir(), 10)
	if _, _, err := s.Get(7); !errors.Is(err, history.ErrNotFound) || !strings.Contains(err.Error(), "7") {
		t.Errorf("Get(7) = %v, want ErrNotFound that names 7", err)
	}
	if err := s.Mark(7, history.Applied, ""); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("Mark(7) = %v, want ErrNotFound", err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, 10)
	_, err := history.Open(dir, 10)
	if !errors.Is(err, history.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second Open: %v, want ErrInUse that names process %d", err, os.Getpid())
	}
	s.Close()
	mustOpen(t, dir, 10)
}

func TestPlaceIsNotADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := history.Open(file, 1); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("Open(a file) = %v", err)
	}
}

func TestPrune(t *testing.T) {
	f := func(keep, running int, sources []string, want string) {
		t.Helper()
		dir := t.TempDir()
		s := mustOpen(t, dir, keep)
		for i, source := range sources {
			if i+1 == len(sources) {
				if err := s.SetState(history.State{Running: running}); err != nil {
					t.Fatal(err)
				}
			}
			mustAppend(t, s, source)
		}
		if got := numbers(s.List()); got != want {
			t.Errorf("keep %d, running %d, %v: kept %q, want %q", keep, running, sources, got, want)
		}
		s.Close()
		s = mustOpen(t, dir, keep)
		if got := numbers(s.List()); got != want || len(s.Damaged()) != 0 {
			t.Errorf("keep %d: after reopening %q (%v), want %q", keep, got, s.Damaged(), want)
		}
	}
	// fewer than keep: all stay
	f(5, 1, []string{"a", "b", "c"}, "1 2 3")

	// nothing runs yet: the newest stay
	f(2, 0, []string{"a", "b", "c", "d"}, "3 4")

	// the running one and the one before it stay, whatever keep says
	f(1, 3, []string{"a", "b", "c", "d"}, "2 3 4")
	f(0, 4, []string{"a", "b", "c", "d", "e"}, "3 4 5")

	// the one before it is the one with other bytes: where a rollback leads
	f(3, 3, []string{"a", "b", "b", "b"}, "1 2 3 4")
}

func TestPruneKeepsWhereARollbackLeads(t *testing.T) {
	s := mustOpen(t, t.TempDir(), 100)
	for _, source := range []string{"a", "b", "b", "b", "c", "d"} {
		mustAppend(t, s, source)
	}
	if err := s.SetState(history.State{Running: 4}); err != nil {
		t.Fatal(err)
	}
	s.SetKeep(2)
	mustAppend(t, s, "e")
	if got := numbers(s.List()); got != "1 4 6 7" {
		t.Errorf("kept %q, want 4, which runs, 1, which has other bytes, and the newest two", got)
	}
}

func TestOpenAfterDamage(t *testing.T) {
	f := func(name string, damage func(dir string), kept, damaged string, next int) {
		t.Helper()
		dir := t.TempDir()
		s := mustOpen(t, dir, 10)
		for _, source := range []string{"one\n", "two\n", "three\n"} {
			mustAppend(t, s, source)
		}
		if err := s.SetState(history.State{Running: 3, Pinned: true}); err != nil {
			t.Fatal(err)
		}
		s.Close()
		damage(dir)
		s = mustOpen(t, dir, 10)
		if got := numbers(s.List()); got != kept {
			t.Errorf("%s: versions %q, want %q", name, got, kept)
		}
		if got := fmt.Sprint(errors.Join(s.Damaged()...)); !strings.Contains(got, damaged) || damaged == "" && len(s.Damaged()) != 0 {
			t.Errorf("%s: damaged: %s\nwant: %s", name, got, damaged)
		}
		if v := mustAppend(t, s, "next\n"); v.Number != next {
			t.Errorf("%s: the next version is %d, want %d", name, v.Number, next)
		}
		left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*"))
		if len(left) != 0 {
			t.Errorf("%s: %v stayed", name, left)
		}
	}
	put := func(name, content string) func(string) {
		return func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	drop := func(name string) func(string) {
		return func(dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	f("nothing", func(string) {}, "1 2 3", "", 4)

	// what a crash leaves: temporary files, and a source without its metadata
	f("temporary file", put(".tmp-123", "thr"), "1 2 3", "", 4)
	f("cut short", put("000004.yaml", "four\n"), "1 2 3", "", 4)
	f("removal cut short", drop("000001.json"), "2 3", "", 4)

	// what a disk or a person does
	f("edited source", put("000002.yaml", "owt\n"), "1 3", "version 2 is damaged: 000002.yaml was changed", 4)
	f("truncated source", put("000003.yaml", "t"), "1 2", "000003.yaml has 1 bytes, recorded were 6", 4)
	f("lost source", drop("000003.yaml"), "1 2", "version 3 is damaged: open", 4)
	f("lost metadata", drop("000002.json"), "1 3", "version 2 is damaged: 000002.json is missing", 4)
	f("empty metadata", put("000003.json", ""), "1 2", "version 3 is damaged: 000003.json", 4)
	f("wrong number", put("000003.json", `{"number":2}`), "1 2", "it says it is version 2", 4)
	f("state", put("state.json", "{"), "1 2 3", "state.json is damaged", 4)

	// files of somebody else are left alone
	f("foreign files", put("notes.yaml", "x"), "1 2 3", "", 4)
	f("unpadded number", put("4.yaml", "x"), "1 2 3", "", 4)
}

func TestDamagedVersionsArePrunedToo(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, 2)
	mustAppend(t, s, "one")
	mustAppend(t, s, "two")
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "000001.yaml"), []byte("owt"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, 2)
	mustAppend(t, s, "three")
	if _, err := os.Stat(filepath.Join(dir, "000001.yaml")); err == nil {
		t.Error("the damaged version stays for ever")
	}
}

func TestManyCallers(t *testing.T) {
	s := mustOpen(t, t.TempDir(), 5)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 10 {
				source := fmt.Appendf(nil, "%d %d", i, j)
				v, err := s.Append(history.Version{}, source)
				if err != nil {
					t.Errorf("Append: %v", err)
					return
				}
				_, got, err := s.Get(v.Number)
				if err != nil && !errors.Is(err, history.ErrNotFound) { // pruned by the others
					t.Errorf("Get(%d): %v", v.Number, err)
				}
				if err == nil && !bytes.Equal(got, source) {
					t.Errorf("Get(%d) = %q, want %q", v.Number, got, source)
				}
				if err := s.SetState(history.State{Running: v.Number}); err != nil {
					t.Error(err)
				}
				s.List()
			}
		})
	}
	wg.Wait()
	list := s.List()
	if last := list[len(list)-1].Number; last != 40 {
		t.Errorf("the last version is %d, want 40", last)
	}
}
