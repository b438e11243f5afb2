package health_test

import (
	"testing"
	"time"

	"weir/health"
)

func TestTracker(t *testing.T) {
	f := func(fall, rise int, results, want string) {
		t.Helper()
		tr := health.Tracker{Fall: fall, Rise: rise}
		for _, r := range results {
			tr.Observe(r == '+', time.Time{})
		}
		got := "unknown"
		if tr.Known() {
			got = map[bool]string{true: "up", false: "down"}[tr.Up()]
		}
		if tr.InTransition() {
			got += "?"
		}
		if got != want {
			t.Errorf("fall %d rise %d: after %q it is %s, want %s", fall, rise, results, got, want)
		}
	}

	// nothing is known before the first result, which decides alone
	f(3, 2, "", "unknown")
	f(3, 2, "+", "up")
	f(3, 2, "-", "down")

	// one failure is noise, three in a row are an outage
	f(3, 2, "+-", "up?")
	f(3, 2, "+--", "up?")
	f(3, 2, "+---", "down")

	// a success in between starts the count again
	f(3, 2, "+--+", "up")
	f(3, 2, "+--+--", "up?")
	f(3, 2, "+--+---", "down")

	// coming back takes two passes in a row, also after a failed first probe
	f(3, 2, "-+", "down?")
	f(3, 2, "-++", "up")
	f(3, 2, "-+-", "down")
	f(3, 2, "-+-+", "down?")
	f(3, 2, "+---+-++", "up")

	// counts of one, and counts that make no sense, flip at once
	f(1, 1, "+-+-", "down")
	f(0, 0, "+-+", "up")
	f(-4, -4, "+-", "down")
}

func TestTrackerReportsEachChangeOnce(t *testing.T) {
	tr := health.Tracker{Fall: 2, Rise: 2}
	var changes string
	for _, r := range "+++---+-+++" {
		if tr.Observe(r == '+', time.Time{}) {
			changes += "!"
		} else {
			changes += "."
		}
	}
	if want := "!...!....!."; changes != want {
		t.Errorf("changes %s, want %s", changes, want)
	}
}
