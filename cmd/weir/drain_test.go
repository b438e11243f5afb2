package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"weir/internal/testkit"
	"weir/pool"
)

// busy is a weir run whose one backend has a request that ends when release is
// closed, or its connection is.
type busy struct {
	*running
	name    string // POOL/BACKEND
	client  *testkit.Client
	release chan struct{}
}

func newBusy(t *testing.T) *busy {
	t.Helper()
	asked := make(chan struct{}, 8)
	release := make(chan struct{})
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		asked <- struct{}{}
		select {
		case <-release:
		case <-x.Done:
			return false
		}
		return testkit.Named("done")(x)
	})
	w := &busy{running: start(t, oneBackend(b.Addr(), "")), name: "api/" + b.Addr(), release: release}
	w.client = testkit.Dial(t, w.web(t))
	w.client.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	<-asked
	return w
}

// waiting runs weir drain --wait until it shows something.
func (w *busy) waiting(t *testing.T, ctx context.Context) (ended <-chan result) {
	t.Helper()
	out, stderr, done := newLogText(), new(bytes.Buffer), make(chan result, 1)
	args := []string{"drain", w.name, "--wait", "--admin", w.admin}
	go func() {
		code := execute(ctx, args, nil, out, stderr)
		done <- result{code, out.String(), stderr.String()}
	}()
	out.await(t, "still runs")
	return done
}

// It waits for the request that runs and shows it; what ends in time is not
// touched.
func TestDrainWaits(t *testing.T) {
	w := newBusy(t)
	ended := w.waiting(t, t.Context())
	close(w.release)
	if reply := w.client.Read("POST"); reply.Body != "done" {
		t.Errorf("the request that ran got %v", reply)
	}
	r := (<-ended).want(t, 0, "1 request still runs, ", "left\n", w.name+": nothing runs on it, after ")
	if strings.Contains(r.out, "closed") || strings.Contains(r.out, eraseLine) {
		t.Errorf("it prints %q", r.out)
	}

	// nobody is left to ask
	if reply := testkit.Get(t, w.web(t), "/"); reply.Status != 503 || reply.Header("X-Weir-Reason") != "no_healthy" {
		t.Errorf("with its only backend draining: %v", reply)
	}
	w.do(t, "drain", w.name, "--wait").want(t, 0, w.name+": nothing runs on it, after ")
}

// At the deadline the rest is closed, and it says so.
func TestDrainClosesAtTheDeadline(t *testing.T) {
	w := newBusy(t)
	w.do(t, "drain", w.name, "--wait", "--timeout", "50ms").want(t, 0,
		"1 request still runs, ", w.name+": nothing runs on it, after ", "; 1 was closed by the deadline")
	if reply := w.client.Read("POST"); reply.Status != 503 || reply.Header("X-Weir-Reason") != "draining" {
		t.Errorf("the request that ran got %v", reply)
	}
	w.do(t, "status", w.name).want(t, 0, "drains since", "deadline", "closed by it", "1\n", "drained")
	var b pool.BackendStatus
	w.do(t, "drain", w.name, "--wait", "--json").want(t, 0).decode(t, &b)
	if b.Drain == nil || b.Drain.Closed != 1 || b.Drain.Empty.IsZero() {
		t.Errorf("%+v", b.Drain)
	}
}

// Without --wait it says what runs and for how long; status does as well.
func TestDrainSaysHowLong(t *testing.T) {
	w := newBusy(t)
	w.do(t, "drain", w.name).want(t, 0, w.name+": drain, 1 request still runs, 5m0s left")
	w.do(t, "maintain", w.name, "--timeout", "1h").want(t, 0, w.name+": maintenance, 1 request still runs, 1h0m0s left")
	w.do(t, "drain", w.name, "--timeout", "0s").want(t, 0, w.name+": drain, 1 request still runs, with no deadline")
	w.do(t, "status").want(t, 0, "set by the operator: 1 request still runs, with no deadline")
	w.do(t, "status", w.name).want(t, 0, "deadline", "none")
	w.do(t, "ready", w.name).want(t, 0, w.name+": ready", "1 request in flight")
	if r := w.do(t, "status", w.name).want(t, 0); strings.Contains(r.out, "deadline") {
		t.Errorf("ready, it still drains:\n%s", r.out)
	}
	close(w.release)
}

// Ctrl-C ends the command and not the drain.
func TestDrainIsNotWaitedFor(t *testing.T) {
	w := newBusy(t)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := w.waiting(t, ctx)
	interrupt()
	(<-ended).want(t, 1, "the drain of "+w.name+" goes on: 1 request still runs, ")
	w.do(t, "status").want(t, 0, "draining", "1 request still runs")

	// the command ends, too, when somebody else has ended the drain
	ended = w.waiting(t, t.Context())
	w.do(t, "ready", w.name).want(t, 0)
	(<-ended).want(t, 1, "somebody has ended the drain")
	close(w.release)
}

// A backend that is removed while it is waited for goes on draining, and can be
// hurried.
func TestDrainOfARemovedBackend(t *testing.T) {
	w := newBusy(t)
	ended := w.waiting(t, t.Context())
	write(t, w.file, yaml(w.dir, oneBackend("127.0.0.1:1", "")))
	w.do(t, "apply", w.file).want(t, 0)
	w.do(t, "status").want(t, 0, w.name, "draining", "no longer configured: 1 request still runs, ")
	w.do(t, "status", "api").want(t, 0, w.name)
	var st pool.Status
	w.do(t, "status", "api", "--json").want(t, 0).decode(t, &st)
	if len(st.Leaving) != 1 || "api/"+st.Leaving[0].Address != w.name || st.Leaving[0].Drain == nil {
		t.Errorf("%+v", st)
	}
	w.do(t, "ready", w.name).want(t, 1, "no backend")
	w.do(t, "drain", w.name, "--timeout", "10ms").want(t, 0, w.name)
	(<-ended).want(t, 0, w.name)
	w.do(t, "status", w.name).want(t, 1, "no backend")
}

// A terminal's line changes with the time, other outputs get a line a change.
func TestDrainShows(t *testing.T) {
	begin := time.Now()
	f := func(terminal bool, want string) {
		t.Helper()
		var out bytes.Buffer
		w := &drainWait{out: &out, terminal: terminal}
		b := pool.BackendStatus{InFlight: 2, Drain: &pool.DrainStatus{Since: begin, Until: begin.Add(time.Minute)}}
		w.show(b, begin)
		w.show(b, begin.Add(10*time.Millisecond))
		w.show(b, begin.Add(time.Second))
		b.InFlight = 1
		w.show(b, begin.Add(time.Second))
		w.say("done")
		w.finish()
		if got := out.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(true, eraseLine+"2 requests still run, 1m0s left"+eraseLine+"2 requests still run, 59s left"+
		eraseLine+"1 request still runs, 59s left"+eraseLine+"done\n")
	f(false, "2 requests still run, 1m0s left\n1 request still runs, 59s left\ndone\n")
}

func TestDrainProgress(t *testing.T) {
	now := time.Now()
	f := func(inFlight, streams int, left time.Duration, want string) {
		t.Helper()
		b := pool.BackendStatus{InFlight: inFlight, Streams: streams, Drain: &pool.DrainStatus{}}
		if left != 0 {
			b.Drain.Until = now.Add(left)
		}
		if got := progressOf(b, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(5, 2, 4*time.Minute+12*time.Second, "3 requests and 2 streams still run, 4m12s left")
	f(1, 0, 1500*time.Millisecond, "1 request still runs, 1.5s left")
	f(1, 1, 59*time.Second, "1 stream still runs, 59s left")
	f(2, 1, -time.Second, "1 request and 1 stream still run, and the deadline has come")
	f(2, 0, 0, "2 requests still run, with no deadline")
	f(0, 0, time.Minute, "nothing runs on it")
	f(1, 2, 0, "1 stream still runs, with no deadline") // read while one ended
}
