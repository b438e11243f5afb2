package proxy_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// Events arrive one by one, as they are sent.
func TestServerSentEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		events := make(chan string)
		b := testkit.NewBackend(t, testkit.Events(events))
		w := testkit.StartOn(t, before(b), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
		read := func(want string) {
			t.Helper()
			_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
			for {
				line, err := c.R.ReadString('\n')
				if err != nil {
					t.Fatalf("waiting for %q: %v", want, err)
				}
				if strings.TrimSpace(line) == want {
					return
				}
			}
		}
		read("") // the head came before the first event
		for i := range 5 {
			events <- fmt.Sprint("event ", i)
			read(fmt.Sprint("data: event ", i))
		}
		if got := w.Metric(`weir_streams_active{type="sse"}`); got != "1" {
			t.Errorf("weir_streams_active is %q, want 1", got)
		}
		if st := w.Backend("web", b.Addr()); st.Streams != 1 {
			t.Errorf("%d leases of streams, want 1", st.Streams)
		}
		close(events)
		read("0")
		if got := w.Metric(`weir_streams_active{type="sse"}`); got != "0" {
			t.Errorf("weir_streams_active is %q, want 0", got)
		}
		eventually(t, "no stream is counted", func() bool { return w.Backend("web", b.Addr()).Streams == 0 })
	})
}

// Events with an announced length are streams all the same.
func TestEventsWithLength(t *testing.T) {
	next := make(chan bool)
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		x.Write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 20\r\n\r\ndata: one\n")
		<-next
		x.Write("data: two\n")
		return true
	})
	w := testkit.Start(t, before(b))
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	for line := ""; line != "data: one\n"; {
		var err error
		if line, err = c.R.ReadString('\n'); err != nil {
			t.Error("the first event waits for the second")
			break
		}
	}
	close(next)
	if line, err := c.R.ReadString('\n'); line != "data: two\n" {
		t.Error(line, err)
	}
}

// A small answer, head and body, is one segment: one read gets it all.
func TestSmallAnswerIsOneWrite(t *testing.T) {
	b := testkit.NewBackend(t, nil)
	w := testkit.StartOn(t, before(b), single)
	nc, err := net.Dial("tcp", w.Addr("web"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	f := func(what string, m testkit.Manner, end string) {
		t.Helper()
		b.Become(m)
		for range 10 {
			if _, err := nc.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			// The reader is there before the answer, so it sees each write by
			// itself, unless two of them are closer than its waking up.
			buf := make([]byte, 64<<10)
			n, err := nc.Read(buf)
			if err != nil || !strings.HasSuffix(string(buf[:n]), end) {
				t.Fatalf("%s: the first read gets %q, %v", what, buf[:n], err)
			}
		}
	}
	f("length", testkit.Answer(200, "small answer"), "small answer")
	f("chunked", testkit.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n\r\n", true), "5\r\nchunk\r\n0\r\n\r\n")
	// a head and a body that the backend sends apart leave together
	f("in two writes", func(x *testkit.Exchange) bool {
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
		x.Write("body")
		return true
	}, "body")
	f("nothing", testkit.Answer(200, ""), "\r\n\r\n")
}

// A backend that answers before the upload ends is heard, whoever closes first.
func TestEarlyAnswer(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Early(413))
		w := testkit.StartOn(t, before(b), o)
		f := func(head, part, rest string) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			c.Send("POST / HTTP/1.1\r\nHost: a\r\n" + head + "\r\n\r\n" + part)
			r := c.Read("POST")
			if r.Status != 413 || r.Header("Connection") != "close" {
				t.Error(r)
			}
			c.Send(rest)
			c.CloseWrite()
			if !c.Closed() {
				t.Error("the connection goes on")
			}
		}
		f("Content-Length: 3000000", noise(100_000), noise(1_000_000))
		f("Transfer-Encoding: chunked", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n\r\n")

		// answered early but read to its end: both connections go on
		b.Become(func(x *testkit.Exchange) bool {
			x.Write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n")
			_, err := x.Body()
			x.Write("no")
			return err == nil
		})
		c := testkit.Dial(t, w.Addr("web"))
		for range 3 {
			if r := c.Post("/", noise(1_000_000)); r.Status != 401 || r.Body != "no" {
				t.Fatal(r)
			} else if r.Header("Connection") == "close" {
				c = testkit.Dial(t, w.Addr("web"))
			}
		}
	})
}

// While a client uploads, all the time, the answer to it arrives.
func TestEarlyAnswerWhileUploading(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Early(401))
	w := testkit.Start(t, before(b))
	for range 10 {
		nc, err := net.Dial("tcp", w.Addr("web"))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan bool)
		go func() {
			defer close(done)
			block := []byte(noise(64 << 10))
			_, err := fmt.Fprint(nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n")
			for err == nil {
				_, err = nc.Write(block)
			}
		}()
		_ = nc.SetReadDeadline(time.Now().Add(patience))
		line, err := bufio.NewReader(nc).ReadString('\n')
		if !strings.HasPrefix(line, "HTTP/1.1 401 ") {
			t.Errorf("%q, %v", line, err)
		}
		nc.Close()
		<-done
	}
}

// A part of an answer is never shown as the whole.
func TestTruncatedAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		large := strings.Repeat("x", 100_000)
		cut := map[string]testkit.Manner{
			"length":  testkit.HalfBody(200_000, 100_000),
			"chunked": testkit.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n"+large+"\r\n", false),
			"inside":  testkit.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n"+large, false),
			"broken":  testkit.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n"+large+"\r\nxyz\r\n", true),
			"trailer": testkit.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n"+large+"\r\n0\r\nX-A: ", false),
			"reset": func(x *testkit.Exchange) bool {
				x.Write("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + large)
				return testkit.Reset(x)
			},
		}
		b := testkit.NewBackend(t, nil)
		w := testkit.StartOn(t, before(b), o)
		for name, m := range cut {
			b.Become(m)
			for _, version := range []string{"1.1", "1.0"} {
				c := testkit.Dial(t, w.Addr("web"))
				c.Send("GET / HTTP/" + version + "\r\nHost: a\r\n\r\n")
				r, err := c.TryRead("GET")
				if err == nil && r.Status == 200 && r.Err == nil {
					t.Errorf("%s: HTTP/%s: %d bytes look like all of it (%s)", name, version, len(r.Body), r.Framing)
				}
			}
		}
		// where nothing has left yet there is a better answer
		for _, m := range []testkit.Manner{testkit.HalfBody(10, 5), testkit.CloseAfterHead, testkit.ResetInBody} {
			b.Become(m)
			refused(t, testkit.Get(t, w.Addr("web"), "/"), 502, "upstream_reset")
		}
		for i, r := range records(t, w) {
			if (r.Reason != "upstream_reset" && r.Reason != "bad_response") || r.Attempts[len(r.Attempts)-1].Error == "" {
				t.Errorf("record %d: %+v", i, r)
			}
		}
	})
}

// A complete answer from a backend that ends with a reset cannot be told from a
// part where the close is the framing.
func TestResetWhereTheCloseIsTheFraming(t *testing.T) {
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		x.Write("HTTP/1.1 200 OK\r\n\r\npart")
		x.Wait(20 * time.Millisecond)
		return testkit.Reset(x)
	})
	w := testkit.Start(t, before(b))
	for _, version := range []string{"1.1", "1.0"} {
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/" + version + "\r\nHost: a\r\n\r\n")
		if r, err := c.TryRead("GET"); err == nil && r.Status == 200 && r.Err == nil {
			t.Errorf("HTTP/%s: %v looks complete", version, r)
		}
	}
}
