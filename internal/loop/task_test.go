package loop_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"weir/internal/loop"
)

func TestMutualExclusion(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 2, Portable: portable})
		l := g.Loop(0)
		const each = 1000
		n := 0 // plain on purpose: the race detector watches
		var all sync.WaitGroup
		all.Add(4 * each)
		for range 2 {
			go func() {
				for range each {
					l.Post(func() { n++; all.Done() })
				}
			}()
			go func() {
				for range each {
					l.Go(func() { n++; l.Task().Yield(); all.Done() })
				}
			}()
		}
		all.Wait()
		on(t, l, func() {
			if n != 4*each {
				t.Errorf("counted %d, want %d", n, 4*each)
			}
		})
	})
}

func TestPark(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 2, Portable: portable})
		l := g.Loop(0)
		on(t, l, func() {
			task := l.Task()

			// a Wake before Park is remembered, once
			task.Wake()
			task.Wake()
			if !task.Park(time.Time{}) {
				t.Error("a Wake before Park was lost")
			}
			begin := time.Now()
			if task.Park(begin.Add(20 * time.Millisecond)) {
				t.Error("two Wakes before Park counted twice")
			}
			if d := time.Since(begin); d < 20*time.Millisecond {
				t.Errorf("Park gave up after %v, want 20ms", d)
			}

			// from another goroutine, another loop, this loop
			go task.Wake()
			if !task.Park(time.Time{}) {
				t.Error("not woken by a goroutine")
			}
			g.Loop(1).Go(task.Wake)
			if !task.Park(time.Now().Add(patience)) {
				t.Error("not woken by another loop")
			}
			l.Go(task.Wake)
			if !task.Park(time.Time{}) {
				t.Error("not woken by its own loop")
			}

			// a deadline that has passed
			if task.Park(time.Now().Add(-time.Second)) {
				t.Error("woken by nobody")
			}
			if l.Task() != task {
				t.Error("a job has one task")
			}
		})
	})
}

// Whoever comes first, Wake or deadline, a Wake makes exactly one Park true.
func TestWakeRacesDeadline(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		l := g.Loop(0)
		var all sync.WaitGroup
		for range 64 {
			all.Add(1)
			l.Go(func() {
				defer all.Done()
				for range 10 {
					task := l.Task()
					d := 5*time.Millisecond + rand.N(10*time.Millisecond)
					woken := make(chan struct{})
					time.AfterFunc(d, func() { task.Wake(); close(woken) })
					first := task.Park(time.Now().Add(d))
					task.Block(func() { <-woken })
					if second := task.Park(time.Now().Add(-1)); first == second {
						t.Errorf("Park was %v, then %v, for one Wake", first, second)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		wait(t, done)
	})
}

// The task of a job that is over may be woken still; the next job of the same
// coroutine must not notice.
func TestWakeTooLate(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		l := g.Loop(0)
		var old *loop.Task
		on(t, l, func() { old = l.Task() })
		on(t, l, func() {
			old.Wake()
			if l.Task().Park(l.Now().Add(10 * time.Millisecond)) {
				t.Error("woken in the name of the job before")
			}
		})
	})
}

func TestBlockSleepYield(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		l := g.Loop(0)
		on(t, l, func() {
			// the loop goes on while Block waits
			ch := make(chan int)
			n := 0
			l.Go(func() {
				n++
				l.Task().Block(func() { ch <- 7 })
			})
			got := 0
			l.Task().Block(func() { got = <-ch })
			if got != 7 || n != 1 {
				t.Errorf("got %d, n %d; want 7, 1", got, n)
			}

			// Sleep is not ended by Wake, which is remembered
			task, begin := l.Task(), time.Now()
			task.Wake()
			task.Sleep(30 * time.Millisecond)
			if d := time.Since(begin); d < 30*time.Millisecond {
				t.Errorf("slept %v, want 30ms", d)
			}
			if !task.Park(time.Time{}) {
				t.Error("Sleep has eaten a Wake")
			}

			// Yield: the others first
			l.Go(func() { n = 100 })
			for n != 100 {
				task.Yield()
			}
		})
	})
}

// A Park without deadline, and a Sleep, end when the group closes.
func TestCloseWakesTasks(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		l := g.Loop(0)
		woken := true
		l.Go(func() { woken = l.Task().Park(time.Time{}) })
		l.Go(func() { l.Task().Sleep(time.Hour) })
		l.Go(func() {
			for l.Task().Park(time.Time{}) {
			}
		})
		on(t, l, func() {}) // they run in order: all are waiting now
		g.Close()
		if woken {
			t.Error("Park was woken by Close, want false")
		}
		l.Post(func() { t.Error("ran on a closed loop") })
		l.Go(func() { t.Error("ran on a closed loop") })
	})
}
