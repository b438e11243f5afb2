package proxy_test

import (
	"strings"
	"testing"

	"weir/internal/testkit"
)

// The load that a backend names is for Weir: its weight follows, and the client
// does not see it, wherever in the answer it is.
func TestLoadHeader(t *testing.T) {
	busy := testkit.NewBackend(t, testkit.Answer(200, "busy", "x-load: 0.9", "X-Other: 1"))
	idle := testkit.NewBackend(t, testkit.Answer(200, "idle", "X-Load: 0"))
	w := testkit.StartOn(t, setup{backends: at(busy, idle), pool: "health: {load_header: X-Load}\n"}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	eventually(t, "the weight follows", func() bool {
		for range 10 {
			if r := c.Get("/"); r.Header("X-Load") != "" || r.Body == "busy" && r.Header("X-Other") != "1" {
				t.Fatal(r)
			}
		}
		b := w.Backend("web", busy.Addr())
		return b.WeightPercent > 0 && b.WeightPercent < 75 && b.Load > 0
	})
	if b := w.Backend("web", idle.Addr()); b.WeightPercent != 0 || b.Load != 0 {
		t.Errorf("%+v", b)
	}
}

// What is no load is ignored, and hidden all the same; what frames the answer
// stays, whatever it is called.
func TestLoadHeaderOfAnyKind(t *testing.T) {
	f := func(name string, m testkit.Manner, visible bool) {
		t.Helper()
		b := testkit.NewBackend(t, m)
		w := testkit.StartOn(t, setup{backends: at(b), pool: "health: {load_header: " + name + "}\n"}.yaml(), single)
		c := testkit.Dial(t, w.Addr("web"))
		for range 2 {
			r := c.Get("/")
			if r.Status != 200 || r.Body != "hello" || (r.Header(name) != "") != visible {
				t.Errorf("%s: %v", name, r)
			}
		}
		if load := w.Backend("web", b.Addr()).Load; load != 0 {
			t.Errorf("%s: load %v", name, load)
		}
	}
	f("X-Load", testkit.Answer(200, "hello", "X-Load: high"), false)
	f("X-Load", testkit.Answer(200, "hello", "X-Load: 17", "X-LOAD: -1"), false)
	f("X-Weir-Load", testkit.Answer(200, "hello", "X-Weir-Load: no"), false)
	f("X-Load", testkit.Chunked([]string{"hello"}, []string{"X-Load: 0.5", "X-Sum: 1"}), false)
	f("Content-Length", testkit.Answer(200, "hello"), true)
}

// Nor does it show in an interim answer, or in one that changes the protocol.
func TestLoadHeaderOfOtherAnswers(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Interim(103, testkit.Answer(200, "hello"), "Link: </a>", "X-Load: 0.5"))
	w := testkit.StartOn(t, setup{backends: at(b), pool: "health: {load_header: X-Load}\n"}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if all, err := rest(c); err != nil || !strings.Contains(all, "103") || !strings.Contains(all, "Link") || strings.Contains(all, "X-Load") {
		t.Errorf("%q, %v", all, err)
	}
	b.Become(func(x *testkit.Exchange) bool {
		x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Load: 0.5\r\n\r\n")
		return false
	})
	c = testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if all, err := rest(c); err != nil || !strings.Contains(all, "101") || strings.Contains(all, "X-Load") {
		t.Errorf("%q, %v", all, err)
	}
}

// Without the key it is a header like any other.
func TestNoLoadHeader(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "hello", "X-Load: 0.9"))
	w := testkit.StartOn(t, before(b), single)
	if r := testkit.Get(t, w.Addr("web"), "/"); r.Header("X-Load") != "0.9" {
		t.Error(r)
	}
}
