package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/ratelimit"
)

// Of one key's tokens each goes to one loop, at every moment.
func TestManyLoopsOneKey(t *testing.T) {
	l, r := ratelimit.New(), ratelimit.NewRate(1000, 100)
	key := l.KeyBytes([]byte("one"))
	hammer := func(now int64) int64 {
		var passed atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 500 {
					if l.Take(key, r, now).OK {
						passed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		return passed.Load()
	}
	if got := hammer(0); got != 100 {
		t.Errorf("%d passed at first, want the burst of 100", got)
	}
	for i, elapsed := range []int64{1, 10, 50, 99, 100, 1000} { // ms, a token each
		now := int64(i+1)*10*second + elapsed*1e6
		hammer(now - elapsed*1e6)
		if got, want := hammer(now), min(elapsed, 100); got != want {
			t.Errorf("%d passed %d ms later, want %d", got, elapsed, want)
		}
	}
}

// hashed spreads small numbers like a hash would: the same ones in each run.
func hashed(k int) uint64 {
	x := uint64(k) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAMillionKeys(t *testing.T) {
	const keys, now = 1_000_000, 5 * second
	before := heap()
	l, r := ratelimit.New(), ratelimit.NewRate(0.001, 1)
	for k := range keys {
		if v := l.Take(l.KeyAddr(address(k)), r, now); !v.OK {
			t.Fatalf("key %d was refused the first time: %+v", k, v)
		}
	}
	forgotten := 0
	for k := range keys {
		if l.Take(l.KeyAddr(address(k)), r, now+999*second).OK {
			forgotten++
		}
	}
	if forgotten > 0 {
		t.Errorf("%d of a million keys were forgotten", forgotten)
	}
	used := heap() - before
	t.Logf("%d bytes", used)
	if used > 64<<20 {
		t.Errorf("%d bytes, want at most 64 MiB", used)
	}
	// two hours later every bucket is full, and the memory can go
	if live := l.Trim(now + 999*second); live != keys {
		t.Errorf("%d keys are live, want a million", live)
	}
	if live := l.Trim(now + 7200*second); live != 0 {
		t.Errorf("%d keys are live after two hours", live)
	}
	if left := int64(heap()) - int64(before); left > 1<<20 {
		t.Errorf("%d bytes left after Trim", left)
	}
	runtime.KeepAlive(l)
}

func address(k int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(k >> 16), byte(k >> 8), byte(k)})
}

func TestKeys(t *testing.T) {
	l := ratelimit.New()
	same := func(a, b string, want bool) {
		t.Helper()
		if got := l.KeyAddr(netip.MustParseAddr(a)) == l.KeyAddr(netip.MustParseAddr(b)); got != want {
			t.Errorf("%s and %s share a key: %v, want %v", a, b, got, want)
		}
	}
	same("192.0.2.1", "192.0.2.1", true)
	same("192.0.2.1", "::ffff:192.0.2.1", true)
	same("192.0.2.1", "192.0.2.2", false)
	same("2001:db8::1", "2001:db8::2:0:0:1", true) // one /64
	same("2001:db8::1", "2001:db8:0:1::1", false)
	same("fe80::1%eth0", "fe80::1%eth1", true)

	a := l.KeyAddr(netip.MustParseAddr("192.0.2.1"))
	if a == ratelimit.New().KeyAddr(netip.MustParseAddr("192.0.2.1")) {
		t.Error("two limiters hash alike")
	}
	if l.KeyBytes([]byte("a")) == l.KeyBytes([]byte("b")) || l.KeyBytes(nil) != l.KeyBytes([]byte{}) {
		t.Error("KeyBytes does not tell values apart")
	}
	one, two := l.KeyBytes([]byte("one")), l.KeyBytes([]byte("two"))
	if m := ratelimit.Mix(one, a); m == ratelimit.Mix(two, a) || m == ratelimit.Mix(a, one) || m == a || m != ratelimit.Mix(one, a) {
		t.Error("Mix does not tell rules apart")
	}
	l.KeyAddr(netip.Addr{}) // must not panic: a client on a unix socket has none
}

func TestAllocTake(t *testing.T) {
	l, r := ratelimit.New(), ratelimit.NewRate(1, 100)
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	name, now := []byte("a name of some length, as headers have it"), second
	n := testing.AllocsPerRun(1000, func() {
		now += second / 100
		l.Take(ratelimit.Mix(5, l.KeyAddr(four)), r, now)
		l.Take(l.KeyAddr(six), r, now)
		l.Take(l.KeyBytes(name), r, now)
	})
	if n != 0 {
		t.Errorf("Take allocates %v times, want 0", n)
	}
}

// Each goroutine's clock moves by 1 µs a request.
func BenchmarkTake(b *testing.B) {
	for _, keys := range []int{1, 10_000, 1_000_000} {
		for _, kind := range []struct {
			name string
			r    ratelimit.Rate
		}{{"pass", ratelimit.NewRate(1, 1<<30)}, {"refuse", ratelimit.NewRate(1e-6, 1)}} {
			l := ratelimit.New()
			for k := range keys {
				l.Take(hashed(k), kind.r, 1)
			}
			name := fmt.Sprintf("%s/%d", kind.name, keys)
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for i, now := 0, second; b.Loop(); i, now = i+1, now+1000 {
					l.Take(hashed(i%keys), kind.r, now)
				}
			})
			b.Run(name+"/parallel", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i, now := rand.IntN(keys), second; pb.Next(); i, now = i+1, now+1000 {
						l.Take(hashed(i%keys), kind.r, now)
					}
				})
			})
		}
	}
}

// The slowest single Take while a million new keys come: it is the one that
// allocates the biggest table.
func BenchmarkGrow(b *testing.B) {
	var slowest time.Duration
	for b.Loop() {
		l, r := ratelimit.New(), ratelimit.NewRate(0.001, 1)
		for k := range 1_000_000 {
			start := time.Now()
			l.Take(hashed(k), r, 1)
			slowest = max(slowest, time.Since(start))
		}
	}
	b.ReportMetric(float64(slowest.Microseconds()), "µs-slowest")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1e6/float64(b.N), "ns/key")
}
