package pool_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/metrics"
	"weir/pool"
)

func TestOutliers(t *testing.T) {
	f := func(deviations float64, samples []pool.Sample, want ...int) {
		t.Helper()
		if got := pool.Outliers(samples, deviations); !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %v, want %v", samples, got, want)
		}
	}
	// Envoy's example, near enough: one in ten fails where nobody else's do
	f(1.9, []pool.Sample{{100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 10}}, 4)
	f(1.9, []pool.Sample{{200, 1}, {200, 78}, {200, 2}, {200, 1}, {200, 0}}, 1)

	// all alike, good or bad
	f(1.9, []pool.Sample{{100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}})
	f(1.9, []pool.Sample{{100, 100}, {100, 100}, {100, 100}, {100, 100}, {100, 100}})
	f(1.9, []pool.Sample{{100, 40}, {100, 45}, {100, 42}, {100, 38}, {100, 44}})

	// one that is better than the others is no outlier
	f(1.9, []pool.Sample{{100, 40}, {100, 40}, {100, 40}, {100, 40}, {100, 0}})

	// Envoy ejects these: a few errors where nobody else has one are chance
	f(1.9, []pool.Sample{{100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 1}})
	f(1.9, []pool.Sample{{100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 7}})

	// and here there is no chance, but not much of a difference
	f(1.9, []pool.Sample{{1e6, 10000}, {1e6, 10000}, {1e6, 10000}, {1e6, 10000}, {1e6, 15000}})
	f(1.9, []pool.Sample{{1e6, 10000}, {1e6, 10000}, {1e6, 10000}, {1e6, 10000}, {1e6, 25000}}, 4)

	// who has few requests is judged by them, and not by those of the others
	f(1.9, []pool.Sample{{9000, 9}, {9000, 9}, {9000, 9}, {9000, 9}, {100, 3}})
	f(1.9, []pool.Sample{{9000, 9}, {9000, 9}, {9000, 9}, {9000, 9}, {100, 50}}, 4)

	// the worst first
	f(1, []pool.Sample{{1000, 0}, {1000, 0}, {1000, 0}, {1000, 0}, {1000, 0}, {1000, 0}, {1000, 300}, {1000, 500}}, 7, 6)

	// of n backends one can be at most √(n−1) deviations off
	f(1.9, []pool.Sample{{1000, 0}, {1000, 0}, {1000, 0}, {1000, 1000}})
	f(1.7, []pool.Sample{{1000, 0}, {1000, 0}, {1000, 0}, {1000, 1000}}, 3)
}

// The bound holds: against the binomial distribution itself.
func TestOddsAgainst(t *testing.T) {
	const all = 40
	for _, share := range []float64{0.01, 0.2, 0.5, 0.9} {
		tail := 0.0 // of so many or more
		for k := all; k >= 0; k-- {
			choose, _ := math.Lgamma(all + 1)
			a, _ := math.Lgamma(float64(k) + 1)
			b, _ := math.Lgamma(float64(all-k) + 1)
			tail += math.Exp(choose - a - b + float64(k)*math.Log(share) + float64(all-k)*math.Log(1-share))
			if got := pool.OddsAgainst(float64(k), all, share); math.Exp(-got) < tail*(1-1e-9) || math.IsNaN(got) {
				t.Errorf("%d of %d at %v: e^-%v, and it happens in %v", k, all, share, got, tail)
			}
		}
	}
	for _, got := range []float64{pool.OddsAgainst(0, 0, 0.5), pool.OddsAgainst(1, 2, 0.5), pool.OddsAgainst(5, 5, 1)} {
		if got != 0 {
			t.Errorf("%v, want none", got)
		}
	}
}

// Backends that are all alike are not taken for outliers, whatever share of
// their requests fails.
func TestAlikeBackendsAreNoOutliers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	found, intervals := 0, 0
	for _, share := range []float64{0.0005, 0.002, 0.01, 0.05, 0.3, 0.9} {
		for range 300 {
			samples := make([]pool.Sample, 5+r.IntN(6))
			for i := range samples {
				samples[i].Requests = 100 + r.IntN(100)
				for range samples[i].Requests {
					if r.Float64() < share {
						samples[i].Errors++
					}
				}
			}
			intervals++
			found += len(pool.Outliers(samples, 1.9))
		}
	}
	if found > 1 {
		t.Errorf("%d outliers in %d intervals, want none", found, intervals)
	}
}

// compared makes backends go by their success rates, and by nothing else.
func compared(words ...string) pool.Spec {
	s := passive(spec(words...))
	s.Passive.ConsecutiveErrors = 0
	s.Passive.SuccessRate = pool.SuccessRate{Interval: 10 * time.Second, Deviations: 1.9, MinBackends: 5, MinRequests: 100}
	return s
}

// work makes n requests of which one in every that goes to the backend called
// who ends with o.
func work(t *testing.T, p *pool.Pool, n int, who string, every int, o pool.Outcome) {
	t.Helper()
	synctest.Wait()
	theirs := 0
	for range n {
		l, got := take(p)
		if l.Backend() == nil {
			t.Fatal(got)
		}
		end := pool.Success
		if got == who {
			if theirs++; theirs%every == 0 {
				end = o
			}
		}
		l.Done(end)
	}
}

// Who fails often is out, though never twice in a row: with the numbers in the
// cause, and at the end of an interval.
func TestSuccessRate(t *testing.T) {
	s := compared("a", "b", "c", "d", "e")
	bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
		work(t, p, 1000, "c", 3, pool.Reset)
		time.Sleep(10*time.Second - time.Nanosecond)
		serving(t, p, "abcde")
		time.Sleep(time.Nanosecond)
		serving(t, p, "abde")
		want(t, j, "10s c ejected")
		if got := cause(p, "c"); got != "succeeds in 67.0 % of requests, the others in 100.0 % on average" {
			t.Errorf("cause %q", got)
		}

		// what it does then begins with its return
		time.Sleep(10 * time.Second)
		serving(t, p, "abcde")
		j.read()
		work(t, p, 1000, "c", 1000, pool.Reset)
		time.Sleep(10 * time.Second)
		serving(t, p, "abcde")
		want(t, j, "")
	})
}

// Who is judged, and when nobody is.
func TestSuccessRateNeedsEnough(t *testing.T) {
	f := func(s pool.Spec, requests int, o pool.Outcome, wantEvents string) {
		t.Helper()
		bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
			t.Helper()
			work(t, p, requests, "c", 2, o)
			time.Sleep(time.Minute)
			synctest.Wait()
			got, _, _ := strings.Cut(j.read(), ",")
			if got != wantEvents {
				t.Errorf("%d requests, %v: %q, want %q", requests, o, got, wantEvents)
			}
		})
	}
	f(compared("a", "b", "c", "d", "e"), 500, pool.Reset, "10s c ejected")
	f(compared("a", "b", "c", "d", "e"), 495, pool.Reset, "")
	f(compared("a", "b", "c", "d"), 1000, pool.Reset, "")

	// what is not the backend's doing is no request at all
	f(compared("a", "b", "c", "d", "e"), 800, pool.ClientClosed, "")
	f(compared("a", "b", "c", "d", "e"), 800, pool.Stale, "")
	s := compared("a", "b", "c", "d", "e")
	s.Passive.Count = pool.FaultsOf([]string{"connect"})
	f(s, 1000, pool.Reset, "")
	f(s, 1000, pool.ConnectTimeout, "10s c ejected")

	// no more than may be out
	s = compared("a", "b", "c", "d", "e")
	s.Passive.MaxEjected = 0
	f(s, 1000, pool.Reset, "")

	// only to be told
	s = compared("a", "b", "c", "d", "e")
	s.Passive.Enforce = false
	f(s, 1000, pool.Reset, "10s c would_eject")
}

// A backend that is out, or on trial, is neither judged nor one of those that
// must be enough.
func TestSuccessRateOfThoseThatServe(t *testing.T) {
	bubble(t, compared("a", "b", "c", "d", "e"), func(t *testing.T, p *pool.Pool, j *journal) {
		work(t, p, 1000, "c", 2, pool.Reset)
		if err := p.Mark(addr("e"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		serving(t, p, "abcd")
		want(t, j, "0s e drain")
	})
}

// With other settings the interval begins anew; without them nobody who was
// ejected stays out.
func TestSuccessRateOfAnotherSpec(t *testing.T) {
	bubble(t, compared("a", "b", "c", "d", "e"), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(5 * time.Second)
		work(t, p, 1000, "c", 2, pool.Reset)
		s := compared("a", "b", "c", "d", "e")
		s.Passive.MaxEjected = 40 // the same interval goes on
		p.Update(s)
		time.Sleep(5 * time.Second)
		serving(t, p, "abde")
		want(t, j, "10s c ejected")
		s.Passive.SuccessRate = pool.SuccessRate{}
		p.Update(s)
		serving(t, p, "abcde")
		want(t, j, "10s c returned")
		work(t, p, 1000, "c", 2, pool.Reset)
		p.Update(compared("a", "b", "c", "d", "e")) // what was before does not count
		time.Sleep(time.Minute)
		serving(t, p, "abcde")
		want(t, j, "")
	})
}

// Both kinds are counted, with the reason.
func TestSuccessRateIsCounted(t *testing.T) {
	f := func(enforce bool, series string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := metrics.New(1)
			p := pool.NewSteady("web", pool.Options{Loops: 1, Metrics: r}, 0.5)
			defer p.Close()
			s := compared("a", "b", "c", "d", "e")
			s.Passive.Enforce = enforce
			p.Update(s)
			work(t, p, 1000, "c", 2, pool.Reset)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			families, err := r.Prometheus().Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				if f.GetName() == series && strings.Contains(f.String(), `"success_rate"`) {
					return
				}
			}
			t.Errorf("no %s with that reason", series)
		})
	}
	f(true, "weir_ejections_total")
	f(false, "weir_would_eject_total")
}
