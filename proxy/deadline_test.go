package proxy

import (
	"testing"
	"time"
)

func TestParseDeadline(t *testing.T) {
	f := func(text string, want time.Duration) {
		t.Helper()
		if got := parseDeadline([]byte(text)); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
	f("1", time.Second)
	f("1.234", 1234*time.Millisecond)
	f("0.001", time.Millisecond)
	f("007.50", 7500*time.Millisecond)
	f(".5", 500*time.Millisecond)
	f("5.", 5*time.Second)
	f("0.1234567891234567891234567891", 123456789)
	f("1000000", 1_000_000*time.Second)

	// nothing is left, or nothing that means seconds
	for _, text := range []string{"", ".", "0", "0.000", "-1", "+1", "1s", "1e3", "1,5", "1.2.3", "0x1", "1 2", "NaN", "Inf", "1764032400", "1000001",
		"99999999999999999999999999999999", "0.00000000000000000000000000000000001"} {
		f(text, 0)
	}
}

// Of several the soonest counts, and what is none does not.
func TestSeveralDeadlines(t *testing.T) {
	var h head
	if err := h.parse([]byte("X-Request-Deadline: 3\r\nx-request-deadline: soon\r\nX-REQUEST-DEADLINE: 2.5\r\nX-Request-Deadline: 9\r\n\r\n"), 10); err != nil {
		t.Fatal(err)
	}
	if h.deadline != 2500*time.Millisecond {
		t.Errorf("the deadline is %v, want 2.5s", h.deadline)
	}
}

func TestUsual(t *testing.T) {
	u := make(usual, 2)
	if d := u.of(0); d != 0 {
		t.Errorf("nothing is known, and usual is %v", d)
	}
	u.observe(0, 100*time.Millisecond)
	u.observe(0, 300*time.Millisecond)
	if d := u.of(0); d != 200*time.Millisecond {
		t.Errorf("the mean of 100 and 300 ms is %v", d)
	}
	for range 200 {
		u.observe(0, 20*time.Millisecond)
	}
	if d := u.of(0); d < 20*time.Millisecond || d > 21*time.Millisecond {
		t.Errorf("after a change to 20 ms usual is %v", d)
	}
	if d := u.of(1); d != 0 {
		t.Errorf("another loop knows %v", d)
	}
}
