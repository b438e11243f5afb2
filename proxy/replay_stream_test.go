package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// A client that waits for leave to send is given it once.
func TestReplayAfterContinue(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		body := noise(20_000)
		for _, m := range []testkit.Manner{
			func(x *testkit.Exchange) bool { // it does not know the question
				_, _ = io.CopyN(io.Discard, x.R, 20_000)
				return testkit.Reset(x)
			},
			takes(-1, testkit.Answer(503, "busy")), // which says 100
			func(x *testkit.Exchange) bool {
				x.Write("HTTP/1.1 100 Continue\r\n\r\n")
				return testkit.Early(503)(x)
			},
			testkit.Early(503), // it does not want the body
			testkit.Reset,
		} {
			w, bad, good := replayed(t, o, "attempts: 1, on: [reset, 503]", m, framed)
			c := testkit.Dial(t, w.Addr("web"))
			put(c, "Expect: 100-continue\r\n"+withLength(len(body)), "")
			if r := c.Read("PUT"); r.Status != 100 {
				t.Fatal(r)
			}
			c.Send(body)
			if r := c.Read("PUT"); r.Body != digest(body) || !r.Persists() || bad.Requests.Load() != 1 || good.Requests.Load() != 1 {
				t.Fatal(r)
			}
			w.Close()
		}
	})
}

// An attempt's own time begins when the body has been sent: the client may be
// slow, the backend may not.
func TestPerTryTimeoutOfAStreamingBody(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		w, bad, good := replayed(t, o, "attempts: 1, on: [timeout], per_try_timeout: 150ms", testkit.NeverAnswer, framed)
		body := noise(20_000)
		c := testkit.Dial(t, w.Addr("web"))
		put(c, withLength(len(body)), body[:10_000])
		if !c.Silent(400*time.Millisecond) || good.Requests.Load() != 0 {
			t.Error("the upload was cut short")
		}
		c.Send(body[10_000:])
		if r := c.Read("PUT"); r.Body != digest(body) || bad.Requests.Load() != 1 || !r.Persists() {
			t.Error(r)
		}
	})
}

// The keep-alive race is nobody's fault, and no retry: with none allowed the
// same backend is asked again on a new connection.
func TestReplayAfterAStaleConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		for _, taken := range []int64{0, 10_000, -1} {
			b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
				if x.N > 1 {
					return takes(taken, testkit.Reset)(x)
				}
				return framed(x)
			})
			w := replaying(t, o, "attempts: 0", "", b)
			c := testkit.Dial(t, w.Addr("web"))
			for _, n := range []int{20_000, 65_536} {
				body := noise(n)
				for framing, sent := range map[string]string{withLength(n): body, inChunks: chunked(body, 5000)} {
					c.Get("/")
					put(c, framing, sent)
					if r := c.Read("PUT"); r.Body != digest(body) || !r.Persists() {
						t.Fatal(r)
					}
					c.Get("/") // on the connection that is stale now
				}
			}
			w.Close()
		}
	})
}

// Keeping a body delays none of it: each byte is at the backend before the next
// one leaves the client, and an answer that begins early arrives early.
func TestKeptBodyStreams(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		got := make(chan byte)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n")
			chunks := bufio.NewReader(x.R)
			for range 50 {
				var size, data string
				if _, err := fmt.Fscanf(chunks, "%s\r\n%s\r\n", &size, &data); err != nil || size != "1" {
					t.Errorf("chunk %q %q: %v", size, data, err)
					close(got)
					return false
				}
				got <- data[0]
			}
			x.Write("0\r\n\r\n")
			return false
		})
		w := replaying(t, o, "attempts: 1", "", b)
		c := testkit.Dial(t, w.Addr("web"))
		put(c, inChunks, "")
		for i := range 50 {
			want := 'a' + byte(i%26)
			c.Send("1\r\n" + string(want) + "\r\n")
			if g := await(t, got, "byte"); g != want {
				t.Fatalf("got %q, want %q", g, want)
			}
			if i == 0 {
				_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
				for line := ""; line != "!\r\n"; {
					var err error
					if line, err = c.R.ReadString('\n'); err != nil {
						t.Fatal("the answer waits for the body", err)
					}
				}
			}
		}
		c.Send("0\r\n\r\n")
	})
}

// An answer that begins while the body is being sent again is the answer, and
// the rest of the body goes to the backend that gave it.
func TestEarlyAnswerToAReplay(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		body := noise(60_000)
		w, _, _ := replayed(t, o, "attempts: 1", takes(100, testkit.Reset), func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n")
			b, err := x.Body()
			x.Write(digest(string(b)))
			return err == nil
		})
		for framing, sent := range map[string]string{withLength(len(body)): body, inChunks: chunked(body, 5000)} {
			c := testkit.Dial(t, w.Addr("web"))
			put(c, framing, sent[:50_000])
			c.Send(sent[50_000:])
			if r := c.Read("PUT"); r.Body != digest(body) {
				t.Errorf("%s: %v", framing, r)
			}
		}
	})
}

// Many clients at once, whose bodies come in pieces, before backends that fail
// anywhere: whatever is answered 200 is whole, and nothing is left behind.
func TestReplaysAtRandom(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		moody := func(x *testkit.Exchange) bool {
			switch rand.IntN(6) {
			case 0:
				return takes(rand.Int64N(8000), testkit.Reset)(x)
			case 1:
				return takes(rand.Int64N(8000), testkit.Early(503))(x)
			case 2:
				return takes(-1, testkit.CloseBeforeHead)(x)
			}
			return hashing(x)
		}
		backends := []*testkit.Backend{testkit.NewBackend(t, moody), testkit.NewBackend(t, moody), testkit.NewBackend(t, moody), testkit.NewBackend(t, moody)}
		o.Loops = 2
		w := testkit.StartOn(t, setup{
			backends: at(backends...), pool: "health: {passive: {consecutive_errors: 0}}\n",
			route: "retries: {attempts: 3, on: [connect, reset, 503], budget: 100, back_off: 1ms}",
		}.yaml(), o)
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() { upload(t, w.Addr("web"), rand.New(rand.NewPCG(1, uint64(i)))) })
		}
		clients.Wait()
		for _, b := range backends {
			eventually(t, "no lease is out", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
		}
	})
}

// upload sends bodies of up to 64 KiB, in pieces, and checks the answers.
func upload(t *testing.T, address string, r *rand.Rand) {
	var c *testkit.Client
	for range 25 {
		if c == nil {
			nc, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			c = &testkit.Client{Conn: nc, R: bufio.NewReader(nc)}
		}
		body := noise(8193 + r.IntN(57_000))
		text := "PUT / HTTP/1.1\r\nHost: a\r\n" + withLength(len(body)) + "\r\n\r\n" + body
		if r.IntN(2) == 0 {
			text = "PUT / HTTP/1.1\r\nHost: a\r\n" + inChunks + "\r\n\r\n" + chunked(body, 20_000, "X-Sum: 1")
		}
		for len(text) > 0 {
			n := min(1+r.IntN(40_000), len(text))
			if _, err := io.WriteString(c.Conn, text[:n]); err != nil {
				break // answered before the end
			}
			text = text[n:]
		}
		a, err := c.TryRead("PUT")
		switch {
		case err != nil:
			t.Error("no answer:", err)
			return
		case a.Status == 200 && a.Body != digest(body), a.Status != 200 && a.Status != 502 && a.Status != 503:
			t.Error(a)
		}
		if err != nil || !a.Persists() {
			c = nil
		}
	}
}
