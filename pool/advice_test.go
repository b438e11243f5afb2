package pool

import (
	"testing"

	"weir/health"
)

func TestAdvice(t *testing.T) {
	up := true
	report := func(weight int, admin string, limit int) health.Report {
		return health.Report{Weight: weight, Admin: admin, Up: &up, MaxConn: limit}
	}
	var a advice
	f := func(r health.Report, changed bool, weight int, refuses bool, limit int) {
		t.Helper()
		if got, _ := a.hear(r, agent); got != changed {
			t.Errorf("%+v: changed %v, want %v", r, got, changed)
		}
		if got := a.percent * 10; got != weight {
			t.Errorf("%+v: weight %d, want %d", r, got, weight)
		}
		if a.refuses() != refuses || a.bound(100) != limit {
			t.Errorf("%+v: refuses %v, at most %d", r, a.refuses(), a.bound(100))
		}
	}
	// nothing is said
	f(report(-1, "", -1), false, 1000, false, 100)
	// half of the way at a time, and then there
	f(report(20, "", -1), true, 600, false, 100)
	f(report(20, "", -1), true, 400, false, 100)
	f(report(20, "", -1), true, 300, false, 100)
	f(report(20, "", -1), true, 250, false, 100)
	f(report(20, "", -1), true, 200, false, 100)
	f(report(20, "", -1), false, 200, false, 100)
	// more than the weight, too
	f(report(200, "", -1), true, 1100, false, 100)
	// no new work
	f(report(-1, "drain", -1), true, 1100, true, 100)
	f(report(-1, "drain", -1), false, 1100, true, 100)
	f(report(-1, "ready", -1), true, 1100, false, 100)
	// fewer at once, but never more than the operator says
	f(report(-1, "", 30), true, 1100, false, 30)
	f(report(-1, "", 300), true, 1100, false, 100)
	f(report(-1, "", 0), true, 1100, false, 100)
	for range 20 {
		a.hear(report(0, "", -1), agent)
	}
	if !a.refuses() {
		t.Error("a weight of nothing gets requests")
	}
}

// A weight that goes up and down with a load is an event only now and then; what
// somebody has decided always is.
func TestAdviceThatIsNews(t *testing.T) {
	var a advice
	f := func(r health.Report, by speaker, want string) {
		t.Helper()
		if _, got := a.hear(r, by); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
	weight := func(n int) health.Report { return health.Report{Weight: n, MaxConn: -1} }
	f(weight(98), agent, "")
	f(weight(94), agent, "")
	f(weight(56), agent, "75 % of its weight, says its agent")
	f(weight(70), agent, "")
	f(weight(65), heartbeats, "")
	f(weight(35), heartbeats, "50 % of its weight, says its heartbeat")
	f(health.Report{Weight: -1, MaxConn: 30}, heartbeats, "30 requests at once, says its heartbeat")
	f(health.Report{Weight: -1, MaxConn: -1, Admin: "drain"}, agent, "its agent asks for no new requests")
	f(health.Report{Weight: -1, MaxConn: -1}, heartbeats, "")
	f(health.Report{Weight: -1, MaxConn: -1, Admin: "ready"}, agent, "its agent asks for requests again")

	// at no weight it is out, and with the first bit of it in again
	a.percent, a.told = 3, 20
	f(weight(0), agent, "0 % of its weight, says its agent")
	f(weight(4), agent, "4 % of its weight, says its agent")

	// a speaker that falls silent takes along what it said last
	a.forget(heartbeats)
	if a.percent != 4 {
		t.Error("somebody else's word was forgotten")
	}
	a.forget(agent)
	if a != (advice{}) {
		t.Errorf("%+v", a)
	}
}
