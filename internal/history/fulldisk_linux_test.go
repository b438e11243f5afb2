package history_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"weir/internal/history"
)

// TestFullDisk fills a real file system, several times over.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("weir", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small file system needs root: mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	dir := filepath.Join(disk, "history")
	s, err := history.Open(dir, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var want []history.Version
	last := 0
	for round := range 5 {
		if err := os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, 64<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		var full error
		for i := 0; full == nil; i++ {
			var v history.Version
			v, full = s.Append(history.Version{}, bytes.Repeat([]byte{'a' + byte(round)}, 1000+i*997))
			if full == nil {
				want = append(want, v)
			}
		}
		if !errors.Is(full, syscall.ENOSPC) {
			t.Fatalf("Append = %v, want a full disk", full)
		}
		s.SetState(history.State{Running: 1}) // may find room or not
		s.Mark(1, history.Applied, "note")
		// a restart with the disk still full
		s.Close()
		if s, err = history.Open(dir, 1000); err != nil {
			t.Fatalf("Open with a full disk: %v", err)
		}
		if got := numbers(s.List()); got != numbers(want) || len(s.Damaged()) != 0 {
			t.Fatalf("versions %s, %v, want %s", got, s.Damaged(), numbers(want))
		}
		// room again
		os.Remove(filepath.Join(disk, "ballast"))
		v, err := s.Append(history.Version{}, []byte("small"))
		if err != nil || v.Number <= last {
			t.Fatalf("Append with room again: version %d, %v", v.Number, err)
		}
		last = v.Number
		s.SetKeep(2)
		if _, err = s.Append(history.Version{}, []byte("smaller")); err != nil {
			t.Fatal(err)
		}
		want = s.List()
		s.SetKeep(1000)
	}
	s.Close()
}
