package health_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/health"
)

// peer does with each connection what talk says, and then closes it.
func peer(t *testing.T, talk func(conn net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				talk(conn)
			}()
		}
	}()
	return ln.Addr().String()
}

// says is a peer that sends the parts one after the other, and reads to the end.
func says(t *testing.T, parts ...string) (addr string) {
	t.Helper()
	return peer(t, func(conn net.Conn) {
		for _, p := range parts {
			io.WriteString(conn, p)
			time.Sleep(10 * time.Millisecond) // parts are to be read one by one
		}
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	})
}

// echoes is a peer that answers a line with the same in brackets.
func echoes(t *testing.T) (addr string) {
	t.Helper()
	return peer(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "[%s]\n", strings.TrimRight(line, "\r\n"))
		}
	})
}

// alone runs f and waits until every goroutine that f has started is gone.
func alone(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestTCPTalks(t *testing.T) {
	f := func(addr string, c health.TCP, want string) {
		t.Helper()
		alone(t, func(t *testing.T) {
			if got := probe(t, c, addr); !strings.Contains(got, want) {
				t.Errorf("send %q, expect %.64q: %s, want %s", c.Send, c.Expect, got, want)
			}
		})
	}
	text := func(s string) []byte { return []byte(s) }
	echo := echoes(t)

	// what is sent arrives, after the Hello, and what comes back is searched
	f(echo, health.TCP{Send: text("PING\r\n"), Expect: text("[PING]")}, "pass")
	f(echo, health.TCP{Hello: text("PROXY UNKNOWN\r\n"), Send: text("PING\r\n"), Expect: text("[PROXY UNKNOWN]\n[PING]")}, "pass")
	f(echo, health.TCP{Send: text("PING\r\n")}, "pass")

	// without Send the peer begins, and its text may come in parts
	f(says(t, "220 mail ESMTP\r\n"), health.TCP{Expect: text("220 ")}, "pass")
	f(says(t, "-LOADING", " data", "set", " +PONG"), health.TCP{Expect: text("dataset +P")}, "pass")

	// the text is not there
	f(says(t, "-LOADING dataset\r\n"), health.TCP{Expect: text("+PONG")},
		`answer "-LOADING dataset\r\n" does not contain "+PONG"`)
	f(says(t), health.TCP{Expect: text("+PONG")}, `answer "" does not contain "+PONG"`)
	f(peer(t, func(conn net.Conn) { conn.(*net.TCPConn).SetLinger(0) }), health.TCP{Expect: text("+PONG")}, "connection reset")

	// or too far away: what a peer says is not read for ever
	far := strings.Repeat("x", 64<<10)
	f(says(t, far[:len(far)-2]+"ok"), health.TCP{Expect: text("ok")}, "pass")
	f(says(t, far+"ok"), health.TCP{Expect: text("ok")}, "does not contain")
	f(peer(t, func(conn net.Conn) {
		for err := error(nil); err == nil; {
			_, err = io.WriteString(conn, far)
		}
	}), health.TCP{Expect: text("ok")}, "does not contain")
}

// Peers that keep silent, or do not listen: the context ends the probe.
func TestTCPEndsWithItsContext(t *testing.T) {
	addr := peer(t, func(conn net.Conn) {
		io.WriteString(conn, "wait")
		<-t.Context().Done()
	})
	for _, c := range []health.TCP{
		{Expect: []byte("ok")},
		{Send: make([]byte, 64<<20)},
		{Hello: make([]byte, 64<<20)},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := c.Probe(ctx, addr); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("expect %q: %v, want the deadline", c.Expect, err)
		}
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	err := (health.TCP{Expect: []byte("ok")}).Probe(ctx, addr)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `answer "wait"`) {
		t.Errorf("%v, want that it was cancelled, and what had come", err)
	}
}
