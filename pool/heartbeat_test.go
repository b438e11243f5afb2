package pool_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/health"
	"weir/pool"
)

// heard adds a ttl of 10 s to a spec.
func heard(s pool.Spec) pool.Spec {
	s.Heartbeat = 10 * time.Second
	return s
}

// beat reports for each of these backends; what it says is as ParseHeartbeat
// reads it.
func beat(t *testing.T, p *pool.Pool, who, said string) (last pool.Pulse) {
	t.Helper()
	r, err := health.ParseHeartbeat(said)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range who {
		if last, err = p.Heartbeat(addr(string(c)), r); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func cause(p *pool.Pool, who string) string {
	for _, b := range p.Status().Backends {
		if name(b.Address) == who {
			return b.Cause
		}
	}
	return "no such backend"
}

func wantCause(t *testing.T, p *pool.Pool, who, want string) {
	t.Helper()
	synctest.Wait()
	if got := cause(p, who); got != want {
		t.Errorf("%s: cause %q, want %q", who, got, want)
	}
}

// Who is there when Weir starts has the time of one ttl to report.
func TestHeartbeatAtTheStart(t *testing.T) {
	bubble(t, heard(spec("a", "b", "c")), func(t *testing.T, p *pool.Pool, j *journal) {
		serving(t, p, "abc")
		wantCause(t, p, "a", "waiting for the first heartbeat")
		time.Sleep(4 * time.Second)
		if got := beat(t, p, "ab", ""); got != (pool.Pulse{TTL: 10, State: "up", Cause: "heartbeats come in time"}) {
			t.Errorf("%+v", got)
		}
		want(t, j, "") // it was in, and is
		time.Sleep(6*time.Second - time.Nanosecond)
		serving(t, p, "abc")
		time.Sleep(time.Nanosecond)
		serving(t, p, "ab")
		want(t, j, "10s c down")
		wantCause(t, p, "c", "no heartbeat yet")
		if got := state(p); got != "a=up b=up c=down" {
			t.Error(got)
		}
	})
}

// One that falls silent is out at the ttl, to the moment, and in again with its
// next report.
func TestHeartbeatStopsAndReturns(t *testing.T) {
	bubble(t, heard(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		for range 10 {
			beat(t, p, "ab", "")
			time.Sleep(9 * time.Second)
		}
		want(t, j, "") // no event for a beat
		beat(t, p, "a", "")
		time.Sleep(time.Second)
		serving(t, p, "a")
		want(t, j, "1m31s b down")
		wantCause(t, p, "b", "no heartbeat for 10s")
		b := p.Status().Backends[1]
		if b.State != "down" || b.Health != "up" || b.Heartbeat != "down" || time.Since(b.LastHeartbeat) != 10*time.Second {
			t.Errorf("%+v", b)
		}
		time.Sleep(2 * time.Second)
		if got := beat(t, p, "b", ""); got.State != "up" {
			t.Errorf("%+v", got)
		}
		serving(t, p, "ab")
		want(t, j, "1m33s b up")
		events, err := p.History(addr("b"))
		if err != nil || events[len(events)-1].Cause != "a heartbeat again, after 12s" {
			t.Errorf("%v, %v", events, err)
		}
	})
}

// A backend that is added later has to report first.
func TestHeartbeatOfANewOne(t *testing.T) {
	bubble(t, heard(spec("a")), func(t *testing.T, p *pool.Pool, j *journal) {
		beat(t, p, "a", "")
		p.Update(heard(spec("a", "b")))
		serving(t, p, "a")
		wantCause(t, p, "b", "no heartbeat yet")
		if got := state(p); got != "a=up b=unknown" {
			t.Error(got)
		}
		time.Sleep(5 * time.Second)
		beat(t, p, "ab", "")
		serving(t, p, "ab")
		want(t, j, "0s b added, 5s b up")

		// to say down is a report, too
		p.Update(heard(spec("a", "b", "c")))
		beat(t, p, "c", "down #warming up")
		if got := state(p); got != "a=up b=up c=down" {
			t.Error(got)
		}
		want(t, j, "5s c added, 5s c down")
	})
}

// If there are only new ones they are used, reports or not, as soon as one has
// reported nobody but those that have.
func TestHeartbeatOfOnlyNewOnes(t *testing.T) {
	with := func(s pool.Spec) pool.Spec {
		s = heard(s)
		s.PanicThreshold = 50
		return s
	}
	bubble(t, with(spec("a")), func(t *testing.T, p *pool.Pool, _ *journal) {
		p.Update(with(spec("b", "c")))
		serving(t, p, "bc")
		beat(t, p, "c", "")
		serving(t, p, "c")
	})
}

// If all fall silent together, the fault may be the way to Weir: with a
// threshold they are all used.
func TestAllHeartbeatsStop(t *testing.T) {
	s := heard(spec("a", "b"))
	s.PanicThreshold = 50
	bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
		beat(t, p, "ab", "")
		time.Sleep(time.Minute)
		serving(t, p, "ab")
		if got := j.read(); !strings.Contains(got, "panic") {
			t.Errorf("%s, want a panic", got)
		}
		beat(t, p, "b", "")
		serving(t, p, "b")
	})
}

// The state is the backend's: a reload with another ttl counts from the same
// report, and without one everybody is in.
func TestHeartbeatsOutliveReloads(t *testing.T) {
	bubble(t, heard(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		with := func(ttl time.Duration, words ...string) {
			s := spec(words...)
			s.Heartbeat = ttl
			p.Update(s)
		}
		beat(t, p, "ab", "")
		time.Sleep(3 * time.Second)
		beat(t, p, "b", "")
		time.Sleep(3 * time.Second)
		with(5*time.Second, "a*3", "b")
		serving(t, p, "b")
		wantCause(t, p, "a", "no heartbeat for 5s, the last 6s ago")
		want(t, j, "6s a down")
		with(time.Minute, "a*3", "b")
		serving(t, p, "ab")
		want(t, j, "6s a up")
		if got := j.raw[len(j.raw)-1].Cause; got != "heartbeats are due within 1m0s now" {
			t.Errorf("cause %q", got)
		}
		with(5*time.Second, "a", "b")
		serving(t, p, "b")
		time.Sleep(2 * time.Second)
		want(t, j, "6s a down, 8s b down")
		with(0, "a", "b")
		serving(t, p, "ab")
		want(t, j, "8s a up, 8s b up")
		if b := p.Status().Backends[0]; b.Heartbeat != "" || b.Cause != "" {
			t.Errorf("%+v", b)
		}
	})
}

// When a pool that serves begins to want reports, nobody is out before the ttl.
func TestHeartbeatBegins(t *testing.T) {
	bubble(t, spec("a", "b"), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Hour)
		p.Update(heard(spec("a", "b", "c")))
		serving(t, p, "ab")
		j.read()
		time.Sleep(5 * time.Second)
		beat(t, p, "b", "")
		time.Sleep(5 * time.Second)
		serving(t, p, "b")
		want(t, j, "1h0m10s a down")
	})
}

// A report may say more than that somebody is there.
func TestHeartbeatsThatSayMore(t *testing.T) {
	bubble(t, heard(spec("a*10", "b*10")), func(t *testing.T, p *pool.Pool, j *journal) {
		beat(t, p, "b", "")
		// down is out at once, whatever the ttl; the next one that does not say it is up
		beat(t, p, "a", `{"up":false,"reason":"disk full"}`)
		serving(t, p, "b")
		wantCause(t, p, "a", "it says that it is down: disk full")
		beat(t, p, "a", "down")
		wantCause(t, p, "a", "it says that it is down")
		want(t, j, "0s a down")
		beat(t, p, "a", "")
		serving(t, p, "ab")
		want(t, j, "0s a up")

		// no new requests, until it says ready
		beat(t, p, "a", `{"admin":"drain"}`)
		serving(t, p, "b")
		wantCause(t, p, "a", "its heartbeat asks for no new requests")
		beat(t, p, "a", "")
		serving(t, p, "b")
		beat(t, p, "a", "ready")
		serving(t, p, "ab")
		want(t, j, "0s a weight, 0s a weight")

		// a load, half of the way at a time
		for range 10 {
			beat(t, p, "a", `{"load":0.6}`)
		}
		synctest.Wait()
		if a := p.Status().Backends[0]; a.EffectiveWeight != 4 || a.WeightPercent != 40 || a.SlowStart != 0 {
			t.Errorf("%+v", a)
		}
		want(t, j, "0s a weight, 0s a weight")

		// nobody speaks any more: nothing of it is left
		p.Update(spec("a*10", "b*10"))
		synctest.Wait()
		if a := p.Status().Backends[0]; a.EffectiveWeight != 10 || a.WeightPercent != 0 {
			t.Errorf("%+v", a)
		}
	})
}

// Reports and probes are axes of their own: both must hold.
func TestHeartbeatsAndChecks(t *testing.T) {
	c := &clinic{}
	bubble(t, heard(checked(spec("a", "b"), c)), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		serving(t, p, "ab")
		j.read()
		goOn := func(who string) {
			for range 10 {
				beat(t, p, who, "")
				time.Sleep(2 * time.Second)
			}
		}
		c.say("a")
		goOn("ab")
		serving(t, p, "b")
		goOn("b")
		c.say("")
		goOn("b")
		serving(t, p, "b")
		if a := p.Status().Backends[0]; a.Health != "up" || a.Heartbeat != "down" || a.State != "down" || a.Cause != "no heartbeat for 10s" {
			t.Errorf("%+v", a)
		}
		c.say("a")
		goOn("b")
		if got := beat(t, p, "a", ""); got.State != "down" || got.Cause != "feels sick" {
			t.Errorf("%+v", got)
		}
		serving(t, p, "b")
		var why []string
		events, _ := p.History(addr("a"))
		for _, e := range events[2:] {
			why = append(why, e.What+": "+e.Cause)
		}
		if got, want := strings.Join(why, "\n"), strings.Join([]string{
			"down: feels sick",
			"down: no heartbeat for 10s",
			"up: check passed; still out: no heartbeat for 10s",
			"down: feels sick",
			"up: a heartbeat again, after 1m2s; still out: feels sick",
		}, "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// The operator's word stands beside all that.
func TestHeartbeatsInMaintenance(t *testing.T) {
	bubble(t, heard(spec("a", "b")), func(t *testing.T, p *pool.Pool, _ *journal) {
		if err := p.Mark(addr("a"), pool.Maintenance); err != nil {
			t.Fatal(err)
		}
		if got := beat(t, p, "ab", ""); got.State != "up" {
			t.Errorf("%+v", got)
		}
		serving(t, p, "b")
		time.Sleep(9 * time.Second)
		beat(t, p, "b", "")
		time.Sleep(time.Second)
		if err := p.Mark(addr("a"), pool.Ready); err != nil {
			t.Fatal(err)
		}
		serving(t, p, "b")
		beat(t, p, "a", "")
		serving(t, p, "ab")
	})
}

// One that comes back is cold.
func TestSlowStartAfterSilence(t *testing.T) {
	bubble(t, slowly(heard(spec("a*10", "b*10"))), func(t *testing.T, p *pool.Pool, _ *journal) {
		wantRamps(t, p, "a=10 b=10")
		for range 3 {
			beat(t, p, "b", "")
			time.Sleep(5 * time.Second)
		}
		wantRamps(t, p, "a=0 b=10")
		beat(t, p, "a", "")
		wantRamps(t, p, "a=1@10% b=10")
	})
}

func TestUnwantedHeartbeats(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a"))
	var unknown *pool.UnknownBackendError
	if _, err := p.Heartbeat(addr("z"), health.Report{}); !errors.As(err, &unknown) {
		t.Error(err)
	}
	var unwanted *pool.NoHeartbeatError
	if _, err := p.Heartbeat(addr("a"), health.Report{}); !errors.As(err, &unwanted) {
		t.Error(err)
	}
}

// A pool that was removed and is back with all its backends is one that starts:
// they have the time of one ttl to report, whatever still ran.
func TestHeartbeatOfAPoolThatIsBack(t *testing.T) {
	for _, busy := range []bool{false, true} {
		bubble(t, heard(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
			beat(t, p, "ab", "")
			synctest.Wait()
			l, _ := take(p)
			if !busy {
				l.Done(pool.Success)
			}
			p.Retire()
			synctest.Wait()
			p.Update(heard(spec("a", "b")))
			synctest.Wait()
			if got := state(p); got != "a=up b=up" {
				t.Errorf("with a request that runs on, %v: %s", busy, got)
			}
			if busy {
				l.Done(pool.Success)
			}
		})
	}
}
