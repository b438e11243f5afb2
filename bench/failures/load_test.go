package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDueAt(t *testing.T) {
	f := func(i int, rate float64, want time.Duration) {
		t.Helper()
		if got := dueAt(i, rate); got != want {
			t.Errorf("request %d at %g/s is due at %v, want %v", i, rate, got, want)
		}
	}
	f(0, 1000, 0)
	f(1, 1000, time.Millisecond)
	f(3, 3, time.Second)               // thirds do not add up to less
	f(1_000_000, 3, 333333333333333*1) // nor do a million of them
	f(1274*3600, 1274, 3600*time.Second)
}

func TestCount(t *testing.T) {
	f := func(rate float64, length time.Duration, want int) {
		t.Helper()
		if got := count(rate, length); got != want {
			t.Errorf("%d requests at %g/s in %v, want %d", got, rate, length, want)
		}
	}
	f(1000, time.Second, 1000)
	f(1000, 1500*time.Microsecond, 2) // at 0 and at 1 ms
	f(3, time.Second, 3)
	f(0.5, time.Second, 1)
	f(1274, 4500*time.Millisecond, 5733)
}

// server answers on one side of pipes, at the time that until says for each
// request. Inside a bubble all of its time is virtual.
type server struct {
	until   func(arrived time.Duration) time.Duration // both since the start; negative: it hangs up
	began   time.Time
	dials   atomic.Int64
	serving sync.WaitGroup
}

func (s *server) dial(context.Context, string) (net.Conn, error) {
	s.dials.Add(1)
	client, c := net.Pipe()
	s.serving.Go(func() {
		defer c.Close()
		for in := bufio.NewReader(c); ; {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			at := s.until(time.Since(s.began))
			if at < 0 {
				return
			}
			time.Sleep(time.Until(s.began.Add(at)))
			if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s: 7\r\nContent-Length: 2\r\n\r\nok", backendName); err != nil {
				return
			}
		}
	})
	return client, nil
}

// inBubble runs l against a server in virtual time.
func inBubble(t *testing.T, l *load, until func(time.Duration) time.Duration) (samples []sample, s *server) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s = &server{until: until, began: time.Now()}
		l.dial, l.pause = s.dial, time.Sleep
		samples = l.run(t.Context())
		s.serving.Wait()
	})
	return samples, s
}

// A server that stands still for a second makes all requests late that were due
// in that second, though one client that waits for its answer would have counted
// one.
func TestNothingIsOmitted(t *testing.T) {
	samples, _ := inBubble(t, &load{rate: 100, length: 10 * time.Second, timeout: time.Minute}, func(at time.Duration) time.Duration {
		if at >= 5*time.Second && at < 6*time.Second {
			return 6 * time.Second
		}
		return at + time.Millisecond
	})
	got := sum(samples)
	if got.Requests != 1000 || got.Good != 1000 || got.P50 != duration(time.Millisecond) || got.Max != duration(time.Second) {
		t.Errorf("%+v", got)
	}
	// The hundred latencies are 1000, 990, … 10 ms: the tenth greatest of 1000 is 910.
	if want := duration(900 * time.Millisecond); got.P99 != want {
		t.Errorf("p99 %s ms, want %s", millis(got.P99), millis(want))
	}
	for i, s := range samples {
		if s.due != time.Duration(i)*10*time.Millisecond || s.backend != 7 {
			t.Fatalf("request %d: %+v", i, s)
		}
	}
}

// Connections are kept, and as few as will do.
func TestConnectionsAreKept(t *testing.T) {
	_, s := inBubble(t, &load{rate: 100, length: 10 * time.Second, timeout: time.Second}, func(at time.Duration) time.Duration {
		return at + 25*time.Millisecond
	})
	if n := s.dials.Load(); n != 3 {
		t.Errorf("%d connections for 25 ms at 100/s, want 3", n)
	}
}

func TestGivingUp(t *testing.T) {
	samples, s := inBubble(t, &load{rate: 10, length: time.Second, timeout: 2 * time.Second}, func(at time.Duration) time.Duration {
		return at + time.Minute
	})
	got := sum(samples)
	if got.Timeout != 10 || got.Max != duration(2*time.Second) || got.P50 != got.Max || s.dials.Load() != 10 {
		t.Errorf("%+v over %d connections; want 10 that took 2 s", got, s.dials.Load())
	}
}

func TestCut(t *testing.T) {
	samples, _ := inBubble(t, &load{rate: 10, length: time.Second, timeout: time.Second}, func(time.Duration) time.Duration { return -1 })
	if got := sum(samples); got.Cut != 10 || got.Good != 0 {
		t.Errorf("%+v, want 10 that were cut", got)
	}
	l := &load{rate: 10, length: time.Second, timeout: time.Second, pause: time.Sleep, dial: func(context.Context, string) (net.Conn, error) {
		return nil, errors.New("refused")
	}}
	synctest.Test(t, func(t *testing.T) { samples = l.run(t.Context()) })
	if got := sum(samples); got.Cut != 10 {
		t.Errorf("%+v, want 10 that were cut", got)
	}
}

// What the client has no connection for is said, not left out.
func TestUnsent(t *testing.T) {
	samples, _ := inBubble(t, &load{rate: maxConns + 100, length: time.Second, timeout: 2 * time.Second}, func(at time.Duration) time.Duration {
		return at + time.Minute
	})
	if got := sum(samples); got.Unsent != 100 || got.Timeout != maxConns {
		t.Errorf("%+v, want 100 unsent", got)
	}
}

func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		s := &server{began: time.Now(), until: func(at time.Duration) time.Duration { return at }}
		l := &load{rate: 1, length: time.Hour, timeout: time.Second, dial: s.dial, pause: time.Sleep}
		if samples := l.run(ctx); len(samples) != 3 {
			t.Errorf("%d requests in 2.5 s, want 3", len(samples))
		}
		s.serving.Wait()
	})
}

func TestKindOf(t *testing.T) {
	f := func(status int, name string, want kind, backend int) {
		t.Helper()
		if k, b := kindOf(status, name); k != want || b != backend {
			t.Errorf("%d of %q: %d of %d, want %d of %d", status, name, k, b, want, backend)
		}
	}
	f(200, "3", good, 3)
	f(404, "3", good, 3)
	f(500, "3", passedOn, 3)
	f(502, "", made, noBackend)
	f(200, "", made, noBackend) // who knows what that was
}
