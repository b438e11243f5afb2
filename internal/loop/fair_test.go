package loop_test

import (
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
)

// A coroutine that moves much lets its neighbours run now and then.
func TestFairness(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		pair(t, g, func(c *loop.Conn, client net.Conn) {
			const size, chunk = 8 << 20, 64 << 10
			go client.Write(make([]byte, size))
			l := c.Loop()
			moved, since, longest, done := 0, 0, 0, false
			l.Go(func() {
				for !done {
					longest, since = max(longest, moved-since), moved
					l.Task().Yield()
				}
			})
			buf := make([]byte, chunk)
			for moved < size {
				n, err := c.Read(buf)
				if err != nil {
					t.Errorf("read: %v", err)
					break
				}
				moved += n
			}
			done = true
			// The neighbour may just have had its turn when a share begins.
			if most := 2*(256<<10) + chunk; longest > most {
				t.Errorf("moved %d bytes before the neighbour's turn, want at most %d", longest, most)
			}
		})
	})
}

// The watchdog names what holds a loop up.
func TestStall(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		type report struct {
			loop  int
			d     time.Duration
			stack string
		}
		f := func(what string, hold func(g *loop.Group, release chan struct{})) {
			t.Helper()
			reports := make(chan report, 1)
			g := start(t, loop.Options{Loops: 2, Portable: portable, Stall: func(i int, d time.Duration, stack []byte) {
				reports <- report{i, d, string(stack)}
			}})
			release := make(chan struct{})
			defer close(release)
			hold(g, release)
			select {
			case r := <-reports:
				if r.loop != 1 || r.d < 100*time.Millisecond || !strings.Contains(r.stack, "holdUp") {
					t.Errorf("%s: loop %d for %v in\n%s", what, r.loop, r.d, r.stack)
				}
			case <-time.After(patience):
				t.Errorf("%s: no report", what)
			}
		}
		f("coroutine", func(g *loop.Group, release chan struct{}) { g.Loop(1).Go(func() { holdUp(release) }) })
		f("posted function", func(g *loop.Group, release chan struct{}) { g.Loop(1).Post(func() { holdUp(release) }) })
	})
}

func holdUp(release chan struct{}) { <-release }

// An idle connection is this struct: there may be a million of them.
func TestConnSize(t *testing.T) {
	if n := reflect.TypeFor[loop.Conn]().Size(); n >= 300 {
		t.Errorf("a Conn has %d bytes", n)
	} else {
		t.Logf("a Conn has %d bytes", n)
	}
}
