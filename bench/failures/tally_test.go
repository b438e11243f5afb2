package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	thousand := make([]time.Duration, 1000)
	for i := range thousand {
		thousand[i] = time.Duration(i + 1)
	}
	f := func(values []time.Duration, p float64, want time.Duration) {
		t.Helper()
		if got := quantile(values, p); got != want {
			t.Errorf("p%g of %d values: %d, want %d", p, len(values), got, want)
		}
	}
	f(nil, 50, 0)
	f(thousand[:1], 50, 1)
	f(thousand[:1], 99.9, 1)
	f(thousand[:2], 50, 1)
	f(thousand[:3], 50, 2)
	f(thousand, 50, 500)
	f(thousand, 99, 990)
	f(thousand, 99.9, 999)
	f(thousand, 100, 1000)
	f(thousand[:100], 99.9, 100)
}

// at is a sample that was due at a second and took a tenth of one.
func at(second float64, k kind, backend int) sample {
	return sample{due: time.Duration(second * float64(time.Second)), took: 100 * time.Millisecond, kind: k, backend: backend}
}

func TestSum(t *testing.T) {
	got := sum([]sample{at(0, good, 1), at(1, made, noBackend), at(2, passedOn, 1), at(3, cut, noBackend), at(4, timedOut, noBackend), at(5, unsent, noBackend)})
	tenth := duration(100 * time.Millisecond)
	want := tally{Requests: 6, Good: 1, Made: 1, PassedOn: 1, Cut: 1, Timeout: 1, Unsent: 1, P50: tenth, P99: tenth, P999: tenth, Max: tenth}
	if got != want || got.Failed() != 5 {
		t.Errorf("%+v, %d failed", got, got.Failed())
	}
	if got := sum(nil); got != (tally{}) {
		t.Errorf("of nothing: %+v", got)
	}
	text, err := json.Marshal(want)
	if err != nil || !strings.Contains(string(text), `"p99_9_ms":100.000,`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestMoments(t *testing.T) {
	samples := []sample{at(0, good, 0), at(1, made, noBackend), at(2, good, 1), at(3, cut, noBackend), at(4, good, 1), at(5, good, 1)}
	second := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	if got := between(samples, second(1), second(3)); len(got) != 2 || got[0].kind != made || got[1].kind != good {
		t.Errorf("between 1 and 3: %+v", got)
	}
	if last, ok := lastFailure(samples, second(0.5)); !ok || last != second(2.5) {
		t.Errorf("the last failure was %v after 0.5 s, %v; want 2.5 s", last, ok)
	}
	if last, ok := lastFailure(samples, second(3.5)); ok {
		t.Errorf("a failure %v after 3.5 s", last)
	}
	if first, ok := firstGood(samples, second(2.5)); !ok || first != second(1.6) {
		t.Errorf("the first good answer came %v after 2.5 s, %v; want 1.6 s", first, ok)
	}
	if first, ok := firstGood(samples, second(2)+50*time.Millisecond); !ok || first != 50*time.Millisecond { // it was under way
		t.Errorf("the first good answer came %v after 2.05 s, %v; want 0.05 s", first, ok)
	}
	if first, ok := firstGood(samples, second(6)); ok {
		t.Errorf("a good answer %v after the end", first)
	}
	if got := share(samples, 1); got != 75 {
		t.Errorf("%g %% came from backend 1, want 75", got)
	}
	if got := share(nil, 1); got != 0 {
		t.Errorf("%g %% of nothing", got)
	}
}

func TestTable(t *testing.T) {
	tb := &table{text: 1, head: []string{"who", "n", "a long head"}}
	tb.add("weir", "12345", "1")
	tb.add("ü", "1", "-")
	var b strings.Builder
	if err := tb.write(&b); err != nil {
		t.Fatal(err)
	}
	want := `| who  |     n | a long head |
| ---- | ----: | ----------: |
| weir | 12345 |           1 |
| ü    |     1 |           - |
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}

func TestNumbers(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(millis(2345*time.Microsecond), "2.35")
	f(millis(23456*time.Microsecond), "23.5")
	f(millis(5001*time.Millisecond), "5001")
	f(millis(duration(0)), "0.00")
	f(seconds(1500*time.Millisecond, true), "1.50")
	f(seconds(0, false), "-")
	f(optional(nil), "-")
	half := 0.5
	f(optional(&half), "0.50")
	f(ratio(1.204), "1.20")
	f(tens(1.25), "1.2")
}
