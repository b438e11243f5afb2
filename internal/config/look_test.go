package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// scene is a file that a look looks at, in a bubble, and what came of it.
type scene struct {
	t       *testing.T
	start   time.Time
	changes chan fsnotify.Event
	kicks   chan struct{}
	log     []string

	mu      sync.Mutex // the story writes, the look reads
	content string
	err     error
}

// is makes the file's content this.
func (s *scene) is(content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content, s.err = content, nil
}

// fails makes reading the file fail.
func (s *scene) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *scene) read() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []byte(s.content), s.err
}

// play runs a look from its start until the story ends, and compares what it did.
func play(t *testing.T, have string, story func(s *scene), want ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, start: time.Now(), content: "1", changes: make(chan fsnotify.Event), kicks: make(chan struct{}, 1)}
		note := func(format string, args ...any) {
			s.log = append(s.log, time.Since(s.start).String()+" "+fmt.Sprintf(format, args...))
		}
		l := look{
			o: WatchOptions{
				Have: []byte(have), Poll: 2 * time.Second, Quiet: 200 * time.Millisecond, Longest: 2 * time.Second,
				Report: func(err error) { note("%v", err) },
			},
			kicks: s.kicks, changes: s.changes,
			concerns: func(e fsnotify.Event) bool { return e.Name == "weir.yaml" },
			refresh:  func() {},
			read:     s.read,
			deliver:  func(b []byte) { note("%s", b) },
		}
		if have == "" {
			l.o.Have = nil
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			l.run(ctx)
			close(done)
		}()
		story(s)
		synctest.Wait()
		stop()
		<-done
		if got, want := strings.Join(s.log, "\n"), strings.Join(want, "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// after lets the scene's clock reach d since its start.
func (s *scene) after(d time.Duration) {
	time.Sleep(time.Until(s.start.Add(d)))
	synctest.Wait()
}

// write changes the file at d, with an event.
func (s *scene) write(d time.Duration, content string) {
	s.after(d)
	s.is(content)
	s.changes <- fsnotify.Event{Name: "weir.yaml", Op: fsnotify.Write}
}

const ms = time.Millisecond

func TestLookAtFirst(t *testing.T) {
	play(t, "", func(s *scene) { s.after(time.Minute) }, "0s 1")
	play(t, "0", func(s *scene) { s.after(time.Minute) }, "0s 1")

	// what the caller has is not delivered again
	play(t, "1", func(s *scene) { s.after(time.Minute) })
}

func TestLookAtEvents(t *testing.T) {
	// after 200 ms of quiet
	play(t, "1", func(s *scene) {
		s.write(500*ms, "2")
		s.after(time.Minute)
	}, "700ms 2")

	// a burst is one change
	play(t, "1", func(s *scene) {
		s.write(100*ms, "2")
		s.write(250*ms, "3")
		s.write(400*ms, "4")
		s.after(time.Minute)
	}, "600ms 4")

	// one that does not end is cut off at 2 s
	play(t, "1", func(s *scene) {
		for at := 100 * ms; at < 3000*ms; at += 150 * ms {
			s.write(at, at.String())
		}
		s.after(time.Minute)
	}, "2.1s 2.05s", "3.15s 2.95s")

	// written, but not changed; or changed and changed back
	play(t, "1", func(s *scene) {
		s.write(100*ms, "1")
		s.write(1000*ms, "2")
		s.write(1100*ms, "1")
		s.after(time.Minute)
	})

	// the noise of other files in the directory does not put reading off
	play(t, "1", func(s *scene) {
		s.write(100*ms, "2")
		for range 100 {
			s.after(time.Since(s.start) + 10*ms)
			s.changes <- fsnotify.Event{Name: "access.log", Op: fsnotify.Write}
		}
	}, "300ms 2")
}

func TestLookWithoutEvents(t *testing.T) {
	play(t, "1", func(s *scene) {
		s.after(500 * ms)
		s.is("2")
		s.after(time.Minute)
	}, "2.2s 2")

	// somebody is writing slowly: wait for the end, but not for ever
	play(t, "1", func(s *scene) {
		for at := 1950 * ms; at < 2500*ms; at += 100 * ms {
			s.after(at)
			s.is(at.String())
		}
		s.after(3 * time.Second)
	}, "2.8s 2.45s")
	play(t, "1", func(s *scene) {
		for at := 1950 * ms; at < 4500*ms; at += 100 * ms {
			s.after(at)
			s.is(at.String())
		}
	}, "4s 3.95s")
}

func TestLookKicked(t *testing.T) {
	// at once, and even if nothing has changed
	play(t, "1", func(s *scene) {
		s.after(500 * ms)
		s.kicks <- struct{}{}
		s.after(time.Minute)
	}, "500ms 1")

	// what is read for a kick is not delivered again for the event
	play(t, "1", func(s *scene) {
		s.write(500*ms, "2")
		s.after(600 * ms)
		s.kicks <- struct{}{}
		s.after(time.Minute)
	}, "600ms 2")
}

func TestLookAtNoFile(t *testing.T) {
	gone := fmt.Errorf("open weir.yaml: %w", fs.ErrNotExist)

	// away for a moment is not worth a word
	play(t, "1", func(s *scene) {
		s.after(1900 * ms)
		s.fails(gone)
		s.after(2100 * ms)
		s.is("1")
		s.after(time.Minute)
	})

	// away for longer is, once; and back is a change if the content is another
	play(t, "1", func(s *scene) {
		s.after(500 * ms)
		s.fails(gone)
		s.after(30 * time.Second)
		s.is("2")
		s.after(time.Minute)
	}, "4s read the configuration: open weir.yaml: file does not exist", "32.2s 2")

	// other errors are reported at once, once, and again after a recovery
	play(t, "1", func(s *scene) {
		s.after(500 * ms)
		s.fails(errors.New("permission denied"))
		s.after(9 * time.Second)
		s.is("1")
		s.after(11 * time.Second)
		s.fails(errors.New("permission denied"))
		s.after(time.Minute)
	}, "2s read the configuration: permission denied", "12s read the configuration: permission denied")

	// whoever kicks hears why nothing came
	play(t, "1", func(s *scene) {
		s.after(500 * ms)
		s.fails(errors.New("permission denied"))
		s.after(3 * time.Second)
		s.kicks <- struct{}{}
		s.after(3500 * ms)
	}, "2s read the configuration: permission denied", "3s read the configuration: permission denied")
}
