//go:build !linux

package loop

import "errors"

// Dup is for Linux.
func (ln *Listener) Dup() (int, error) { return -1, errors.ErrUnsupported }

// Dup is for Linux.
func (r Resting) Dup() (Resting, error) { return r, errors.ErrUnsupported }

func (ln *Listener) portable() bool { return true }
func (c *Conn) forgetEvents()       {}
func closeFD(int)                   {}
