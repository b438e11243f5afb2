package main

import (
	"testing"
	"time"
)

func TestParseWrk(t *testing.T) {
	f := func(out string, want load, ok bool) {
		t.Helper()
		if got, err := parseWrk(out); got != want || (err == nil) != ok {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	f("  1234 requests in 3.00s, 1MB read\nRequests/sec:    411.33\n", load{1234, 0, 411.33}, true)
	f("  1234 requests in 3.00s\n  Socket errors: connect 0, read 1, write 2, timeout 3\n  Non-2xx or 3xx responses: 4\nRequests/sec: 411\n", load{1234, 10, 411}, true)
	f("  0 requests in 3.00s\nRequests/sec: 0.00\n", load{}, false)
	f("unable to connect", load{}, false)
}

func TestParseStat(t *testing.T) {
	u, s, err := parseStat("42 (a ) name) S 1 2 3 4 5 6 7 8 9 10 150 250 0 0")
	if err != nil || u != 1500*time.Millisecond || s != 2500*time.Millisecond {
		t.Errorf("%v, %v, %v; want 1.5 s and 2.5 s", u, s, err)
	}
	if _, _, err := parseStat("42 (x) S 1"); err == nil {
		t.Error("a short stat was taken")
	}
}

func TestMedian(t *testing.T) {
	if m := median([]float64{9, 1, 5}); m != 5 {
		t.Errorf("median %v, want 5", m)
	}
}
