package history

import (
	"fmt"
	"os"
)

// Verify reads every version that is kept once more and compares it with what is
// known of it: the hash of its bytes, and its metadata. It returns how many are
// right and an error for each that is not, those that Open left out included.
func (s *Store) Verify() (right int, wrong []error) {
	wrong = s.wreckage()
	for _, v := range s.List() {
		err := s.verify(v)
		if err == nil {
			right++
			continue
		}
		if _, kept := s.findLocked(v.Number); kept { // and not pruned in between
			wrong = append(wrong, fmt.Errorf("version %d is damaged: %w", v.Number, err))
		}
	}
	return right, wrong
}

// wreckage is the errors of damaged versions whose files are still there.
func (s *Store) wreckage() []error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []error
	for _, n := range s.wrecks {
		out = append(out, s.why[n])
	}
	return out
}

func (s *Store) verify(v Version) error {
	if _, err := readSource(s.dir, v); err != nil {
		return err
	}
	data, err := os.ReadFile(s.path(v.Number, metaExt))
	if err != nil {
		return err
	}
	w, err := parseVersion(v.Number, data)
	if err != nil {
		return fmt.Errorf("%s: %w", fileName(v.Number, metaExt), err)
	}
	if w.Hash != v.Hash || w.Size != v.Size {
		return fmt.Errorf("%s was changed: it is about other bytes, SHA-256 %s", fileName(v.Number, metaExt), w.Hash)
	}
	return nil
}
