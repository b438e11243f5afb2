package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// KeepOnce returns what is kept as name beside the versions. If there is nothing
// yet it keeps data: durable when it returns nil, and readable by the owner only.
// What somebody else has put there is returned as it is.
func (s *Store) KeepOnce(name string, data []byte) ([]byte, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.lock == nil {
		return nil, ErrReleased
	}
	kept, err := s.Kept(name)
	if errors.Is(err, fs.ErrNotExist) {
		return data, s.put(name, data)
	}
	return kept, err
}

// Keep makes data what is kept as name beside the versions, all or nothing:
// durable when it returns nil, and readable by the owner only.
func (s *Store) Keep(name string, data []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.put(name, data)
}

// Kept returns what is kept as name, or fs.ErrNotExist.
func (s *Store) Kept(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return nil, fmt.Errorf("history: read %s: %w", name, err)
	}
	return data, nil
}

func (s *Store) put(name string, data []byte) error {
	if s.lock == nil {
		return ErrReleased
	}
	if _, err := s.disk.put(filepath.Join(s.dir, name), data); err != nil {
		return fmt.Errorf("history: keep %s: %w", name, err)
	}
	return nil
}
