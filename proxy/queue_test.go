package proxy_test

import (
	"strings"
	"testing"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// busy is a backend that answers when it is told to.
func busy(t *testing.T) (b *testkit.Backend, answer chan string) {
	answer = make(chan string)
	return testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		body := <-answer
		return testkit.Answer(200, body)(x)
	}), answer
}

// waiting is how many requests of the pool wait.
func waiting(t *testing.T, w *testkit.Weir, n int) {
	t.Helper()
	eventually(t, itoa(n)+" requests wait", func() bool {
		st, _ := w.Control.Pool("web")
		return st.Queue.Length == n
	})
}

func inFlight(t *testing.T, w *testkit.Weir, b *testkit.Backend, n int) {
	t.Helper()
	eventually(t, itoa(n)+" requests in flight", func() bool { return w.Backend("web", b.Addr()).InFlight == n })
}

func oneAtATime(b *testkit.Backend) []string {
	return []string{"{address: \"" + b.Addr() + "\", max_requests: 1}"}
}

func TestQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b, answer := busy(t)
		w := testkit.StartOn(t, setup{backends: oneAtATime(b), pool: "queue: {size: 2, timeout: 10s}"}.yaml(), o)
		var cs []*testkit.Client
		for i := range 3 {
			c := testkit.Dial(t, w.Addr("web"))
			c.Send("GET /" + itoa(i) + " HTTP/1.1\r\nHost: a\r\n\r\n")
			cs = append(cs, c)
			if i == 0 {
				inFlight(t, w, b, 1)
			}
			waiting(t, w, i)
		}
		refused(t, testkit.Get(t, w.Addr("web"), "/3"), 503, "queue_full")
		for i, c := range cs {
			answer <- itoa(i)
			if r := c.Read("GET"); r.Status != 200 || r.Body != itoa(i) {
				t.Errorf("request %d: %v", i, r)
			}
		}
		inFlight(t, w, b, 0)
		m := w.Metrics()
		for _, line := range []string{
			`weir_queue_length{pool="web"} 0`, `weir_queue_wait_seconds_count{pool="web"} 2`, `weir_queue_rejected_total{pool="web",reason="queue_full"} 1`,
		} {
			if !strings.Contains(m, line) {
				t.Errorf("no %s in the metrics", line)
			}
		}
		for _, r := range records(t, w) {
			if waited := r.Path == "/1" || r.Path == "/2"; waited != (r.Queue > 0) || r.Overhead < 0 {
				t.Errorf("%s waited %v s, overhead %v", r.Path, r.Queue, r.Overhead)
			}
		}
	})
}

func TestQueueTimeout(t *testing.T) {
	b, answer := busy(t)
	w := testkit.StartOn(t, setup{backends: oneAtATime(b), pool: "queue: {size: 2, timeout: 20ms}"}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	inFlight(t, w, b, 1)
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 503, "queue_timeout")
	answer <- "ok"
	if r := c.Read("GET"); r.Status != 200 {
		t.Errorf("%v", r)
	}
}

// A request has no more time in the queue than it has altogether.
func TestQueueWithinTheRequestsTime(t *testing.T) {
	b, answer := busy(t)
	w := testkit.StartOn(t, setup{
		backends: oneAtATime(b), pool: "queue: {size: 2, timeout: 1h}",
		routes: "{name: slow, match: {path: /slow}, pool: web}, {name: all, pool: web, timeouts: {request: 20ms}}",
	}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	inFlight(t, w, b, 1)
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 503, "queue_timeout")
	answer <- "ok"
	c.Read("GET")
}

// A client that leaves gives its place away, and counts as one that left.
func TestQueueAndHangups(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b, answer := busy(t)
		w := testkit.StartOn(t, setup{backends: oneAtATime(b), pool: "queue: {size: 1, timeout: 1h}"}.yaml(), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		inFlight(t, w, b, 1)
		leaver := testkit.Dial(t, w.Addr("web"))
		leaver.Send("GET /leaver HTTP/1.1\r\nHost: a\r\n\r\n")
		waiting(t, w, 1)
		leaver.Reset()
		waiting(t, w, 0)
		answer <- "ok"
		if r := c.Read("GET"); r.Status != 200 {
			t.Errorf("%v", r)
		}
		for _, r := range records(t, w) {
			if r.Path == "/leaver" && (r.Status != 499 || r.Reason != "client_closed" || len(r.Attempts) > 0) {
				t.Errorf("who left is recorded as %+v", r)
			}
		}
	})
}

// A queue that a change of the configuration brings, and one that it takes away.
func TestQueueAndReloads(t *testing.T) {
	b, answer := busy(t)
	with := setup{backends: oneAtATime(b), pool: "queue: {size: 1, timeout: 1h}"}.yaml()
	without := setup{backends: oneAtATime(b)}.yaml()
	w := testkit.StartOn(t, without, single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	inFlight(t, w, b, 1)
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 503, "all_full")
	w.Apply(with)
	d := testkit.Dial(t, w.Addr("web"))
	d.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	waiting(t, w, 1)
	w.Apply(without)
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 503, "all_full")
	for _, c := range []*testkit.Client{c, d} {
		answer <- "ok"
		if r := c.Read("GET"); r.Status != 200 {
			t.Errorf("%v", r)
		}
	}
}

// Room that is made otherwise than by an answer is noticed, too.
func TestQueueAndNewBackends(t *testing.T) {
	b, answer := busy(t)
	other := testkit.NewBackend(t, testkit.Named("other"))
	queue := "queue: {size: 9, timeout: 1h}"
	w := testkit.StartOn(t, setup{backends: oneAtATime(b), pool: queue}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	inFlight(t, w, b, 1)
	var cs []*testkit.Client
	for i := range 3 {
		d := testkit.Dial(t, w.Addr("web"))
		d.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		waiting(t, w, i+1)
		cs = append(cs, d)
	}
	w.Apply(setup{backends: append(oneAtATime(b), at(other)...), pool: queue}.yaml())
	for _, d := range cs {
		if r := d.Read("GET"); r.Body != "other" {
			t.Errorf("%v", r)
		}
	}
	answer <- "ok"
	c.Read("GET")
}
