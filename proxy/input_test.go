package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/internal/testkit"
)

// A head is what it was for as long as its request lasts, whatever is read
// meanwhile: for the log, for trailers, for codings.
func TestHeadsOutliveBodies(t *testing.T) {
	b := testkit.NewBackend(t, hashing)
	w := testkit.StartOn(t, setup{backends: at(b), defaults: "limits: {header_bytes: 64KiB}"}.yaml(), single)
	c := testkit.Dial(t, w.Addr("web"))
	head := func(i, size int) string {
		return fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: honest.example\r\nUser-Agent: %d\r\nX-Fill: %s\r\nTransfer-Encoding: chunked\r\n\r\n", i, i, strings.Repeat("x", size))
	}
	// each write is the body of one request and the head of the next
	const n = 12
	body := strings.Repeat("FORGED\r\n", 5000)
	for i := range n {
		text := head(i, i%3*12_000)
		if i > 0 {
			text = chunked(body, 3000) + text
		}
		c.Send(text)
		if i > 0 {
			if r := c.Read("POST"); r.Body != digest(body) {
				t.Fatalf("request %d: %.200v", i-1, r)
			}
		}
	}
	c.Send(chunked(body, 3000))
	if r := c.Read("POST"); r.Body != digest(body) {
		t.Fatalf("%.200v", r)
	}
	for i, r := range records(t, w) {
		if r.Path != fmt.Sprintf("/%d", i) || r.Host != "honest.example" || r.UserAgent != itoa(i) {
			t.Errorf("record %d: %q %q %q", i, r.Path, r.Host, r.UserAgent)
		}
	}
}

// A large head may bring much of its body with it.
func TestLargeHeadWithBody(t *testing.T) {
	b := testkit.NewBackend(t, hashing)
	w := testkit.Start(t, setup{backends: at(b), defaults: "limits: {header_bytes: 256KiB}"}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	for _, size := range []int{10, 3000, 15_000, 30_000, 66_000, 140_000} {
		body := noise(150_000)
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nX-Fill: " + strings.Repeat("x", size) + "\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 5000) +
			"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if r := c.Read("POST"); r.Body != digest(body) || !r.Persists() {
			t.Fatalf("%d: %.200v", size, r)
		}
		if r := c.Read("GET"); r.Body != digest("") {
			t.Fatalf("%d: behind it: %.200v", size, r)
		}
	}
}

// A listener that drains keeps the limits it had: a head that began under them
// is served, and the loop goes on.
func TestLargeHeadOnADrainingListener(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	old := setup{backends: at(b), defaults: "limits: {header_bytes: 32KiB}"}.yaml()
	w := testkit.StartOn(t, old, single)
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\nX-Fill: " + strings.Repeat("x", 20_000))
	eventually(t, "its beginning is here", func() bool { return w.Proxy.Status().Listeners[0].Connections == 1 })
	w.Apply(strings.NewReplacer("name: web, address", "name: new, address", "32KiB", "8KiB").Replace(old))
	c.Send("\r\n\r\n")
	if r := c.Read("GET"); r.Body != "ok" || r.Persists() {
		t.Error(r)
	}
	if r := testkit.Get(t, w.Addr("new"), "/"); r.Body != "ok" {
		t.Error(r)
	}
}
