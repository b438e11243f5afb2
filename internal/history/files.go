package history

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	sourceExt = ".yaml"
	metaExt   = ".json"
	stateName = "state.json"
	lockName  = "lock"
	tempGlob  = ".tmp-*" // names of files before their rename
	dirMode   = 0o700    // configurations hold addresses and tokens' paths: the owner's business
	fileMode  = 0o600
	maxNumber = 1e9 // a file with a longer name is not ours
)

func fileName(n int, ext string) string { return fmt.Sprintf("%06d%s", n, ext) }

// parseName is the inverse of fileName; ok is false for any other file.
func parseName(name string) (n int, ext string, ok bool) {
	ext = filepath.Ext(name)
	if ext != sourceExt && ext != metaExt {
		return 0, "", false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(name, ext))
	if err != nil || n < 1 || n > maxNumber || fileName(n, ext) != name {
		return 0, "", false
	}
	return n, ext, true
}

func encode(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// parseVersion reads the metadata of version n and checks that it can be of
// that version. Keys that it does not know are of a later Weir, and ignored.
func parseVersion(n int, data []byte) (Version, error) {
	var v Version
	if err := json.Unmarshal(data, &v); err != nil {
		return Version{}, err
	}
	sum, err := hex.DecodeString(v.Hash)
	switch {
	case v.Number != n:
		return Version{}, fmt.Errorf("it says it is version %d", v.Number)
	case err != nil || len(sum) != 32 || strings.ToLower(v.Hash) != v.Hash:
		return Version{}, fmt.Errorf("hash %q is not a SHA-256 in lower-case hex", v.Hash)
	case v.Size < 0:
		return Version{}, fmt.Errorf("size %d is negative", v.Size)
	case !slices.Contains(verdicts, v.Verdict):
		return Version{}, fmt.Errorf("verdict %q is none of %q", v.Verdict, verdicts)
	case v.RollbackOf < 0 || v.RollbackOf >= n:
		return Version{}, fmt.Errorf("rollback of version %d, which is not older", v.RollbackOf)
	}
	return v, nil
}

// readSource reads the source of v and verifies it.
func readSource(dir string, v Version) ([]byte, error) {
	name := fileName(v.Number, sourceExt)
	source, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if len(source) != v.Size {
		return nil, fmt.Errorf("%s has %d bytes, recorded were %d", name, len(source), v.Size)
	}
	if h := Hash(source); h != v.Hash {
		return nil, fmt.Errorf("%s was changed since it was recorded: its SHA-256 is %s, not %s", name, h, v.Hash)
	}
	return source, nil
}

// disk is what a Store does to the file system, so that a test can make any
// step of it fail.
type disk struct {
	create  func(dir string) (*os.File, error)
	write   func(f *os.File, data []byte) error
	sync    func(f *os.File) error
	rename  func(from, to string) error
	remove  func(path string) error // no error if there is nothing
	syncDir func(dir string) error
}

func realDisk() disk {
	return disk{
		create:  func(dir string) (*os.File, error) { return os.CreateTemp(dir, tempGlob) },
		write:   func(f *os.File, data []byte) error { _, err := f.Write(data); return err },
		sync:    (*os.File).Sync,
		rename:  os.Rename,
		remove:  removeIfThere,
		syncDir: syncDir,
	}
}

// put makes path hold data, all or nothing, and durable when it returns nil.
// visible tells, after an error, whether the new content had already appeared.
func (d disk) put(path string, data []byte) (visible bool, err error) {
	dir := filepath.Dir(path)
	f, err := d.create(dir)
	if err != nil {
		return false, err
	}
	err = d.fill(f, data)
	if err == nil {
		err = d.rename(f.Name(), path)
	}
	if err != nil {
		d.remove(f.Name()) // if it stays, the next Open removes it
		return false, err
	}
	return true, d.syncDir(dir)
}

func (d disk) fill(f *os.File, data []byte) error {
	err := d.write(f, data)
	if err == nil {
		err = d.sync(f)
	}
	return errors.Join(err, f.Close()) // NFS and quotas may report a full disk only here
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes renames in dir durable. Some file systems cannot sync a
// directory and say so; there is nothing better to do on them.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// makeDir creates dir and makes its own entry durable. A directory that is
// there keeps its permissions: an operator or a volume set them.
func makeDir(dir string) error {
	if fi, err := os.Stat(dir); err == nil {
		if !fi.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// lockDir takes the directory for this process. The kernel gives the lock back
// when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		// What is there can be run all the same. That nothing can be recorded is
		// for each change to say.
		if readOnly, again := os.Open(name); again == nil {
			f, err = readOnly, nil
		}
	}
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		defer f.Close()
		if err == syscall.EWOULDBLOCK {
			return nil, inUse(dir, f)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	// The number only makes the other process' message better, so a full disk
	// does not matter.
	if f.Truncate(0) == nil {
		f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	return f, nil
}

// ErrInUse is returned by Open if another process, or this one, has the
// directory open.
var ErrInUse = errors.New("history directory is in use")

func inUse(dir string, lock *os.File) error {
	who := "another process"
	pid := make([]byte, 16)
	if n, _ := lock.ReadAt(pid, 0); n > 0 {
		who = "process " + strings.TrimSpace(string(pid[:n]))
	}
	return fmt.Errorf("%w: %s is held by %s; every running Weir needs a history.dir of its own", ErrInUse, dir, who)
}
