package proxy_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"weir/internal/control"
	"weir/internal/loop"
	"weir/internal/testkit"
	"weir/pool"
)

// drained marks a backend of the pool "web".
func drained(t *testing.T, w *testkit.Weir, b *testkit.Backend, within time.Duration) {
	t.Helper()
	if err := w.Control.MarkWithin("web", b.Addr(), pool.Drain, within, control.Origin{Kind: "api"}); err != nil {
		t.Fatal(err)
	}
}

// soon is a deadline that has come before anybody looks; far one that does not
// come in a test.
const (
	soon = time.Millisecond
	far  = time.Hour
)

// emptied waits until nothing runs on a backend and checks what is said of it.
func emptied(t *testing.T, w *testkit.Weir, b *testkit.Backend, closed int) {
	t.Helper()
	var st pool.BackendStatus
	eventually(t, "the drain is over", func() bool {
		st = w.Backend("web", b.Addr())
		return st.Drain != nil && !st.Drain.Empty.IsZero()
	})
	if st.InFlight != 0 || st.Streams != 0 || st.Drain.Closed != closed || st.Errors != 0 {
		t.Errorf("%d in flight, %d streams, %d closed, %d errors; want %d closed and nothing else",
			st.InFlight, st.Streams, st.Drain.Closed, st.Errors, closed)
	}
	want := ""
	if closed > 0 {
		want = itoa(closed)
	}
	if got := w.Metric(`weir_drain_closed_total{pool="web"}`); got != want {
		t.Errorf("weir_drain_closed_total is %q, want %q", got, want)
	}
	eventually(t, "no connection of a request is left", func() bool {
		return w.Metric(`weir_upstream_connections{backend="`+b.Addr()+`",pool="web",state="active"}`) == "0"
	})
}

// waits is a manner that says when it has a request, and answers as m does when
// it is released.
func waits(asked chan<- bool, release <-chan bool, m testkit.Manner) testkit.Manner {
	return func(x *testkit.Exchange) bool {
		asked <- true
		select {
		case <-release:
			return m(x)
		case <-x.Done:
			return false
		}
	}
}

// sendAndAwait sends a request on a new connection and waits until the backend has it.
func sendAndAwait(t *testing.T, w *testkit.Weir, request string, asked <-chan bool) *testkit.Client {
	t.Helper()
	c := testkit.Dial(t, w.Addr("web"))
	c.Send(request)
	await(t, asked, "request at the backend")
	return c
}

const plainGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// What ends in time ends as it would have.
func TestDrainWaitsForAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		asked, release := make(chan bool, 1), make(chan bool)
		b := testkit.NewBackend(t, waits(asked, release, testkit.Named("done")))
		w := testkit.StartOn(t, before(b), o)
		c := sendAndAwait(t, w, plainGet, asked)
		drained(t, w, b, far)
		if st := w.Backend("web", b.Addr()); st.InFlight != 1 || st.Streams != 0 || st.Drain == nil || !st.Drain.Empty.IsZero() {
			t.Errorf("%+v %+v", st, st.Drain)
		}
		close(release)
		if r := c.Read("GET"); r.Body != "done" {
			t.Error(r)
		}
		emptied(t, w, b, 0)
	})
}

// A request that waits at the deadline is refused, and nobody is blamed for it.
func TestDrainRefusesWhatWaits(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		asked := make(chan bool, 1)
		b := testkit.NewBackend(t, waits(asked, nil, nil))
		w := testkit.StartOn(t, before(b), o)
		c := sendAndAwait(t, w, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", asked)
		drained(t, w, b, soon)
		r := c.Read("POST")
		refused(t, r, 503, "draining")
		if !r.Persists() {
			t.Error("the client's connection ends with it")
		}
		emptied(t, w, b, 1)
		if got := w.Metric(`weir_upstream_errors_total{backend="` + b.Addr() + `",pool="web",reason="draining"}`); got != "" {
			t.Errorf("the backend has %s errors", got)
		}
		rec := records(t, w)[0]
		if rec.Status != 503 || rec.Reason != "draining" || rec.Attempts[0].Error != "draining" {
			t.Errorf("%+v", rec)
		}
	})
}

// One whose body is still on its way is refused in the same way.
func TestDrainDuringAnUpload(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		asked := make(chan bool, 1)
		b := testkit.NewBackend(t, waits(asked, nil, nil))
		w := testkit.StartOn(t, before(b), o)
		c := sendAndAwait(t, w, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbody", asked)
		drained(t, w, b, soon)
		refused(t, c.Read("POST"), 503, "draining")
		emptied(t, w, b, 1)
	})
}

// What can be repeated is, on another backend.
func TestDrainSendsElsewhere(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		asked := make(chan bool, 1)
		w, b, other := retried(t, o, 1, waits(asked, nil, nil))
		other.Become(testkit.Named("other"))
		c := sendAndAwait(t, w, plainGet, asked)
		drained(t, w, b, soon)
		if r := c.Read("GET"); r.Body != "other" {
			t.Error(r)
		}
		emptied(t, w, b, 1)
	})
}

// An answer that has begun is cut.
func TestDrainCutsAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		events := make(chan string)
		b := testkit.NewBackend(t, testkit.ByPath(map[string]testkit.Manner{
			"/events": testkit.Events(events), "/body": func(x *testkit.Exchange) bool {
				x.Write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello")
				return testkit.NeverAnswer(x)
			},
		}))
		w := testkit.StartOn(t, before(b), o)
		stream := testkit.Dial(t, w.Addr("web"))
		stream.Send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
		events <- "one"
		for line := ""; line != "data: one\n"; {
			var err error
			if line, err = stream.R.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if st := w.Backend("web", b.Addr()); st.Streams != 1 {
			t.Errorf("%d streams, want 1", st.Streams)
		}
		body := testkit.Dial(t, w.Addr("web"))
		body.Send("GET /body HTTP/1.1\r\nHost: a\r\n\r\n")
		expect(t, body, "HTTP/1.1 200 OK\r\n")
		drained(t, w, b, soon)
		for _, c := range []*testkit.Client{stream, body} {
			if got, err := rest(c); err == nil {
				t.Errorf("%q looks like a whole answer", got)
			}
		}
		emptied(t, w, b, 2)
		for _, r := range records(t, w) {
			if r.Status != 200 || r.Reason != "draining" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// A client that takes nothing does not keep the backend.
func TestDrainDoesNotWaitForSlowClients(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		stuck := make(chan bool)
		b := testkit.NewBackend(t, floods(stuck))
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(plainGet)
		await(t, stuck, "full buffers")
		drained(t, w, b, soon)
		emptied(t, w, b, 1)
	})
}

// Nor does one whose answer is the second copy's.
func TestDrainOfAHedge(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		stuck := make(chan bool)
		a, b := testkit.NewBackend(t, testkit.NeverAnswer), testkit.NewBackend(t, floods(stuck))
		w := testkit.StartOn(t, hedged(atOnce, a, b), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(plainGet)
		await(t, stuck, "full buffers")
		drained(t, w, b, soon)
		emptied(t, w, b, 1)
	})
}

// floods answers with more than anybody takes, and closes stuck when that is so.
func floods(stuck chan<- bool) testkit.Manner {
	return func(x *testkit.Exchange) bool {
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
		for piece := strings.Repeat("x", 1<<16); ; {
			_ = x.Conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			if n, err := io.WriteString(x.Conn, piece); err != nil && n < len(piece) {
				break
			}
		}
		close(stuck)
		return testkit.NeverAnswer(x)
	}
}

// ready takes the deadline away.
func TestReadyKeepsStreams(t *testing.T) {
	b := testkit.NewBackend(t, testkit.WebSocket)
	w := testkit.StartOn(t, before(b), single)
	c := upgrade(t, w, "")
	drained(t, w, b, 150*time.Millisecond)
	if err := w.Control.Mark("web", b.Addr(), pool.Ready, control.Origin{}); err != nil {
		t.Fatal(err)
	}
	if !c.Silent(300 * time.Millisecond) {
		t.Error("the tunnel has ended")
	}
	echoes(t, c, anyFrame)
}

// A tunnel that is no WebSocket has no word for it.
func TestDrainClosesTunnels(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n")
			_, _ = x.R.WriteTo(x.Conn)
			return false
		})
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		if r := c.Get("/", "Connection: upgrade", "Upgrade: other"); r.Status != 101 {
			t.Fatal(r)
		}
		echoes(t, c, "hello")
		if st := w.Backend("web", b.Addr()); st.Streams != 1 {
			t.Errorf("%d streams, want 1", st.Streams)
		}
		drained(t, w, b, soon)
		if got, _ := rest(c); got != "" {
			t.Errorf("%q instead of the end", got)
		}
		emptied(t, w, b, 1)
		if r := records(t, w)[0]; r.Status != 101 || r.Reason != "draining" {
			t.Errorf("%+v", r)
		}
	})
}

// read1 reads one frame and takes its mask off.
func read1(r *bufio.Reader) (op byte, masked bool, payload []byte, err error) {
	head := make([]byte, 2, 14)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, false, nil, err
	}
	masked = head[1]&0x80 != 0
	length := uint64(head[1] & 0x7f)
	more := map[uint64]int{126: 2, 127: 8}[length]
	key := make([]byte, 4)
	ext := make([]byte, more)
	if _, err := io.ReadFull(r, ext); err != nil {
		return 0, false, nil, err
	}
	switch more {
	case 2:
		length = uint64(binary.BigEndian.Uint16(ext))
	case 8:
		length = binary.BigEndian.Uint64(ext)
	}
	if masked {
		if _, err := io.ReadFull(r, key); err != nil {
			return 0, false, nil, err
		}
	}
	payload = make([]byte, length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, false, nil, err
	}
	if masked {
		for i := range payload {
			payload[i] ^= key[i%4]
		}
	}
	return head[0] & 15, masked, payload, nil
}

// A client's frames.
const (
	anyFrame   = "\x82\x84\x00\x00\x00\x00echo"
	closeFrame = "\x88\x82\x00\x00\x00\x00\x03\xe9"
)

// switches accepts a WebSocket.
const switches = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\n"

// goodbye reads frames until there is one that closes, which must be of Weir's
// making, and returns how many came before.
func goodbye(r *bufio.Reader, masked bool) (n int, err error) {
	for ; ; n++ {
		op, m, payload, err := read1(r)
		if err != nil {
			return n, err
		}
		if op == 8 {
			if m != masked || len(payload) != 2 || binary.BigEndian.Uint16(payload) != 1001 {
				return n, fmt.Errorf("close frame %x, masked %v", payload, m)
			}
			return n, nil
		}
	}
}

// A WebSocket hears on both sides that it ends, and both have the time to answer.
func TestDrainEndsWebSockets(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		result := make(chan error, 1)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write(switches)
			_, _ = x.Conn.Write(frame(true, 1, false, []byte("welcome")))
			n, err := goodbye(x.R, true)
			if err == nil && n != 1 {
				err = fmt.Errorf("%d frames, want 1", n)
			}
			if err == nil {
				x.Write("\x88\x02\x03\xe9")
				_, err = x.R.ReadByte() // the end
				if err == io.EOF {
					err = nil
				}
			}
			result <- err
			return false
		})
		w := testkit.StartOn(t, before(b), o)
		c := upgrade(t, w, "")
		_ = c.Conn.SetDeadline(time.Now().Add(patience))
		if _, _, got, err := read1(c.R); string(got) != "welcome" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		_, _ = c.Conn.Write(frame(true, 1, true, []byte("thanks")))
		drained(t, w, b, soon)
		if n, err := goodbye(c.R, false); n != 0 || err != nil {
			t.Fatalf("%d frames and %v", n, err)
		}
		c.Send(closeFrame)
		if _, err := c.R.ReadByte(); err != io.EOF {
			t.Errorf("after the goodbyes: %v", err)
		}
		if err := await(t, result, "the backend"); err != nil {
			t.Error(err)
		}
		emptied(t, w, b, 1)
		if r := records(t, w)[0]; r.Reason != "draining" {
			t.Errorf("%+v", r)
		}
	})
}

// A frame on its way comes to its end first, and what follows it is not sent.
func TestDrainEndsAtAFramesEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			whole := frame(true, 2, false, []byte("one frame"))
			x.Write(switches + string(whole[:7]))
			if n, err := goodbye(x.R, true); n != 0 || err != nil {
				t.Errorf("the backend sees %d frames and %v", n, err)
			}
			x.Write(string(whole[7:]) + string(frame(true, 2, false, []byte("another"))) + "\x88\x02\x03\xe9")
			return testkit.NeverAnswer(x)
		})
		w := testkit.StartOn(t, before(b), o)
		c := upgrade(t, w, "")
		expect(t, c, "\x82\x7e\x00\x09one") // it is on its way
		drained(t, w, b, soon)
		expect(t, c, " frame\x88\x02\x03\xe9")
		c.Send(closeFrame)
		if got, err := rest(c); got != "" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		emptied(t, w, b, 1)
	})
}

// A frame that does not come to its end is cut, and no other one put into it.
func TestDrainInTheMiddleOfAFrame(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write(switches + "\x82\x7e\x00\x09one")
			return testkit.NeverAnswer(x)
		})
		w := testkit.StartOn(t, before(b), o)
		c := upgrade(t, w, "")
		expect(t, c, "\x82\x7e\x00\x09one")
		drained(t, w, b, soon)
		if got, _ := rest(c); got != "" {
			t.Errorf("%q in the middle of a frame", got)
		}
		emptied(t, w, b, 1)
	})
}

// Frames that come as fast as they go, in reads that end anywhere.
func TestDrainEndsBusyWebSockets(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write(switches)
			go func() { _, _ = io.Copy(io.Discard, x.R) }()
			for n := 1; ; n = n*7%4001 + 1 {
				if _, err := x.Conn.Write(frame(true, 2, false, make([]byte, n))); err != nil {
					return false
				}
			}
		})
		w := testkit.StartOn(t, before(b), o)
		c := upgrade(t, w, "")
		_ = c.Conn.SetDeadline(time.Now().Add(patience))
		for range 100 {
			if op, _, _, err := read1(c.R); op != 2 || err != nil {
				t.Fatalf("frame %d, %v", op, err)
			}
		}
		drained(t, w, b, soon)
		if _, err := goodbye(c.R, false); err != nil {
			t.Error(err)
		}
		c.Send(closeFrame)
		if got, _ := rest(c); got != "" {
			t.Errorf("%.50q after the goodbye", got)
		}
		emptied(t, w, b, 1)
	})
}

// One whose client takes nothing ends all the same.
func TestDrainEndsStuckWebSockets(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		stuck := make(chan bool)
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write(switches)
			for piece := frame(true, 2, false, make([]byte, 60000)); ; {
				_ = x.Conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				if n, err := x.Conn.Write(piece); err != nil && n < len(piece) {
					break
				}
			}
			close(stuck)
			return testkit.NeverAnswer(x)
		})
		w := testkit.StartOn(t, before(b), o)
		upgrade(t, w, "")
		await(t, stuck, "full buffers")
		drained(t, w, b, soon)
		emptied(t, w, b, 1)
	})
}

// A backend that is removed drains like one that is marked, and is shown while it
// does. So does a pool.
func TestDrainOfRemoved(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b, other := testkit.NewBackend(t, testkit.WebSocket), testkit.NewBackend(t, testkit.Named("other"))
		w := testkit.StartOn(t, before(b), o)
		elsewhere := strings.ReplaceAll(before(other), "  web:\n", "  new:\n")
		elsewhere = strings.ReplaceAll(elsewhere, "pool: web", "pool: new")
		for _, next := range []string{before(other), elsewhere} {
			w.Apply(before(b))
			c := upgrade(t, w, "")
			w.Apply(next)
			echoes(t, c, anyFrame)
			st, ok := w.Control.Pool("web")
			if !ok || len(st.Leaving) != 1 || st.Removed != (next == elsewhere) {
				t.Fatalf("%v %+v", ok, st)
			}
			if l := st.Leaving[0]; l.Address != b.Addr() || l.State != "draining" || l.InFlight != 1 || l.Streams != 1 ||
				l.Drain == nil || l.Drain.Until.IsZero() {
				t.Errorf("%+v %+v", l, l.Drain)
			}
			drained(t, w, b, soon)
			c.Send(closeFrame)
			_, _ = rest(c)
			eventually(t, "nobody is leaving", func() bool {
				st, ok := w.Control.Pool("web")
				return len(st.Leaving) == 0 && ok == (next != elsewhere)
			})
			if n := len(w.Control.Pools()); n != 1 {
				t.Errorf("%d pools are shown, want 1", n)
			}
		}
		eventually(t, "no connection to it is left", func() bool { return b.Open.Load() == 0 })
	})
}

// A removal that is taken back ends the drain: the connections that were there
// go on.
func TestRollbackKeepsStreams(t *testing.T) {
	b, other := testkit.NewBackend(t, testkit.WebSocket), testkit.NewBackend(t, testkit.Named("other"))
	quick := func(s string) string {
		return strings.Replace(s, "    backends", "    drain: {timeout: 200ms}\n    backends", 1)
	}
	w := testkit.StartOn(t, quick(before(b)), single)
	elsewhere := strings.NewReplacer("  web:\n", "  new:\n", "pool: web", "pool: new").Replace(quick(before(other)))
	for _, next := range []string{quick(before(other)), elsewhere} {
		c := upgrade(t, w, "")
		w.Apply(next)
		w.Rollback(0)
		if !c.Silent(400 * time.Millisecond) {
			t.Error("the tunnel has ended")
		}
		echoes(t, c, anyFrame)
		if st := w.Backend("web", b.Addr()); st.InFlight != 1 || st.Drain != nil {
			t.Errorf("%+v", st)
		}

		// and a later drain finds them
		drained(t, w, b, soon)
		c.Send(closeFrame)
		_, _ = rest(c)
		eventually(t, "nothing runs on it", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
		if err := w.Control.Mark("web", b.Addr(), pool.Ready, control.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
}

// At the end of Weir WebSockets are told, too.
func TestEndTunnels(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
			x.Write(switches)
			if n, err := goodbye(x.R, true); n != 0 || err != nil {
				t.Errorf("the backend sees %d frames and %v", n, err)
			}
			x.Write("\x88\x00")
			return testkit.NeverAnswer(x)
		})
		w := testkit.StartOn(t, before(b), o)
		c := upgrade(t, w, "")
		eventually(t, "the tunnel has begun", func() bool { return w.Metric(`weir_streams_active{type="ws"}`) == "1" })
		done := make(chan bool)
		go func() {
			w.Proxy.EndTunnels(t.Context())
			close(done)
		}()
		if n, err := goodbye(c.R, false); n != 0 || err != nil {
			t.Errorf("%d frames and %v", n, err)
		}
		c.Send(closeFrame)
		await(t, done, "end of the tunnels")
		if _, err := rest(c); err != nil {
			t.Error(err)
		}
		if r := records(t, w)[0]; r.Reason != "shutting_down" {
			t.Errorf("%+v", r)
		}
	})
}
