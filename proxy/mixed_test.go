package proxy_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// Many clients before backends that fail in every way: each gets its own answer
// or an honest failure, never somebody else's and never a part as the whole.
func TestMixedFaults(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		o.Loops = 2
		var n atomic.Int64
		faults := []testkit.Manner{
			testkit.Reset, testkit.CloseBeforeHead, testkit.CloseInHead, testkit.HalfBody(100, 10), testkit.HalfChunked,
			testkit.Surplus("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"), testkit.Raw("garbage\r\n\r\n", true), testkit.Early(200),
		}
		manner := func(x *testkit.Exchange) bool {
			if i := n.Add(1); i%5 == 0 && !strings.HasPrefix(x.Path(), "/sure") {
				return faults[int(i/5)%len(faults)](x)
			}
			body, err := x.Body()
			if err != nil {
				return false
			}
			return testkit.Answer(200, x.Path()+":"+string(body))(x)
		}
		b, other := testkit.NewBackend(t, manner), testkit.NewBackend(t, manner)
		w := testkit.StartOn(t, setup{backends: at(b, other), pool: "health: {passive: {consecutive_errors: 1000}}\n"}.yaml(), o)
		var failed atomic.Int64
		var all sync.WaitGroup
		for id := range 20 {
			c := testkit.Dial(t, w.Addr("web"))
			all.Go(func() {
				for i := range 50 {
					path, body := fmt.Sprintf("/%d/%d", id, i), ""
					text := "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"
					if i%3 == 0 {
						body = strings.Repeat(itoa(id), 1+i*200)
						text = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
					}
					c.Send(text)
					r, err := c.TryRead("GET")
					switch {
					case err == nil && r.Err == nil && r.Status == 200 && (r.Body == path+":"+body || r.Body == "" || r.Body == "ok"):
						// the last two are the answers of Early and of Surplus
					case err == nil && r.Err == nil && r.Status == 200:
						t.Errorf("%s: the answer is %.100q", path, r.Body)
					default:
						failed.Add(1)
					}
					if err != nil || !r.Persists() {
						c.Conn.Close()
						c = testkit.Dial(t, w.Addr("web"))
					}
				}
			})
		}
		all.Wait()
		if f := failed.Load(); f > 200 {
			t.Errorf("%d of 1000 requests failed", f)
		}
		for range 20 {
			if r := testkit.Get(t, w.Addr("web"), "/sure"); r.Body != "/sure:" {
				t.Error(r)
			}
		}
		// an answer may be there a moment before its end has been noted
		eventually(t, "nothing is in flight", func() bool { return w.Proxy.Status().InFlight == 0 })
		eventually(t, "every lease is given back", func() bool {
			return w.Backend("web", b.Addr()).InFlight == 0 && w.Backend("web", other.Addr()).InFlight == 0
		})
	})
}
