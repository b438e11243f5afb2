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
		if got := a.hear(r) != ""; got != changed {
			t.Errorf("%+v: changed %v, want %v", r, got, changed)
		}
		if got := a.apply(1000); got != weight {
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
		a.hear(report(0, "", -1))
	}
	if !a.refuses() {
		t.Error("a weight of nothing gets requests")
	}
}
