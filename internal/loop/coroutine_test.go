package loop

import (
	"testing"
	"time"
)

// Coroutines that only a burst needed are given back, half of them each time.
func TestCoroutinesShrink(t *testing.T) {
	g, err := New(Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	l := g.Loop(0)
	const burst = 1000
	var tasks []*Task
	for range burst {
		l.Go(func() {
			tasks = append(tasks, l.Task())
			l.Task().Park(time.Time{})
		})
	}
	l.Go(func() {
		for _, task := range tasks {
			task.Wake()
		}
	})
	have := func(after string, least, most int) {
		t.Helper()
		got := make(chan int)
		// What they were woken for comes first, then this.
		l.Go(func() { l.Task().Yield(); l.Post(func() { got <- len(l.coros) }) })
		if n := <-got; n < least || n > most {
			t.Errorf("%d coroutines after %s, want %d to %d", n, after, least, most)
		}
	}
	period := func() {
		l.Post(func() {
			l.timers.remove(&l.trim.timer)
			l.trim.expire(0)
		})
	}
	have("the burst", burst, burst+5)
	period()
	have("a period in which all were needed", burst-keepIdle, burst+5)
	period()
	have("a quiet period", burst/2-keepIdle, burst/2+keepIdle)
	for range 20 {
		period()
	}
	have("a quiet time", keepIdle, keepIdle+2)
}
