package pool_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/pool"
)

// counting makes these the faults of a spec with passive checks.
func counting(words string) pool.Spec {
	s := passive(spec("a", "b"))
	s.Passive.Count = pool.FaultsOf(strings.Fields(words))
	return s
}

// Each outcome takes a backend out if it is counted, and else neither counts nor
// ends a streak.
func TestWhatCounts(t *testing.T) {
	f := func(words string, faults ...pool.Outcome) {
		t.Helper()
		isFault := func(o pool.Outcome) bool {
			for _, f := range faults {
				if f == o {
					return true
				}
			}
			return false
		}
		for o := pool.BadStatus + 1; o <= pool.ClientClosed; o++ {
			bubble(t, counting(words), func(t *testing.T, p *pool.Pool, _ *journal) {
				for range 5 {
					l := from(t, p, "a")
					l.Done(o)
				}
				synctest.Wait()
				if got := state(p) == "a=ejected b=up"; got != isFault(o) {
					t.Errorf("%q after five times %v: %s", words, o, state(p))
				}
				if errors := p.Status().Backends[0].Errors; (errors == 5) != isFault(o) {
					t.Errorf("%q after five times %v: %d errors", words, o, errors)
				}
			})
		}
	}
	f("connect timeout reset bad_response 502",
		pool.ConnectRefused, pool.ConnectTimeout, pool.ResponseTimeout, pool.Reset, pool.BadResponse)
	f("connect", pool.ConnectRefused, pool.ConnectTimeout)
	f("timeout 500", pool.ResponseTimeout)
	f("reset", pool.Reset)
	f("bad_response", pool.BadResponse)
	f("503")
	f("")
}

// A status that is listed is a fault, one that is not is a success.
func TestWhichStatusesCount(t *testing.T) {
	f := func(s pool.Spec, want string) {
		t.Helper()
		bubble(t, s, func(t *testing.T, p *pool.Pool, _ *journal) {
			var got []string
			for _, status := range []int{200, 404, 429, 499, 500, 501, 502, 503, 504, 563, 564, 599} {
				l := from(t, p, "a")
				o := l.Answered(status)
				l.Done(o)
				if o == pool.BadStatus {
					got = append(got, strconv.Itoa(status))
				} else if o != pool.Success {
					t.Errorf("%d is %v", status, o)
				}
			}
			if got := strings.Join(got, " "); got != want {
				t.Errorf("%s count, want %s", got, want)
			}
		})
	}
	f(passive(spec("a", "b")), "502 503 504")
	f(counting("connect 500 563 564 599"), "500 563 564 599")
	f(counting("connect"), "")
}

// The cause names the status; and a status that is not listed ends a streak, an
// outcome that is not counted does not.
func TestStreaksOfFaults(t *testing.T) {
	bubble(t, counting("500 reset"), func(t *testing.T, p *pool.Pool, j *journal) {
		end := func(status int) {
			t.Helper()
			l := from(t, p, "a")
			l.Done(l.Answered(status))
		}
		for _, status := range []int{500, 500, 500, 500, 503, 500, 500, 500, 500} {
			end(status)
		}
		serving(t, p, "ab")
		l := from(t, p, "a")
		l.Done(pool.ConnectRefused)
		end(500)
		serving(t, p, "b")
		want(t, j, "0s a ejected")
		if got := p.Status().Backends[0].Cause; got != "5 errors in a row, the last status 500" {
			t.Errorf("cause %q", got)
		}
	})
}

// A trial goes by the same notion: what is not counted decides nothing, and the
// next request is the trial.
func TestTrialsGoByFaults(t *testing.T) {
	s := counting("connect 500")
	s.Passive.HalfOpen = true
	bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
		l := onTrial(t, p)
		l.Done(pool.Reset)
		synctest.Wait()
		if !p.Status().Backends[0].HalfOpen {
			t.Error("a reset, which does not count, has ended the trial")
		}
		l = from(t, p, "a")
		l.Done(l.Answered(500))
		serving(t, p, "b")
		want(t, j, "0s a ejected, 10s a returned, 10s a ejected")
		time.Sleep(20 * time.Second)
		l = from(t, p, "a")
		l.Done(l.Answered(503))
		synctest.Wait()
		if p.Status().Backends[0].HalfOpen {
			t.Error("a 503, which is a success here, has not ended the trial")
		}
	})
}

// What counts changes with the Spec, at once.
func TestFaultsOfAnotherSpec(t *testing.T) {
	bubble(t, counting("reset"), func(t *testing.T, p *pool.Pool, _ *journal) {
		fail(t, p, "a", 20)
		serving(t, p, "ab")
		p.Update(counting("connect"))
		fail(t, p, "a", 5)
		serving(t, p, "b")
	})
}

func TestFaultsAreChecked(t *testing.T) {
	for _, word := range []string{"499", "600", "connects", "", "4xx"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is taken for a fault", word)
				}
			}()
			pool.FaultsOf([]string{word})
		}()
	}
}

// Where it is not enforced, those that would be out leave no room for more, as
// if they were.
func TestWouldEjectKeepsToTheCap(t *testing.T) {
	s := passive(spec("a", "b", "c", "d"))
	s.Passive.Enforce = false
	bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
		for _, who := range []string{"a", "b", "c", "d", "a"} {
			fail(t, p, who, 5)
			synctest.Wait()
		}
		serving(t, p, "abcd")
		want(t, j, "0s a would_eject, 0s b would_eject")
		time.Sleep(10 * time.Second)
		fail(t, p, "d", 5)
		want(t, j, "10s d would_eject")
	})
}
