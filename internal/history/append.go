package history

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"
)

// Hash is how versions identify source: SHA-256, in hex.
func Hash(source []byte) string {
	sum := sha256.Sum256(source)
	return hex.EncodeToString(sum[:])
}

// Append records source as the next version and returns v completed with
// Number, Hash, Time and Size. When it returns without an error, the version
// survives a crash of the machine; when it returns with one, there is no such
// version, and its number is not used again if anybody could have seen it.
// Old versions beyond the number to keep are removed.
func (s *Store) Append(v Version, source []byte) (Version, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.lock == nil {
		return Version{}, ErrReleased
	}
	v.Number = s.nextNumber()
	v.Hash, v.Size = Hash(source), len(source)
	v.Time = time.Now().UTC().Truncate(time.Millisecond)
	if v.Verdict == "" {
		v.Verdict = Applied
	}
	if err := s.record(v, source); err != nil {
		return Version{}, fmt.Errorf("history: record version %d: %w", v.Number, err)
	}
	s.mu.Lock()
	s.versions = append(s.versions, v)
	s.next = v.Number + 1
	s.mu.Unlock()
	s.prune(v.Time)
	return v, nil
}

func (s *Store) nextNumber() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.next
}

// record writes both halves of v, the metadata last. The caller holds writing.
func (s *Store) record(v Version, source []byte) error {
	meta, err := encode(v)
	if err != nil {
		return err
	}
	yaml, json := s.path(v.Number, sourceExt), s.path(v.Number, metaExt)
	if _, err := s.disk.put(yaml, source); err != nil {
		s.disk.remove(yaml) // a crash here is no worse: Open removes it too
		return err
	}
	visible, err := s.disk.put(json, meta)
	if err == nil {
		return nil
	}
	s.disk.remove(json) // before its other half, or the version would look damaged
	s.disk.remove(yaml)
	if visible {
		s.mu.Lock()
		s.next = v.Number + 1
		s.mu.Unlock()
	}
	return err
}

// Mark replaces the verdict and the note of version n, durably.
func (s *Store) Mark(n int, verdict, note string) error {
	return s.amend(n, func(v *Version) {
		v.Tried = v.Verdict == Staged && verdict == RolledBack || v.Tried
		v.Verdict, v.Note = verdict, note
	})
}

// Judge adds to version n what it did to traffic, durably.
func (s *Store) Judge(n int, g Guard) error {
	return s.amend(n, func(v *Version) { v.Guard = &g })
}

// amend changes what is known of version n.
func (s *Store) amend(n int, change func(*Version)) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.lock == nil {
		return ErrReleased
	}
	s.mu.RLock()
	i, ok := s.find(n)
	var v Version
	if ok {
		v = s.versions[i]
	}
	s.mu.RUnlock()
	if !ok {
		return fmt.Errorf("version %d: %w", n, ErrNotFound)
	}
	change(&v)
	meta, err := encode(v)
	if err != nil {
		return fmt.Errorf("history: mark version %d: %w", n, err)
	}
	if _, err := s.disk.put(s.path(n, metaExt), meta); err != nil {
		return fmt.Errorf("history: mark version %d: %w", n, err)
	}
	s.mu.Lock()
	s.versions[i] = v // writing is held: nobody moved it
	s.mu.Unlock()
	return nil
}

func (s *Store) path(n int, ext string) string {
	return filepath.Join(s.dir, fileName(n, ext))
}
