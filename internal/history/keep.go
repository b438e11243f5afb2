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
	path := filepath.Join(s.dir, name)
	kept, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		kept = data
		_, err = s.disk.put(path, data)
	}
	if err != nil {
		return nil, fmt.Errorf("history: keep %s: %w", name, err)
	}
	return kept, nil
}
