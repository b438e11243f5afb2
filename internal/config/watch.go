package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// WatchOptions are for tests and unusual file systems; zero values are the
// defaults.
type WatchOptions struct {
	Have    []byte        // what the caller has read; the first look delivers unless the file is equal
	Poll    time.Duration // how often the content is compared whatever the events; 2 s
	Quiet   time.Duration // without a change before the file is read; 200 ms
	Longest time.Duration // that a burst of changes can put reading off; 2 s
	Report  func(error)   // called by Run when the file cannot be read or watched, once a cause; may be nil
}

// Watcher watches one file by the events of its directory, so that editors that
// rename and symlinks that are swapped are noticed, and by comparing its
// content now and then, for mounts that give no events. The file and its
// directory may go away and come back.
type Watcher struct {
	path  string
	o     WatchOptions
	kicks chan struct{}
}

// NewWatcher prepares to watch the file at path, which need not exist. Run does
// the watching.
func NewWatcher(path string, o WatchOptions) (*Watcher, error) {
	if path == "" {
		return nil, errors.New("watch: no file name")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	if st, err := os.Stat(abs); err == nil && st.IsDir() {
		return nil, fmt.Errorf("watch %s: is a directory", path)
	}
	fill := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	fill(&o.Poll, 2*time.Second)
	fill(&o.Quiet, 200*time.Millisecond)
	fill(&o.Longest, 2*time.Second)
	if o.Report == nil {
		o.Report = func(error) {}
	}
	return &Watcher{path: abs, o: o, kicks: make(chan struct{}, 1)}, nil
}

// Kick makes Run read the file now and deliver it even if it is unchanged. It
// does not wait. A kick before Run is remembered; several at once are one.
func (w *Watcher) Kick() {
	select {
	case w.kicks <- struct{}{}:
	default: // one is waiting already and will read what is there then
	}
}

// Run delivers the file's content whenever it has changed and come to rest,
// until ctx ends; then it returns nil. deliver is called from the goroutine of
// Run, one call at a time, and owns what it gets. Call Run once.
func (w *Watcher) Run(ctx context.Context, deliver func([]byte)) error {
	n := newNotices(w.path, w.o.Report)
	defer n.close()
	l := look{
		o: w.o, kicks: w.kicks, changes: n.events, overflow: n.overflow, concerns: n.concerns, refresh: n.refresh,
		read:    func() ([]byte, error) { return readFile(w.path) },
		deliver: deliver,
	}
	l.run(ctx)
	return nil
}

// readFile reads at most a little more than Parse accepts: what is too long is
// for Parse to report, not for memory to suffer.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSource+1))
}
