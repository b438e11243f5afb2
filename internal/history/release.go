package history

import (
	"errors"
	"fmt"
)

// ErrReleased is returned for a change to a Store whose directory was given away.
var ErrReleased = errors.New("history: the directory was given to another process")

// Release gives the directory to the process that opens it next. What the Store
// knows can still be read; changes fail with ErrReleased until Reclaim.
func (s *Store) Release() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.lock == nil {
		return ErrReleased
	}
	err := s.lock.Close() // closing the descriptor gives the lock back
	s.lock = nil
	return err
}

// Reclaim takes the directory back and reads what the other process left in it.
// The error is ErrInUse as long as that one has it.
func (s *Store) Reclaim() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.lock != nil {
		return nil
	}
	lock, err := lockDir(s.dir)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	now := &Store{dir: s.dir, disk: s.disk}
	if err := now.load(); err != nil {
		_ = lock.Close()
		return fmt.Errorf("history: %w", err)
	}
	s.lock = lock
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.versions, s.state = max(s.next, now.next), now.versions, now.state
	s.damaged, s.wrecks = now.damaged, now.wrecks
	return nil
}
