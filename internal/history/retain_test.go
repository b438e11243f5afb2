package history_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/history"
)

// date makes version n be of that time, as a clock that was wrong would.
func date(t *testing.T, dir string, n string, at time.Time) {
	t.Helper()
	path := filepath.Join(dir, n+".json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	v["time"] = at
	if data, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMaxAge(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, 100)
	for _, source := range []string{"a", "b", "c", "d", "e"} {
		mustAppend(t, s, source)
	}
	if err := s.SetState(history.State{Running: 3}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, n := range []string{"000001", "000002", "000003", "000004"} {
		date(t, dir, n, time.Now().Add(-100*time.Hour))
	}
	s = mustOpen(t, dir, 100)
	s.Prune()
	s.SetMaxAge(0)
	s.Prune()
	if got := numbers(s.List()); got != "1 2 3 4 5" {
		t.Errorf("without an age: %q", got)
	}
	s.SetMaxAge(time.Hour)
	s.Prune()
	if got := numbers(s.List()); got != "2 3 4 5" {
		t.Errorf("kept %q, want what runs, the one before it, and the newest with the one before it", got)
	}
	mustAppend(t, s, "f")
	if got := numbers(s.List()); got != "2 3 5 6" {
		t.Errorf("kept %q", got)
	}
}

// A clock that is set back, or was far ahead, changes no number, no order and
// nothing of what is kept.
func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, 3)
	for _, source := range []string{"a", "b", "c"} {
		mustAppend(t, s, source)
	}
	if err := s.SetState(history.State{Running: 3}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	date(t, dir, "000001", time.Now().AddDate(30, 0, 0)) // the oldest is the newest by its time
	date(t, dir, "000002", time.Now().AddDate(20, 0, 0))
	date(t, dir, "000003", time.Now().AddDate(10, 0, 0))
	s = mustOpen(t, dir, 3)
	s.SetMaxAge(time.Hour)
	s.Prune()
	if got := numbers(s.List()); got != "1 2 3" {
		t.Errorf("versions %q", got)
	}
	if v, ok := history.Before(s.List(), s.List()[2]); !ok || v.Number != 2 {
		t.Errorf("before 3 is %+v", v)
	}
	if v := mustAppend(t, s, "d"); v.Number != 4 {
		t.Errorf("the next one is %d", v.Number)
	}
	if got := numbers(s.List()); got != "2 3 4" {
		t.Errorf("versions %q", got)
	}
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, 10)
	for _, source := range []string{"one\n", "two\n", "three\n", "four\n", "five\n", "six\n"} {
		mustAppend(t, s, source)
	}
	if right, wrong := s.Verify(); right != 6 || len(wrong) != 0 {
		t.Errorf("%d right, %v", right, wrong)
	}
	s.Close()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("000001.yaml", "eno\n") // before the start
	s = mustOpen(t, dir, 10)
	write("000002.yaml", "owt\n") // and since
	write("000003.json", "{")
	four, err := os.ReadFile(filepath.Join(dir, "000004.json"))
	if err != nil {
		t.Fatal(err)
	}
	write("000004.json", strings.Replace(string(four), `"hash": "`+history.Hash([]byte("four\n")), `"hash": "`+history.Hash([]byte("eno\n")), 1))
	if err := os.Remove(filepath.Join(dir, "000005.yaml")); err != nil {
		t.Fatal(err)
	}
	right, wrong := s.Verify()
	if right != 1 || len(wrong) != 5 {
		t.Fatalf("%d right, %v", right, wrong)
	}
	for i, want := range []string{
		"version 1 is damaged: 000001.yaml was changed since it was recorded", "version 2 is damaged: 000002.yaml was changed",
		"version 3 is damaged: 000003.json: unexpected end", "version 4 is damaged: 000004.json was changed: it is about other bytes",
		"version 5 is damaged: open ",
	} {
		if !strings.HasPrefix(wrong[i].Error(), want) {
			t.Errorf("got %v, want %s…", wrong[i], want)
		}
	}
	if _, _, err := s.Get(2); err == nil {
		t.Error("what was changed is handed out")
	}
}

// What is held or tried is there after a restart.
func TestVerdictsSurvive(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, 10)
	for _, verdict := range []string{history.Applied, history.RolledBack, history.Held, history.Staged, history.Staged} {
		if _, err := s.Append(history.Version{Verdict: verdict}, []byte(verdict)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Mark(5, history.RolledBack, ""); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = mustOpen(t, dir, 10)
	if len(s.Damaged()) > 0 || len(s.List()) != 5 {
		t.Fatalf("%v, %v", s.Damaged(), s.List())
	}
	for i, ran := range []bool{true, true, false, false, false} {
		if v := s.List()[i]; v.Ran() != ran {
			t.Errorf("ran: %v, of %+v", v.Ran(), v)
		}
	}
}
