package testkit

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The kit is tested against itself: a client and a backend without a proxy
// between them.

func TestAnswerAndCounts(t *testing.T) {
	NoLeaks(t)
	b := NewBackend(t, Named("one"))
	c := Dial(t, b.Addr())
	for range 3 {
		if r := c.Get("/x", "X-Mine: 1"); r.Status != 200 || r.Body != "one" || r.Header("x-backend") != "one" || !r.Persists() {
			t.Fatal(r)
		}
	}
	if r := c.Do("HEAD /"); r.Body != "" || r.Header("Content-Length") != "3" {
		t.Error(r)
	}
	if conns, requests := b.Conns.Load(), b.Requests.Load(); conns != 1 || requests != 4 {
		t.Errorf("%d connections and %d requests counted, want 1 and 4", conns, requests)
	}
	if want := "GET /x HTTP/1.1\r\nHost: test\r\nX-Mine: 1\r\n\r\n"; b.Heads()[0] != want {
		t.Errorf("head %q, want %q", b.Heads()[0], want)
	}
}

func TestBodies(t *testing.T) {
	NoLeaks(t)
	b := NewBackend(t, Echo)
	c := Dial(t, b.Addr())
	if r := c.Post("/", "hello"); !strings.HasSuffix(r.Body, "\r\n\r\nhello") {
		t.Error(r)
	}
	c.Send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n")
	if r := c.Read("POST"); !strings.HasSuffix(r.Body, "\r\n\r\nabcde") {
		t.Error(r)
	}
	// a client that waits for leave to send
	c.Send("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	if r := c.Read("POST"); r.Status != 100 {
		t.Fatal(r)
	}
	c.Send("hi")
	if r := c.Read("POST"); !strings.HasSuffix(r.Body, "\r\n\r\nhi") {
		t.Error(r)
	}
}

func TestManners(t *testing.T) {
	NoLeaks(t)
	b := NewBackend(t, Echo)
	f := func(m Manner, want string) {
		t.Helper()
		b.Become(m)
		c := Dial(t, b.Addr())
		c.Send("GET / HTTP/1.1\r\n\r\n")
		got := ""
		for {
			r, err := c.TryRead("GET")
			if err != nil {
				got += "none"
				break
			}
			got += r.Proto[5:] + " " + strings.TrimSpace(r.Body+" "+strings.Join(r.Trailers, ","))
			if r.Err != nil {
				got += " cut"
				break
			}
			if r.Status >= 200 {
				break
			}
			got += "/"
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		_ = c.Conn.Close()
	}
	f(Answer(200, "ok"), "1.1 ok")
	f(CloseBeforeHead, "none")
	f(CloseInHead, "none")
	f(Reset, "none")
	f(CloseAfterHead, "1.1  cut")
	f(HalfBody(10, 3), "1.1 xxx cut")
	f(HalfChunked, "1.1 hello cut")
	f(ResetInBody, "1.1 hello cut")
	f(Drip("abc", time.Millisecond), "1.1 abc")
	f(After(time.Millisecond, Answer(200, "x")), "1.1 x")
	f(Chunked([]string{"ab", "c"}, []string{"T: v"}), "1.1 abc T: v")
	f(Interim(103, Answer(200, "x"), "Link: y"), "1.1 /1.1 x")
	f(Raw("HTTP/1.0 200 OK\r\n\r\nend", false), "1.0 end")
	f(Surplus("junk"), "1.1 ok")
	f(Early(413), "1.1 ")
	f(WebSocket, "1.1 not an upgrade")
	f(ByPath(map[string]Manner{"/": Answer(200, "root"), "/x": Answer(200, "x")}), "1.1 root")
}

func TestWaitingMannersEndWithTheBackend(t *testing.T) {
	NoLeaks(t)
	for _, m := range []Manner{NeverAnswer, StopInBody, EndlessHeader, Events(nil), Drip("abc", time.Hour), CloseIdle(time.Hour, Answer(200, ""))} {
		b := NewBackend(t, m)
		Dial(t, b.Addr()).Send("GET / HTTP/1.1\r\n\r\n")
	}
}

func TestWebSocketAndEvents(t *testing.T) {
	NoLeaks(t)
	events := make(chan string)
	b := NewBackend(t, ByPath(map[string]Manner{"/ws": WebSocket, "/sse": Events(events)}))

	c := Dial(t, b.Addr())
	r := c.Get("/ws", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	// the example of RFC 6455
	if r.Status != 101 || r.Header("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatal(r)
	}
	c.Send("ping")
	buf := make([]byte, 4)
	if _, err := c.R.Read(buf); err != nil || string(buf) != "ping" {
		t.Errorf("echo %q, %v", buf, err)
	}

	c = Dial(t, b.Addr())
	c.Send("GET /sse HTTP/1.1\r\n\r\n")
	events <- "one"
	close(events)
	if r := c.Read("GET"); r.Body != "data: one\n\n" || r.Framing != "chunked" {
		t.Error(r)
	}
}

func TestStopAndReturn(t *testing.T) {
	NoLeaks(t)
	b := NewBackend(t, Named("one"))
	c := Dial(t, b.Addr())
	c.Get("/")
	b.Stop()
	if !c.Closed() {
		t.Error("the connection lives on after Stop")
	}
	if err := b.Return(); err != nil {
		t.Fatal(err)
	}
	if r := Get(t, b.Addr(), "/"); r.Body != "one" {
		t.Error(r)
	}
}

func TestUnixBackend(t *testing.T) {
	NoLeaks(t)
	b := NewUnixBackend(t, filepath.Join(t.TempDir(), "s"), Named("u"))
	if r := Get(t, b.Addr(), "/"); r.Body != "u" {
		t.Error(r)
	}
}

func TestLeakIsSeen(t *testing.T) {
	before := goroutines()
	end := make(chan struct{})
	done := make(chan struct{})
	go func() { <-end; close(done) }()
	left := leftOver(before, 10*time.Millisecond)
	close(end)
	<-done
	if len(left) != 1 || !strings.Contains(left[0], "TestLeakIsSeen") {
		t.Errorf("left over: %q, want the one goroutine of this test", left)
	}
	if left := leftOver(before, leakWait); len(left) != 0 {
		t.Errorf("left over after its end: %q", left)
	}
}
