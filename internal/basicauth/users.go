package basicauth

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	maxFile     = 1 << 20 // bytes: some 12,000 users
	maxProblems = 10      // of a file that are told at once
	hashLen     = 60      // characters of a bcrypt hash: $2y$, cost, $, salt (22), hash (31)
	prefixLen   = 7       // of them before the salt

	// The bounds of a hash's cost: each step doubles the time. 4 is bcrypt's own
	// least; a check at 16 takes seconds.
	minCost = 4
	maxCost = 16
)

// Users is a file of users as it was read. It never changes.
type Users struct {
	byName map[string]*user
	nobody *user // what those are compared with who are not in the file
}

type user struct {
	name string
	hash []byte
}

// Load reads a file of users: lines of name:hash, as htpasswd -B writes them, with
// bcrypt hashes ($2a$, $2b$ or $2y$) of a cost from 4 to 16; blank lines and those
// that begin with # are skipped. It must be a regular file of at most 1 MiB.
//
// The error names all that is wrong, ten problems at most, with file and line,
// and shows names but never hashes.
func Load(path string) (*Users, error) {
	users, _, err := load(path)
	return users, err
}

// load is Load, and says what the file was like that it read: nil if it could
// not, which may be different in a moment.
func load(path string) (*Users, os.FileInfo, error) {
	data, info, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	users, err := parse(path, data)
	return users, info, err
}

func read(path string) ([]byte, os.FileInfo, error) {
	// Before opening: that of a named pipe would wait for a writer.
	if info, err := os.Stat(path); err != nil {
		return nil, nil, err
	} else if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	return data, info, err
}

// parse reads the lines of a file called path.
func parse(path string, data []byte) (*Users, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than 1 MiB: is this a file of users?", path)
	}
	users := &Users{byName: make(map[string]*user)}
	lines := make(map[string]int) // where a name is
	costliest, number := 0, 0
	var problems []error
	for line := range bytes.Lines(data) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		u, cost, err := parseLine(line)
		if err == nil && lines[u.name] != 0 {
			err = fmt.Errorf("%q is already on line %d; remove one of the two", u.name, lines[u.name])
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %w", path, number, err))
			continue
		}
		users.byName[u.name], lines[u.name] = u, number
		costliest = max(costliest, cost)
	}
	if len(problems) > 0 {
		return nil, join(path, problems)
	}
	if len(users.byName) == 0 {
		return nil, fmt.Errorf("%s: no users; add one with htpasswd -B %s NAME", path, path)
	}
	users.nobody = &user{hash: dummy(costliest)}
	return users, nil
}

func join(path string, problems []error) error {
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems], fmt.Errorf("%s: and %d more lines", path, more))
	}
	return errors.Join(problems...)
}

// parseLine reads name:hash. What it says shows nothing that could be a hash or
// a password.
func parseLine(line []byte) (u *user, cost int, err error) {
	name, hash, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(name) == 0 || name[0] == '$' {
		return nil, 0, errors.New("want name:hash, as htpasswd -B writes it")
	}
	if len(name) > maxName || !isPrintable(name) {
		return nil, 0, fmt.Errorf("the name is longer than %d bytes or has control characters", maxName)
	}
	if !isBcrypt(hash) {
		return nil, 0, fmt.Errorf("the hash of %q is not bcrypt; make it with htpasswd -B", name)
	}
	if !isComplete(hash) {
		return nil, 0, fmt.Errorf("the hash of %q is damaged: bcrypt's has %d characters; make it again with htpasswd -B",
			name, hashLen)
	}
	cost = int(hash[4]-'0')*10 + int(hash[5]-'0')
	if cost < minCost || cost > maxCost {
		return nil, 0, fmt.Errorf("the hash of %q has cost %d, want %d to %d; make it again with htpasswd -B -C 10",
			name, cost, minCost, maxCost)
	}
	return &user{name: string(name), hash: bytes.Clone(hash)}, cost, nil
}

// isBcrypt looks at the prefix alone. $2x$ marks hashes of an implementation that
// had errors; those cannot be checked.
func isBcrypt(hash []byte) bool {
	return len(hash) >= 4 && hash[0] == '$' && hash[1] == '2' && hash[3] == '$' &&
		(hash[2] == 'a' || hash[2] == 'b' || hash[2] == 'y')
}

func isComplete(hash []byte) bool {
	if len(hash) != hashLen || !isDigit(hash[4]) || !isDigit(hash[5]) || hash[6] != '$' {
		return false
	}
	for _, c := range hash[prefixLen:] {
		if bytes.IndexByte([]byte(alphabet), c) < 0 {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// alphabet is what bcrypt writes hashes with.
const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// dummy makes a hash of no password in particular. Comparing with it costs what a
// real hash of that cost does.
func dummy(cost int) []byte {
	hash := fmt.Appendf(nil, "$2b$%02d$", cost)
	random := make([]byte, hashLen-prefixLen)
	rand.Read(random) // never fails
	for _, c := range random {
		hash = append(hash, alphabet[c%64])
	}
	return hash
}

// Len is the number of users.
func (u *Users) Len() int { return len(u.byName) }

// find never comes back with nothing: who is unknown gets the hash of nobody.
func (u *Users) find(name []byte) *user {
	if found, ok := u.byName[string(name)]; ok {
		return found
	}
	return u.nobody
}
