package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// notices are the file system's about one file. It watches directories, never
// the file: a watched file that is replaced by a rename goes on being watched
// where nobody looks any more.
type notices struct {
	path   string
	real   string // path with all symlinks followed; "" while there is no file
	report func(error)
	failed string // the last failure reported

	fs       *fsnotify.Watcher // nil where the system has none to give; polling remains
	events   <-chan fsnotify.Event
	overflow <-chan error
}

func newNotices(path string, report func(error)) *notices {
	n := &notices{path: path, report: report}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		n.fail(err)
		return n
	}
	n.fs, n.events, n.overflow = w, w.Events, w.Errors
	n.refresh()
	return n
}

// refresh watches the directories of the path and of what it leads to. A
// watch ends with its directory, so this is done again and again; for a
// directory that is watched already it changes nothing.
func (n *notices) refresh() {
	n.real, _ = filepath.EvalSymlinks(n.path) // no file: nothing more to watch
	if n.fs == nil {
		return
	}
	dirs := []string{filepath.Dir(n.path)}
	if n.real != "" && filepath.Dir(n.real) != dirs[0] {
		dirs = append(dirs, filepath.Dir(n.real))
	}
	for _, dir := range dirs {
		if err := n.fs.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			n.fail(err)
		}
	}
}

// concerns says whether an event may have changed what the path leads to. A
// swapped symlink shows as an event of another name: ..data for a ConfigMap.
func (n *notices) concerns(e fsnotify.Event) bool {
	if e.Name == n.path || e.Name == n.real {
		return true
	}
	before := n.real
	if now, _ := filepath.EvalSymlinks(n.path); now == before {
		return false
	}
	n.refresh()
	return true
}

func (n *notices) fail(err error) {
	if s := err.Error(); s != n.failed {
		n.failed = s
		n.report(fmt.Errorf("watch %s: changes are noticed by polling only: %w", n.path, err))
	}
}

// close ends watching and waits for its goroutine.
func (n *notices) close() {
	if n.fs != nil {
		n.fs.Close() // nothing that could be done about an error
	}
}
