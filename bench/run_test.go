package bench

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipeServer answers each request on its side of a net.Pipe after the time
// that service returns for it. Inside a bubble all of its time is virtual.
func pipeServer(c net.Conn, service func() time.Duration) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		time.Sleep(service())
		if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")); err != nil {
			return
		}
	}
}

// pipes is an Options.Dial to such servers, which it waits for.
func pipes(t *testing.T, service func() time.Duration) func(context.Context, string, string) (net.Conn, error) {
	var servers sync.WaitGroup
	t.Cleanup(servers.Wait)
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		servers.Go(func() { pipeServer(server, service) })
		return client, nil
	}
}

// inBubble runs o against service in virtual time.
func inBubble(t *testing.T, o Options, service func() time.Duration) (p *Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.URL, o.Dial = "http://bubble/", pipes(t, service)
		var err error
		if p, err = Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	})
	return p
}

// about compares with the three digits that the histogram keeps.
func about(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if diff := (got - want).Abs(); diff > want/500+time.Microsecond {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// A server that stalls once for a second makes a hundred requests late, not
// one. The service time alone hides 99 of them.
func TestOpenLoopCountsWhatAStallDelayed(t *testing.T) {
	var n atomic.Int64
	p := inBubble(t, Options{Connections: 1, Rate: 100, Duration: 10 * time.Second}, func() time.Duration {
		if n.Add(1) == 501 { // due at 5 s
			return time.Second
		}
		return time.Millisecond
	})
	if p.Answers != 1000 || p.Failed != 0 || p.NotSent != 0 {
		t.Fatalf("answers %d, failed %d, not sent %d; want 1000, 0, 0", p.Answers, p.Failed, p.NotSent)
	}
	// One request took a second, all others a millisecond.
	about(t, "service p50", p.Service.P50, time.Millisecond)
	about(t, "service p99.9", p.Service.P999, time.Millisecond)
	about(t, "service max", p.Service.Max, time.Second)
	// Request k after the stalled one is due 10k ms later and served at
	// 1000+k ms: its latency is 1000-9k ms, down to the queue's end at k = 111.
	// So 110 of 1000 requests took longer than 10 ms; the 10th slowest, k = 9
	// (the stalled one is the slowest), took 919 ms.
	about(t, "latency p50", p.Latency.P50, time.Millisecond)
	about(t, "latency p99", p.Latency.P99, 910*time.Millisecond)
	about(t, "latency max", p.Latency.Max, time.Second)
}

// What the target had no time for is said, not forgotten.
func TestOpenLoopTooFast(t *testing.T) {
	p := inBubble(t, Options{Connections: 2, Rate: 100, Duration: 10 * time.Second}, func() time.Duration {
		return 100 * time.Millisecond
	})
	// Two connections manage 20 a second.
	if p.Requests != 200 || p.NotSent != 800 {
		t.Errorf("requests %d, not sent %d; want 200 and 800", p.Requests, p.NotSent)
	}
	about(t, "service p99", p.Service.P99, 100*time.Millisecond)
	if p.Latency.P99 < 7*time.Second {
		t.Errorf("latency p99 = %v, want most of the 8 s by which the last requests are late", p.Latency.P99)
	}
}

func TestClosedLoop(t *testing.T) {
	p := inBubble(t, Options{Connections: 4, Duration: time.Second}, func() time.Duration {
		return 10 * time.Millisecond
	})
	if p.Answers != 400 || p.Connects != 4 {
		t.Errorf("answers %d over %d connections, want 400 over 4", p.Answers, p.Connects)
	}
	about(t, "latency p99", p.Latency.P99, 10*time.Millisecond)
	if p.Seconds != 1 {
		t.Errorf("took %v s, want 1", p.Seconds)
	}
}

func TestRequestsBound(t *testing.T) {
	p := inBubble(t, Options{Connections: 64, Requests: 10}, func() time.Duration { return time.Second })
	if p.Answers != 10 || p.Connects != 10 {
		t.Errorf("answers %d, connects %d; want 10 and 10", p.Answers, p.Connects)
	}
}

func TestTimeout(t *testing.T) {
	p := inBubble(t, Options{Connections: 1, Requests: 3, Timeout: time.Second}, func() time.Duration { return time.Minute })
	if p.ErrorCounts["timeout"] != 3 || p.Seconds != 3 || !p.AllFailed() {
		t.Errorf("errors %v in %v s, want 3 timeouts in 3 s", p.ErrorCounts, p.Seconds)
	}
}

// Cancelling returns at once, with what there was, and abandoned requests are
// not errors.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		p, err := Run(ctx, Options{
			URL: "http://bubble/", Connections: 1,
			Dial: pipes(t, func() time.Duration { return time.Second }),
		})
		if err != nil || p.Answers != 2 || p.Failed != 0 || p.Seconds != 2.5 {
			t.Errorf("%+v, %v; want 2 answers, none failed, in 2.5 s", p, err)
		}
	})
}

func TestProgress(t *testing.T) {
	var seen []Progress
	p := inBubble(t, Options{
		Connections: 1, Duration: 3500 * time.Millisecond,
		Progress: func(p Progress) { seen = append(seen, p) },
	}, func() time.Duration { return 300 * time.Millisecond })
	var answers int64
	for _, s := range seen {
		answers += s.Answers
	}
	// The last half second is in the report only.
	if len(seen) != 3 || answers != 9 && answers != 10 || p.Answers != 12 {
		t.Errorf("%d reports of %d answers, %d in all; want 3, 9 or 10 (the tenth is due with the third report) and 12", len(seen), answers, p.Answers)
	}
}

func TestRefused(t *testing.T) {
	p, err := Run(t.Context(), Options{
		URL: "http://x/", Connections: 2, Requests: 5,
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") },
	})
	if err != nil || p.ErrorCounts["connect"] != 5 || !p.AllFailed() {
		t.Errorf("%+v, %v; want 5 connect errors", p, err)
	}
}
