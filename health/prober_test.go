package health_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/health"
)

// script is a Check that answers + or - by turns, or 0 if it could not ask, the
// last one for ever, after a while of thinking.
type script struct {
	answers string
	takes   time.Duration

	mu    sync.Mutex
	asked int
}

var errScripted = errors.New("scripted failure")

func (s *script) Probe(ctx context.Context, addr string) error {
	if s.takes > 0 { // many at once must not set timers that have passed: go.dev/issue/78156
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.answers[min(s.asked, len(s.answers)-1)]
	s.asked++
	switch a {
	case '-':
		return errScripted
	case '0':
		return health.ErrNotAsked
	}
	return nil
}

// diary writes down what a Prober reports: "12.5s a + up!" is a pass at 12.5 s
// that made a up.
type diary struct {
	start time.Time
	mu    sync.Mutex
	lines []string
}

func (d *diary) report(key string, r health.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := fmt.Sprintf("%v %s ", r.At.Sub(d.start), key)
	line += map[bool]string{true: "+ ", false: "- "}[r.Err == nil]
	line += map[bool]string{true: "up", false: "down"}[r.Up]
	if r.Changed {
		line += "!"
	}
	if r.First {
		line += " first"
	}
	d.lines = append(d.lines, line)
}

// bubble runs f in virtual time with a Prober whose jitter is always in the
// middle, and compares the diary with want. No goroutine may be left.
func bubble(t *testing.T, want string, f func(p *health.Prober)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		p := health.NewProber(d.report)
		p.Rand = func() float64 { return 0.5 }
		f(p)
		p.Sync(nil)
		p.Wait()
		got := strings.Join(d.lines, "\n")
		want := strings.ReplaceAll(strings.TrimSpace(want), "\t", "")
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func target(answers string) health.Target {
	return health.Target{
		Addr: "127.0.0.1:1", Check: &script{answers: answers}, Key: answers,
		Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 2,
	}
}

type targets = map[string]health.Target

// Down 2 s after the first failure, back 1 s after the first pass; in between
// and otherwise once in an interval.
func TestProberAsksMoreOftenInTransition(t *testing.T) {
	bubble(t, `
		10ms a + up! first
		5.01s a + up
		10.01s a - up
		11.01s a - up
		12.01s a - down!
		17.01s a - down
		22.01s a + down
		23.01s a + up!
		28.01s a + up`,
		func(p *health.Prober) {
			p.Sync(targets{"a": target("++----+++")})
			time.Sleep(30 * time.Second)
		})
}

func TestProberNeverAsksLessOftenInTransition(t *testing.T) {
	bubble(t, `
		10ms a + up! first
		210ms a - up
		410ms a - up
		610ms a - down!`,
		func(p *health.Prober) {
			a := target("+-")
			a.Interval = 200 * time.Millisecond
			p.Sync(targets{"a": a})
			time.Sleep(800 * time.Millisecond)
		})
}

// The interval runs from start to start, and one slow target delays no other.
func TestProberSlowTarget(t *testing.T) {
	bubble(t, `
		10ms b + up! first
		1.51s a + up! first
		5.01s b + up
		6.51s a + up
		10.01s b + up`,
		func(p *health.Prober) {
			a := target("+")
			a.Check.(*script).takes = 1500 * time.Millisecond
			p.Sync(targets{"a": a, "b": target("+")})
			time.Sleep(11 * time.Second)
		})
}

// A backend that hangs costs its own timeout each time, and the report says so.
func TestProberTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []health.Result
		p := health.NewProber(func(_ string, r health.Result) { got = append(got, r) })
		a := target("+")
		a.Check.(*script).takes = time.Hour
		p.Sync(targets{"a": a})
		time.Sleep(4 * time.Second)
		p.Sync(nil)
		p.Wait()
		if len(got) != 1 {
			t.Fatalf("%d results, want 1", len(got))
		}
		r := got[0]
		if !errors.Is(r.Err, context.DeadlineExceeded) || !strings.Contains(r.Err.Error(), "within 2s") {
			t.Errorf("error %v, want one about 2s", r.Err)
		}
		if r.Took != 2*time.Second || r.Up {
			t.Errorf("took %v, up %v; want 2s and down", r.Took, r.Up)
		}
	})
}

// Sync reconciles: b goes, c comes, a stays as it was.
func TestProberSync(t *testing.T) {
	bubble(t, `
		10ms a + up! first
		12ms b + up! first
		3.012s c + up! first
		5.01s a + up`,
		func(p *health.Prober) {
			a, b := target("+"), target("+")
			p.Sync(targets{"a": a})
			time.Sleep(2 * time.Millisecond)
			p.Sync(targets{"a": a, "b": b}) // a is equal: no new first probe
			time.Sleep(3 * time.Second)
			a.Check = &script{answers: "-"} // the Key says it is the same
			p.Sync(targets{"a": a, "c": target("+")})
			time.Sleep(4 * time.Second)
		})
}

// Two failures, a changed check, one more failure: three in a row.
func TestProberKeepsTheStreakOfAChangedTarget(t *testing.T) {
	bubble(t, `
		10ms a + up! first
		5.01s a - up
		6.01s a - up
		6.51s a - down!
		11.51s a - down`,
		func(p *health.Prober) {
			p.Sync(targets{"a": target("+-")})
			time.Sleep(6500 * time.Millisecond)
			p.Sync(targets{"a": target("-")})
			time.Sleep(6 * time.Second)
		})
}

// What a stopped or replaced probe finds out later is nobody's.
func TestProberDropsResultsOfStoppedProbes(t *testing.T) {
	bubble(t, "1.51s a - down! first", func(p *health.Prober) {
		a := target("+")
		a.Check.(*script).takes = time.Second
		p.Sync(targets{"a": a, "b": a})
		time.Sleep(500 * time.Millisecond)
		b := target("-")
		b.Check.(*script).takes = time.Second
		p.Sync(targets{"a": b})
		time.Sleep(2 * time.Second)
	})
}

// Few targets are asked at once; thousands are spread over the interval.
func TestProberSpreadsFirstProbes(t *testing.T) {
	f := func(n int, within, notAllBefore time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var mu sync.Mutex
			var last time.Duration
			seen := 0
			p := health.NewProber(func(_ string, r health.Result) {
				mu.Lock()
				defer mu.Unlock()
				if r.First {
					seen++
					last = max(last, r.At.Sub(start))
				}
			})
			want := targets{}
			for i := range n {
				want[fmt.Sprint(i)] = target("+")
			}
			p.Sync(want)
			time.Sleep(within)
			p.Sync(nil)
			p.Wait()
			if seen != n {
				t.Errorf("%d of %d had a result within %v", seen, n, within)
			}
			if last < notAllBefore {
				t.Errorf("%d first probes within %v, want them spread", n, last)
			}
		})
	}
	f(1, 20*time.Millisecond, 0)
	f(50, 100*time.Millisecond, 50*time.Millisecond)
	f(3000, 5*time.Second, 4*time.Second)
}

// Intervals differ by up to 10 %, each time anew.
func TestProberJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		p := health.NewProber(func(_ string, r health.Result) { at = append(at, r.At) })
		p.Sync(targets{"a": target("+")})
		time.Sleep(10 * time.Minute)
		p.Sync(nil)
		p.Wait()
		lo, hi := time.Hour, time.Duration(0)
		for i := range at[1:] {
			gap := at[i+1].Sub(at[i])
			lo, hi = min(lo, gap), max(hi, gap)
		}
		if lo < 4500*time.Millisecond || hi > 5500*time.Millisecond || hi-lo < 500*time.Millisecond {
			t.Errorf("gaps from %v to %v, want most of 4.5s to 5.5s", lo, hi)
		}
	})
}

// Down, it is asked less often, and coming up as often as ever.
func TestProberDownInterval(t *testing.T) {
	bubble(t, `
		10ms a + up! first
		5.01s a - up
		6.01s a - up
		7.01s a - down!
		27.01s a - down
		47.01s a + down
		48.01s a + up!
		53.01s a + up`,
		func(p *health.Prober) {
			a := target("+----++")
			a.DownInterval = 20 * time.Second
			p.Sync(targets{"a": a})
			time.Sleep(55 * time.Second)
		})
}

// An address that goes up and down needs more passes each time.
func TestProberDampsFlapping(t *testing.T) {
	bubble(t, `
		10ms a + up! first
		1.01s a - down!
		2.01s a + up!
		3.01s a - down!
		4.01s a + up!
		5.01s a - down!
		6.01s a + down
		7.01s a + up!
		8.01s a + up`,
		func(p *health.Prober) {
			a := target("+-+-+-+++")
			a.Interval, a.Fall, a.Rise = time.Second, 1, 1
			p.Sync(targets{"a": a})
			time.Sleep(8500 * time.Millisecond)
		})
}

// What an address says of itself arrives with the result, and its own word that
// it is down is not counted but believed.
func TestProberReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		p := health.NewProber(func(_ string, r health.Result) {
			line := fmt.Sprintf("up=%v rise=%d err=%v", r.Up, r.Rise, r.Err)
			if r.Report != nil {
				line += " says " + text(*r.Report)
			}
			got = append(got, line)
		})
		a := target("")
		a.Check = &agents{answers: []string{"up 75%", "50% drain", "down #disk full", "up", "?", "up", "ready"}}
		p.Sync(targets{"a": a})
		time.Sleep(time.Minute)
		p.Sync(nil)
		p.Wait()
		want := []string{
			"up=true rise=2 err=<nil> says 75% up",
			"up=true rise=2 err=<nil> says 50% drain",
			"up=false rise=2 err=agent says down: disk full says down #disk full",
			"up=false rise=2 err=<nil> says up",
			`up=false rise=2 err=agent says "?", which means nothing`,
			"up=false rise=2 err=<nil> says up",
			"up=true rise=2 err=<nil> says ready",
		}
		if got := got[:min(len(got), len(want))]; !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// agents is a Reporter that has an answer for each time it is asked.
type agents struct {
	script
	answers []string
}

func (a *agents) Report(context.Context, string) (health.Report, error) {
	answer := a.answers[min(a.asked, len(a.answers)-1)]
	a.asked++
	return health.ParseReport(answer)
}

// What could not be asked is told, and changes nothing.
func TestProberDoesNotCountWhatWasNotAsked(t *testing.T) {
	bubble(t, `
		10ms a - down
		5.01s a + up! first
		10.01s a - up
		11.01s a - up
		12.01s a - up
		13.01s a - down!`,
		func(p *health.Prober) {
			a := target("0+-0--")
			p.Sync(targets{"a": a})
			time.Sleep(14 * time.Second)
		})
}

// A thousand Probers that start at once keep out of each other's way, if they
// share a Pace.
func TestProbersShareAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		inFirst := map[time.Duration]int{} // 100 ms: first probes in it
		pace := new(health.Pace)
		var all []*health.Prober
		for range 300 {
			p := health.NewProber(func(_ string, r health.Result) {
				mu.Lock()
				defer mu.Unlock()
				if r.First {
					inFirst[r.At.Sub(start)/(100*time.Millisecond)]++
				}
			})
			p.Pace = pace
			want := targets{}
			for i := range 10 {
				want[fmt.Sprint(i)] = target("+")
			}
			p.Sync(want)
			all = append(all, p)
		}
		time.Sleep(5 * time.Second)
		for _, p := range all {
			p.Sync(nil)
			p.Wait()
		}
		total, most := 0, 0
		for _, n := range inFirst {
			total += n
			most = max(most, n)
		}
		if total != 3000 || most > 400 {
			t.Errorf("%d first probes, up to %d in 100 ms; want all, and not at once", total, most)
		}
	})
}
