package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// asking is a helper and a client of it, on a socket.
func asking(t *testing.T, h *helper) func(path string) (*http.Response, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() { h.accept(ln) })
	t.Cleanup(func() { _ = ln.Close(); accepting.Wait() })
	return func(path string) (*http.Response, error) {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		if *h.fault.Load() == hang {
			_ = c.SetDeadline(time.Now().Add(30 * time.Millisecond))
		}
		return http.ReadResponse(bufio.NewReader(c), nil)
	}
}

func TestFaults(t *testing.T) {
	h := newHelper(4, time.Microsecond, 0)
	ask := asking(t, h)
	status := func(f fault, want int) {
		t.Helper()
		h.become(f)
		resp, err := ask("/")
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want || resp.Header.Get(backendName) != "4" || len(body) != 120 {
			t.Errorf("%s: %d %v %q %v", f, resp.StatusCode, resp.Header, body, err)
		}
	}
	status(sound, 200)
	status(slow, 200)
	status(failed, 500)
	h.become(broken)
	if resp, err := ask("/"); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a whole answer, or none: %v, %v", resp, err)
	}
	h.become(hang)
	if resp, err := ask("/"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an answer, or an end: %v, %v", resp, err)
	}
	h.become(sound)
	if _, err := ask(probePath); err != nil {
		t.Error(err)
	}
	if n := h.requests.Load(); n != 5 {
		t.Errorf("%d requests were counted, want 5: probes are none", n)
	}
}

func TestObey(t *testing.T) {
	h := newHelper(0, time.Millisecond, 0)
	h.requests.Store(12)
	var out strings.Builder
	if err := h.obey(strings.NewReader("hang\ncount\n"), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != "listening\n12\n12\n" || *h.fault.Load() != hang {
		t.Errorf("it says %q and is %q", out.String(), *h.fault.Load())
	}
}

// With two slots six requests take three times as long as one.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHelper(0, time.Second, 2)
		begin := time.Now()
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() { h.work(time.Second, func() float64 { return 0.5 }) })
		}
		all.Wait()
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("6 requests of 1 s took %v with 2 slots, want 3 s", took)
		}
	})
}

func TestHelperArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"x", "127.0.0.1:0", "1ms", "0"}, {"0", "127.0.0.1:0", "soon", "0"}, {"0", "127.0.0.1:0", "1ms", "x"}, {"0", "nowhere", "1ms", "0"}} {
		if err := runHelper(args, strings.NewReader(""), io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	if err := runHelper([]string{"0", "127.0.0.1:0", "1ms", "0"}, strings.NewReader(""), io.Discard); err != nil {
		t.Error(err)
	}
}
