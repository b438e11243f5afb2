package config_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir/internal/config"
)

// watching is a Watcher that runs on a real file.
type watching struct {
	*config.Watcher
	t   *testing.T
	got chan string
	bad chan error
}

// watch starts watching path. Only events can be what it notices: polling is
// as good as off unless poll says otherwise.
func watch(t *testing.T, path string, poll time.Duration) *watching {
	t.Helper()
	if poll == 0 {
		poll = time.Hour
	}
	w := &watching{t: t, got: make(chan string), bad: make(chan error, 16)}
	var err error
	w.Watcher, err = config.NewWatcher(path, config.WatchOptions{
		Poll: poll, Quiet: 20 * time.Millisecond,
		Report: func(err error) { w.bad <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- w.Run(ctx, func(b []byte) {
			select {
			case w.got <- string(b):
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		noGoroutine(t, "fsnotify")
	})
	return w
}

// noGoroutine checks that none is left whose stack has that word. One that has
// said that it is done may need a moment for its last instructions.
func noGoroutine(t *testing.T, word string) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), word) {
			return
		}
	}
	t.Errorf("a goroutine is left behind:\n%s", stacks[:runtime.Stack(stacks, true)])
}

// want waits for the next delivery.
func (w *watching) want(content string) {
	w.t.Helper()
	select {
	case got := <-w.got:
		if got != content {
			w.t.Errorf("delivered %q, want %q", got, content)
		}
	case err := <-w.bad:
		w.t.Fatalf("waiting for %q: %v", content, err)
	case <-time.After(20 * time.Second):
		w.t.Fatalf("%q was not delivered", content)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatchWriteInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	write(t, path, "1")
	w := watch(t, path, 0)
	w.want("1")
	write(t, path, "2")
	w.want("2")

	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("3")
	must(t, err)
	must(t, f.Close())
	w.want("23")
}

// Editors write another file and rename it, some after putting the old one aside.
func TestWatchRename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	write(t, path, "1")
	w := watch(t, path, 0)
	w.want("1")
	for _, content := range []string{"2", "3"} {
		write(t, path+".new", content)
		must(t, os.Rename(path+".new", path))
		w.want(content)
	}
	must(t, os.Rename(path, path+"~"))
	write(t, path, "4")
	w.want("4")

	// the file that was put aside is no longer ours
	write(t, path+"~", "5")
	write(t, path, "6")
	w.want("6")
}

// A ConfigMap is a symlink to a directory that is swapped as a whole; the event
// names neither the file nor its target.
func TestWatchSymlinkSwap(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "weir.yaml")
	turn := func(to, content string) {
		t.Helper()
		must(t, os.Mkdir(filepath.Join(dir, to), 0o755))
		write(t, filepath.Join(dir, to, "weir.yaml"), content)
		must(t, os.Symlink(to, filepath.Join(dir, "..tmp")))
		must(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}
	turn("..1", "1")
	must(t, os.Symlink("..data/weir.yaml", path))
	w := watch(t, path, 0)
	w.want("1")
	turn("..2", "2")
	w.want("2")
	must(t, os.RemoveAll(filepath.Join(dir, "..1")))
	turn("..3", "3")
	w.want("3")

	// written where the links lead
	write(t, filepath.Join(dir, "..3", "weir.yaml"), "4")
	w.want("4")
}

func TestWatchSymlinkIntoOtherDirectory(t *testing.T) {
	there := filepath.Join(t.TempDir(), "real.yaml")
	path := filepath.Join(t.TempDir(), "weir.yaml")
	write(t, there, "1")
	must(t, os.Symlink(there, path))
	w := watch(t, path, 0)
	w.want("1")
	write(t, there, "2")
	w.want("2")
}

func TestWatchVanishing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "weir")
	path := filepath.Join(dir, "weir.yaml")

	// nothing is there yet, not even the directory
	w := watch(t, path, 20*time.Millisecond)
	missing := func() {
		t.Helper()
		select {
		case err := <-w.bad:
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v", err)
			}
		case got := <-w.got:
			t.Fatalf("delivered %q", got)
		case <-time.After(20 * time.Second):
			t.Fatal("nothing was reported")
		}
	}
	missing()
	must(t, os.Mkdir(dir, 0o755))
	write(t, path+".new", "1")
	must(t, os.Rename(path+".new", path))
	w.want("1")

	must(t, os.RemoveAll(dir))
	missing()
	must(t, os.Mkdir(dir, 0o755))
	write(t, path+".new", "2")
	must(t, os.Rename(path+".new", path))
	w.want("2")
}

func TestWatchKick(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	write(t, path, "1")
	w := watch(t, path, 0)
	w.want("1")
	w.Kick()
	w.want("1")
}

func TestWatchHave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	write(t, path, "1")
	w, err := config.NewWatcher(path, config.WatchOptions{Have: []byte("1")})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	w.Kick() // before Run; delivers what the first look alone would not
	n := 0
	must(t, w.Run(ctx, func(b []byte) {
		n++
		stop()
	}))
	if n != 1 {
		t.Errorf("%d deliveries, want 1", n)
	}
}

func TestNewWatcher(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		_, err := config.NewWatcher(path, config.WatchOptions{})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	dir := t.TempDir()
	f("", "watch: no file name")
	f(dir, "watch "+dir+": is a directory")
}
