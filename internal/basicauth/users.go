// Package basicauth verifies names and passwords as browsers send them (RFC
// 7617) against a file of bcrypt hashes, without ever holding up an event loop:
// what was verified a while ago is known at once, the rest is hashed by whoever
// can wait.
//
// It does not know requests or routes, nor what follows from a refusal.
package basicauth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/crypto/bcrypt"
)

// Bounds of a file.
const (
	maxFile = 1 << 20 // bytes: some ten thousand users
	minCost = bcrypt.MinCost
	maxCost = 16 // takes seconds already
)

// Users is the content of a file. It does not change.
type Users struct {
	hashes map[string]string
	dummy  []byte // compared with for names that are not there, as costly as the costliest
}

// Load reads a file of lines "name:hash", the hashes as `htpasswd -B` makes
// them. Empty lines, and those that begin with #, say nothing. Errors name the
// file and the line and quote nothing but a name.
func Load(path string) (*Users, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(src) > maxFile:
		return nil, fmt.Errorf("%s: more than %d bytes; is this the right file?", path, maxFile)
	}
	u, err := parse(src)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return u, nil
}

// parse reads a file's content. Its errors begin with the line's number.
func parse(src []byte) (*Users, error) {
	u := &Users{hashes: make(map[string]string)}
	highest, number := 0, 0
	for line := range bytes.Lines(src) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		cost, err := u.add(line)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", number, err)
		}
		highest = max(highest, cost)
	}
	if len(u.hashes) == 0 {
		return nil, errors.New("1: there is no user; make one with: htpasswd -B -c FILE NAME")
	}
	// Any salt and any digest do: no password leads to this one.
	u.dummy = fmt.Appendf(nil, "$2a$%02d$%s", highest, "......................0123456789abcdefghijklmnopqrst.")
	return u, nil
}

func (u *Users) add(line []byte) (cost int, err error) {
	name, hash, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(name) == 0 {
		return 0, errors.New("a line is name:hash")
	}
	if _, dup := u.hashes[string(name)]; dup {
		return 0, fmt.Errorf("%q is there twice", name)
	}
	cost, err = bcrypt.Cost(hash)
	switch {
	case err != nil || len(hash) != hashLen || bytes.IndexByte([]byte("aby"), hash[2]) < 0:
		return 0, fmt.Errorf("the hash of %q is not bcrypt; make it with: htpasswd -B FILE %s", name, name)
	case cost < minCost || cost > maxCost:
		return 0, fmt.Errorf("the hash of %q has cost %d; it must be between %d and %d", name, cost, minCost, maxCost)
	}
	u.hashes[string(name)] = string(hash)
	return cost, nil
}

// hashLen is the length of a bcrypt hash: $2y$10$, the salt and the digest.
const hashLen = 60

// maxPassword is as much of a password as bcrypt looks at, in bytes.
const maxPassword = 72

// verify reports whether the password is the user's. It takes as long for a name
// that is not there.
func (u *Users) verify(name string, password []byte) bool {
	hash, ok := u.hashes[name]
	if !ok {
		hash = string(u.dummy)
	}
	right := bcrypt.CompareHashAndPassword([]byte(hash), password) == nil
	return ok && right
}
