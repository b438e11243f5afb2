package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// load reads the directory into s and removes what a crash left. Only an
// unreadable directory is an error.
func (s *Store) load() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	source, meta := make(map[int]bool), make(map[int]bool)
	for _, e := range entries {
		if temp, _ := filepath.Match(tempGlob, e.Name()); temp {
			s.disk.remove(filepath.Join(s.dir, e.Name()))
			continue
		}
		switch n, ext, ok := parseName(e.Name()); {
		case ok && ext == sourceExt:
			source[n] = true
		case ok:
			meta[n] = true
		}
	}
	s.loadVersions(slices.Sorted(maps.Keys(meta)))
	s.next = 1
	for n := range meta {
		s.next = max(s.next, n+1)
	}
	s.orphans(source, meta)
	s.loadState()
	return nil
}

// loadVersions reads and verifies the versions with metadata, in order.
func (s *Store) loadVersions(numbers []int) {
	for _, n := range numbers {
		v, err := s.loadVersion(n)
		if err != nil {
			s.wreck(n, err)
			continue
		}
		s.versions = append(s.versions, v)
	}
}

func (s *Store) loadVersion(n int) (Version, error) {
	data, err := os.ReadFile(s.path(n, metaExt))
	if err != nil {
		return Version{}, err
	}
	v, err := parseVersion(n, data)
	if err != nil {
		return Version{}, fmt.Errorf("%s: %w", fileName(n, metaExt), err)
	}
	_, err = readSource(s.dir, v)
	return v, err
}

func (s *Store) wreck(n int, err error) {
	s.why[n] = fmt.Errorf("version %d is damaged: %w", n, err)
	s.damaged = append(s.damaged, s.why[n])
	s.wrecks = append(s.wrecks, n)
}

// orphans deals with sources that have no metadata. Above all versions they
// are an Append that a crash cut short, below them a removal: nobody was
// promised these. In between, metadata was lost: the bytes stay, for a person.
func (s *Store) orphans(source, meta map[int]bool) {
	first := s.next
	for n := range meta {
		first = min(first, n)
	}
	for _, n := range slices.Sorted(maps.Keys(source)) {
		if meta[n] {
			continue
		}
		if n > first && n < s.next {
			s.wreck(n, fmt.Errorf("%s is missing", fileName(n, metaExt)))
			continue
		}
		if err := s.disk.remove(s.path(n, sourceExt)); err != nil {
			s.damaged = append(s.damaged, fmt.Errorf("left over by a crash: %w", err))
		}
	}
}

// loadState reads state.json; a missing one is the zero State.
func (s *Store) loadState() {
	data, err := os.ReadFile(filepath.Join(s.dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var st State
	if err == nil {
		err = json.Unmarshal(data, &st)
	}
	if err != nil {
		s.damaged = append(s.damaged, fmt.Errorf("%s is damaged, nothing counts as pinned, frozen or unconfirmed: %w", stateName, err))
		return
	}
	s.state = st
}
