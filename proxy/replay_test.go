package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// replayed is a Weir before a bad and a good backend, the bad one first. Retries
// are a flow mapping's entries, besides a budget that is never spent.
func replayed(t *testing.T, o loop.Options, retries string, bad, good testkit.Manner) (w *testkit.Weir, first, second *testkit.Backend) {
	t.Helper()
	first, second = testkit.NewBackend(t, bad), testkit.NewBackend(t, good)
	return replaying(t, o, retries, "", first, second), first, second
}

// replaying is a Weir that asks these backends in their order.
func replaying(t *testing.T, o loop.Options, retries, route string, backends ...*testkit.Backend) *testkit.Weir {
	t.Helper()
	return testkit.StartOn(t, setup{
		backends: inOrder(backends), pool: "health: {passive: {consecutive_errors: 0}}\n",
		route: "retries: {budget: 100" + comma(retries) + "}" + comma(route),
	}.yaml(), o)
}

// inOrder lists backends as the configuration does, each for when those before
// it are out or have been tried.
func inOrder(backends []*testkit.Backend) []string {
	list := at(backends...)
	for i := range list {
		list[i] = fmt.Sprintf("%s, tier: %d}", strings.TrimSuffix(list[i], "}"), i)
	}
	return list
}

// takes reads so many bytes of an upload, framing included, or all of it for -1,
// before it behaves as m does.
func takes(n int64, m testkit.Manner) testkit.Manner {
	return func(x *testkit.Exchange) bool {
		switch {
		case n < 0:
			_, _ = x.Body()
		case x.Method() == "PUT":
			_, _ = io.CopyN(io.Discard, x.R, n)
		}
		return m(x)
	}
}

// framed is hashing that also tells how the body ended: the trailer section.
func framed(x *testkit.Exchange) bool {
	var raw bytes.Buffer
	x.R = bufio.NewReader(io.TeeReader(x.R, &raw))
	body, err := x.Body()
	if err != nil {
		return false
	}
	_, tail, _ := strings.Cut(raw.String()[max(0, raw.Len()-60):], "\r\n0\r\n")
	return testkit.Answer(200, digest(string(body)), "X-Framing: "+x.Header("Content-Length")+x.Header("Transfer-Encoding"),
		"X-Tail: "+strings.ReplaceAll(tail, "\r\n", "|"))(x)
}

// put sends an upload with its head.
func put(c *testkit.Client, framing, body string) {
	c.Send("PUT / HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n" + body)
}

const inChunks = "Transfer-Encoding: chunked"

func withLength(n int) string { return "Content-Length: " + itoa(n) }

// Whatever the first backend has taken of a body of up to 64 KiB, the second one
// gets all of it, and nobody's connection suffers.
func TestReplay(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		w, bad, good := replayed(t, o, "attempts: 1", testkit.Reset, framed)
		c := testkit.Dial(t, w.Addr("web"))
		var bytesIn []int
		f := func(body, framing, sent, tail string) {
			t.Helper()
			put(c, framing, sent)
			want := strings.TrimPrefix(strings.TrimPrefix(framing, "Content-Length: "), "Transfer-Encoding: ")
			if r := c.Read("PUT"); r.Body != digest(body) || r.Header("X-Framing") != want || r.Header("X-Tail") != tail || !r.Persists() {
				t.Fatalf("%d bytes, %s: %v", len(body), framing, r)
			}
			bytesIn = append(bytesIn, len(body))
		}
		for _, end := range []testkit.Manner{testkit.Reset, testkit.CloseBeforeHead} {
			for _, n := range []int{8193, 20 << 10, 65523, 65524, 65525, 65535, 65536} {
				body := noise(n)
				for _, taken := range []int64{0, 1, int64(n / 2), -1} {
					bad.Become(takes(taken, end))
					f(body, withLength(n), body, "")
					f(body, inChunks, chunked(body, 10_000), "|")
					f(body, inChunks, chunked(body, 70_000, "X-Sum: 1", "x-sum: 2"), "X-Sum: 1|x-sum: 2||")
				}
			}
		}
		bad.Become(takes(-1, testkit.Reset))
		f("", inChunks, "0\r\n\r\n", "")
		f("tiny", inChunks, "4\r\ntiny\r\n0\r\nX-Sum: 1\r\n\r\n", "X-Sum: 1||")
		if n := good.Conns.Load(); n != 1 && !o.Portable { // where the answer can overtake the end of a write
			t.Errorf("%d connections to the good backend", n)
		}
		for i, r := range records(t, w) {
			if r.BytesIn != int64(bytesIn[i]) || len(r.Attempts) != 2 || r.Attempts[0].Error != "upstream_reset" || r.Reason != "" {
				t.Errorf("%d bytes: %+v", bytesIn[i], r)
			}
		}
	})
}

// One byte more, another method, or a rule that says nothing of requests that
// were sent: there is one attempt.
func TestNoReplay(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		f := func(retries, method string, n int) {
			t.Helper()
			w, bad, good := replayed(t, o, retries, takes(-1, testkit.Reset), framed)
			c := testkit.Dial(t, w.Addr("web"))
			body := noise(n)
			for framing, sent := range map[string]string{withLength(n): body, inChunks: chunked(body, 10_000)} {
				c.Send(method + " / HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n" + sent)
				refused(t, c.Read(method), 502, "upstream_reset")
			}
			if b, g := bad.Requests.Load(), good.Requests.Load(); b != 2 || g != 0 {
				t.Errorf("%s, %s of %d bytes: %d and %d requests", retries, method, n, b, g)
			}
			w.Close()
		}
		f("attempts: 1", "PUT", 65537)
		f("attempts: 1", "PUT", 1_000_000)
		f("attempts: 1", "POST", 20_000)
		f("attempts: 1", "PATCH", 20_000)
		f("attempts: 0", "PUT", 20_000)
		f("attempts: 1, on: []", "PUT", 20_000)
		f("attempts: 1, on: [connect]", "PUT", 20_000)
		f("attempts: 1, on: [connect, timeout, 503]", "PUT", 20_000)
	})
}

// A client that is still sending when the first backend fails goes on with the
// second one. The body's size does not matter as long as the part does not.
func TestReplayOfAnUnfinishedBody(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		w, _, good := replayed(t, o, "attempts: 1", nil, framed)
		for _, n := range []int{20_000, 65_536, 300_000} {
			body := noise(n)
			text := chunked(body, 10_000, "X-Sum: 1")
			for _, up := range []struct{ framing, sent, tail string }{
				{withLength(n), body, ""}, {inChunks, text, "X-Sum: 1||"},
			} {
				for _, part := range []int{0, 1, 100, 10_000, 19_999, 60_000} {
					if part >= len(up.sent) {
						continue
					}
					bad := testkit.NewBackend(t, takes(int64(max(0, part-1000)), testkit.Reset))
					w.Apply(order(bad, good))
					before := good.Requests.Load()
					c := testkit.Dial(t, w.Addr("web"))
					put(c, up.framing, up.sent[:part])
					eventually(t, "the second attempt", func() bool { return good.Requests.Load() > before })
					c.Send(up.sent[part:])
					if r := c.Read("PUT"); r.Body != digest(body) || r.Header("X-Tail") != up.tail || !r.Persists() {
						t.Fatalf("%d bytes, %s, %d at first: %v", n, up.framing, part, r)
					}
					if r := c.Get("/"); r.Status != 200 { // from the good one: bad resets it
						t.Error(r)
					}
					bad.Close()
				}
			}
		}
	})
}

// order is the configuration of replaying, for Apply.
func order(backends ...*testkit.Backend) string {
	return setup{backends: inOrder(backends), pool: "health: {passive: {consecutive_errors: 0}}\n", route: "retries: {attempts: 1, budget: 100}"}.yaml()
}

// Two attempts fail, at any two points of the client's framing.
func TestReplayAtEverySplit(t *testing.T) {
	body := noise(24)
	text := chunked(body, 9, "X-Sum: 1")
	onBoth(t, func(t *testing.T, o loop.Options) {
		fail := make(chan bool)
		waits := func(x *testkit.Exchange) bool {
			<-fail
			return testkit.Reset(x)
		}
		one, two, good := testkit.NewBackend(t, waits), testkit.NewBackend(t, waits), testkit.NewBackend(t, framed)
		w := replaying(t, o, "attempts: 2, back_off: 0s", "", one, two, good)
		c := testkit.Dial(t, w.Addr("web"))
		r := rand.New(rand.NewPCG(1, 2))
		for i := range len(text) {
			if i%14 == 0 { // the floor of the budget is thirty retries
				w.Close()
				w = replaying(t, o, "attempts: 2, back_off: 0s", "", one, two, good)
				c = testkit.Dial(t, w.Addr("web"))
			}
			k := i + r.IntN(len(text)-i)
			before := good.Requests.Load()
			put(c, inChunks, text[:i])
			eventually(t, "the first attempt", func() bool { return one.Requests.Load() == int64(i+1) })
			fail <- true
			eventually(t, "the second attempt", func() bool { return two.Requests.Load() == int64(i+1) })
			c.Send(text[i:k])
			fail <- true
			eventually(t, "the third attempt", func() bool { return good.Requests.Load() > before })
			c.Send(text[k:])
			if r := c.Read("PUT"); r.Body != digest(body) || r.Header("X-Tail") != "X-Sum: 1||" || !r.Persists() {
				t.Fatalf("%q | %q | %q: %v", text[:i], text[i:k], text[k:], r)
			}
		}
	})
}

// A listed status that comes while the body still streams is given up with the
// connection on which the rest is due.
func TestReplayAfterAnEarlyStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		early := func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
			return testkit.NeverAnswer(x)
		}
		w, bad, good := replayed(t, o, "attempts: 1, on: [503]", takes(5000, early), framed)
		body := noise(20_000)
		text := chunked(body, 3000)
		c := testkit.Dial(t, w.Addr("web"))
		for framing, sent := range map[string]string{withLength(20_000): body, inChunks: text} {
			before := good.Requests.Load()
			put(c, framing, sent[:10_000])
			eventually(t, "the second attempt", func() bool { return good.Requests.Load() > before })
			eventually(t, "the first connection is closed", func() bool { return bad.Open.Load() == 0 })
			c.Send(sent[10_000:])
			if r := c.Read("PUT"); r.Body != digest(body) || !r.Persists() {
				t.Fatal(r)
			}
		}
		// a backend that has read it all keeps its connection
		bad.Become(testkit.Answer(503, "busy"))
		n := bad.Conns.Load()
		for range 3 {
			put(c, withLength(20_000), body)
			if r := c.Read("PUT"); r.Body != digest(body) || !r.Persists() {
				t.Fatal(r)
			}
		}
		if n = bad.Conns.Load() - n; n > 2 { // one that the answer overtook is closed
			t.Errorf("%d connections for three requests", n)
		}
		// what is too large to be sent again gets the answer that there is
		bad.Become(takes(70_000, early))
		put(c, withLength(100_000), noise(100_000))
		if r := c.Read("PUT"); r.Status != 503 || r.Body != "busy" {
			t.Error(r)
		}
		for _, b := range []*testkit.Backend{bad, good} {
			eventually(t, "no lease is out", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
		}
	})
}

// What the client does wrong is never tried again, wherever it happens.
func TestReplayEndsWithItsClient(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		ends := make(chan error, 1)
		bad := testkit.NewBackend(t, takes(2000, testkit.Reset))
		good := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			_, err := x.Body()
			ends <- err
			return false
		})
		third := testkit.NewBackend(t, testkit.Named("third"))
		w := replaying(t, o, "attempts: 2, on: [reset, timeout, 503]", "limits: {body_bytes: 20000}, timeouts: {client_body_idle: 300ms}", bad, good, third)
		f := func(framing, part string, then func(c *testkit.Client), status int, reason string) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			before := good.Requests.Load()
			put(c, framing, part)
			eventually(t, "the second attempt", func() bool { return good.Requests.Load() > before })
			then(c)
			if status != 499 {
				refused(t, c.Read("PUT"), status, reason)
			}
			if err := await(t, ends, "end of the upload"); err == nil {
				t.Errorf("%s: a part was taken for the whole", reason)
			}
		}
		wait := func(*testkit.Client) {}
		send := func(text string) func(*testkit.Client) {
			return func(c *testkit.Client) { c.Send(text) }
		}
		chunk := "bb8\r\n" + noise(3000) + "\r\n"
		want := []string{}
		for framing, part := range map[string]string{withLength(15_000): noise(9000), inChunks: chunk} {
			f(framing, part, (*testkit.Client).Reset, 499, "client_closed")
			f(framing, part, (*testkit.Client).CloseWrite, 499, "client_closed")
			f(framing, part, wait, 408, "client_timeout")
			want = append(want, "client_closed", "client_closed", "client_timeout")
		}
		f(inChunks, chunk, send("xyz\r\n"), 400, "bad_request")
		f(inChunks, chunk, send(strings.Repeat(chunk, 6)), 413, "body_too_large")
		want = append(want, "bad_request", "body_too_large")
		if n := third.Requests.Load(); n != 0 {
			t.Errorf("%d more attempts", n)
		}
		for i, r := range records(t, w) {
			if len(r.Attempts) != 2 || r.Reason != want[i] || r.Attempts[1].Error != want[i] {
				t.Errorf("%+v, want %s", r, want[i])
			}
		}
	})
}
