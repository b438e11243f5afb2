package control

import (
	"strings"
	"testing"
	"time"

	"weir/internal/config"
	"weir/internal/metrics"
)

// tally is n answers of which some are failures, all after d but for slow ones
// after ten times that.
func tally(n, failures, slow int, d time.Duration) metrics.Tally {
	m := metrics.New(1).Route("l", "r")
	for i := range n {
		status, took := 200, d
		if i < failures {
			status = 503
		}
		if i >= n-slow {
			took *= 10
		}
		m.End(0, status, took, took, 0, 0)
	}
	return m.Tally()
}

func TestJudge(t *testing.T) {
	rule := config.Guard{MinRequests: 50, MaxErrorIncrease: 5, MaxLatencyFactor: 3}
	const ms = time.Millisecond
	looks := 10 // at which all answers had come that are slow
	f := func(before, after metrics.Tally, want, why string) {
		t.Helper()
		p := new(pace)
		for i := range looks {
			seen := after.Scale(float64(i+1) / float64(looks))
			p.look(rule, &before, &seen)
		}
		got, said := judge(rule, before, after, p)
		if got != want || !strings.Contains(said, why) || (said == "") != (why == "") {
			t.Errorf("%s %q, want %s %q", got, said, want, why)
		}
	}
	none := metrics.Tally{}
	f(none, none, Unproven, "")
	f(tally(1000, 0, 0, ms), tally(49, 49, 0, ms), Unproven, "") // too few, however bad
	f(tally(1000, 0, 0, ms), tally(50, 0, 0, ms), Good, "")

	// errors
	f(tally(1000, 0, 0, ms), tally(100, 5, 0, ms), Good, "")
	f(tally(1000, 0, 0, ms), tally(100, 6, 0, ms), Bad, "6.0 % of 100 answers are errors, 0.0 % of 1000 were before")
	f(tally(1000, 500, 0, ms), tally(100, 54, 0, ms), Good, "") // it was that bad before
	f(tally(1000, 500, 0, ms), tally(100, 56, 0, ms), Bad, "56.0 %")
	f(tally(1000, 500, 0, ms), tally(100, 0, 0, ms), Good, "")
	f(none, tally(100, 6, 0, ms), Bad, "0.0 % of 0 were before") // a route that is new

	// latency: p99
	f(tally(1000, 0, 0, 10*ms), tally(100, 0, 0, 20*ms), Good, "")
	f(tally(1000, 0, 0, 10*ms), tally(100, 0, 0, 80*ms), Bad, "the 99th percentile of 100 answers is")
	f(tally(1000, 0, 0, ms), tally(100, 0, 0, 5*ms), Good, "")         // too small to mean anything
	f(tally(1000, 0, 0, 3*ms), tally(300, 0, 9, 3*ms), Good, "")       // as is 30 ms of a few
	f(tally(1000, 0, 0, 10*ms), tally(200, 0, 2, 10*ms), Good, "")     // one percent is not more than one percent
	f(tally(1000, 0, 0, 10*ms), tally(400, 0, 8, 10*ms), Bad, "99th")  // two percent are
	f(tally(1000, 0, 30, 10*ms), tally(400, 0, 12, 10*ms), Good, "")   // and they were before
	f(tally(10, 0, 0, 10*ms), tally(100, 0, 0, time.Second), Good, "") // nothing to compare with

	// the median: of all, so that less is enough, also where some were slow before
	f(tally(1000, 0, 0, 5*ms), tally(100, 0, 0, 50*ms), Bad, "the median of 100 answers is")
	f(tally(1000, 0, 30, 10*ms), tally(100, 0, 0, 50*ms), Bad, "the median of 100 answers is")
	f(tally(1000, 0, 30, 10*ms), tally(100, 0, 0, 20*ms), Good, "")
	f(tally(1000, 0, 30, 5*ms), tally(100, 0, 40, 5*ms), Good, "") // not half of them

	// the machine stood still for a moment, and all that came then was slow
	looks = 4
	f(tally(1000, 0, 0, 10*ms), tally(200, 0, 100, 10*ms), Good, "")
	f(tally(1000, 0, 0, 10*ms), tally(50, 0, 50, 10*ms), Good, "")
	f(tally(1000, 0, 0, 10*ms), tally(200, 20, 100, 10*ms), Bad, "10.0 %") // errors need no looks
	looks = 5
	f(tally(1000, 0, 0, 10*ms), tally(200, 0, 100, 10*ms), Bad, "99th")
}

// Looks that see nothing more do not count.
func TestPace(t *testing.T) {
	rule := config.Guard{MinRequests: 50, MaxErrorIncrease: 5, MaxLatencyFactor: 3}
	before, after := tally(1000, 0, 0, 10*time.Millisecond), tally(100, 0, 50, 10*time.Millisecond)
	var p pace
	for range 10 {
		p.look(rule, &before, &after)
	}
	if verdict, why := judge(rule, before, after, &p); verdict != Good {
		t.Errorf("a moment is %s: %s", verdict, why)
	}
	for i := range 10 {
		more := after.Scale(float64(i + 2))
		p.look(rule, &before, &more)
	}
	if verdict, _ := judge(rule, before, after, &p); verdict != Bad {
		t.Errorf("all the time is %s", verdict)
	}
	p.reset()
	if verdict, _ := judge(rule, before, after, &p); verdict != Good {
		t.Errorf("after a reset it is %s", verdict)
	}
}

func TestMeasure(t *testing.T) {
	got := measure(tally(200, 3, 0, 20*time.Millisecond))
	if got.Requests != 200 || got.ErrorShare != 1.5 || got.P99 < .02 || got.P99 > .026 {
		t.Errorf("got %+v", got)
	}
}

func TestTouched(t *testing.T) {
	const two = `
listeners:
  - name: web
    address: :8080
    routes:
      - {name: api, match: {path: /v1/}, pool: api}
      - {name: rest, pool: web}
  - {name: other, address: ":8081", routes: [{name: all, pool: web}]}
pools:
  api: {backends: [{address: "10.0.0.1:80"}]}
  web: {backends: [{address: "10.0.1.1:80"}]}
`
	f := func(old, new string, want ...string) {
		t.Helper()
		var got []string
		for _, n := range touched(mustParse(t, two), mustParse(t, strings.Replace(two, old, new, 1))) {
			got = append(got, n.String())
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%q -> %q touches %v, want %v", old, new, got, want)
		}
	}
	f("", "")
	f("\nlisteners", "\nlog: {level: debug}\nlisteners")
	f("10.0.0.1:80\"", "10.0.0.1:81\"", "web/api")
	f("10.0.1.1:80\"", "10.0.1.1:80\", weight: 2", "web/rest", "other/all")
	f("{name: rest, pool: web}", "{name: rest, pool: web, compress: true}", "web/rest")
	f("{name: rest, pool: web}", "{name: rest, pool: api}", "web/rest")
	f("/v1/", "/v2/", "web/api", "web/rest") // what is not the one's is the other's
	f("      - {name: api, match: {path: /v1/}, pool: api}\n", "", "web/rest")
	f("name: rest", "name: new", "web/api", "web/new")
	f("\nlisteners", "\ndefaults: {timeouts: {response: 1s}}\nlisteners", "web/api", "web/rest", "other/all")
}
