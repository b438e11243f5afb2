package ratelimit_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"weir/internal/ratelimit"
)

const second = int64(time.Second)

// taker is one key of a fresh Limiter, and a clock.
type taker struct {
	*testing.T
	l *ratelimit.Limiter
	r ratelimit.Rate
}

func newTaker(t *testing.T, rps float64, burst int) *taker {
	return &taker{T: t, l: ratelimit.New(), r: ratelimit.NewRate(rps, burst)}
}

// at takes once at a time and compares all that Take says.
func (k *taker) at(now time.Duration, want ratelimit.Verdict) {
	k.Helper()
	if got := k.l.Take(1, k.r, int64(now)); got != want {
		k.Errorf("at %v: %+v, want %+v", now, got, want)
	}
}

func passed(remaining int, reset time.Duration) ratelimit.Verdict {
	return ratelimit.Verdict{OK: true, Remaining: remaining, Reset: reset}
}

func refused(retry, reset time.Duration) ratelimit.Verdict {
	return ratelimit.Verdict{Retry: retry, Reset: reset}
}

func TestBurstThenSteadyRate(t *testing.T) {
	k := newTaker(t, 10, 3) // and a clock that starts at 0
	const tick = 100 * time.Millisecond
	k.at(0, passed(2, tick))
	k.at(0, passed(1, 2*tick))
	k.at(0, passed(0, 3*tick))
	k.at(0, refused(tick, 3*tick))

	// being refused costs nothing
	k.at(tick-1, refused(1, 2*tick+1))
	k.at(tick, passed(0, 3*tick))
	k.at(tick, refused(tick, 3*tick))

	// tokens gather while nothing comes, but no more than the burst
	k.at(3*tick, passed(1, 2*tick))
	k.at(10*365*24*time.Hour, passed(2, tick))

	// part of a token is kept
	k.at(10*365*24*time.Hour+tick/2, passed(1, tick+tick/2))
}

func TestFractionalRates(t *testing.T) {
	k := newTaker(t, 0.01, 1)
	k.at(0, passed(0, 100*time.Second))
	k.at(99*time.Second, refused(time.Second, time.Second))
	k.at(100*time.Second, passed(0, 100*time.Second))

	k = newTaker(t, 2.5, 2)
	k.at(time.Hour, passed(1, 400*time.Millisecond))
	k.at(time.Hour, passed(0, 800*time.Millisecond))
	k.at(time.Hour, refused(400*time.Millisecond, 800*time.Millisecond))
}

// A clock that another loop read a little earlier changes nothing for the worse.
func TestClockGoesBack(t *testing.T) {
	k := newTaker(t, 1, 2)
	k.at(10*time.Second, passed(1, time.Second))
	k.at(9*time.Second, refused(time.Second, 2*time.Second))
	k.at(10*time.Second, passed(0, 2*time.Second))

	// before it began
	k = newTaker(t, 1, 1)
	k.at(-time.Second, passed(0, time.Second))
	k.at(-time.Second, refused(time.Second, time.Second))
	k.at(time.Second, passed(0, time.Second))
}

func TestRateChanges(t *testing.T) {
	// a slower rate: what is owed is kept as time, and so is less
	k := newTaker(t, 10, 10)
	for range 10 {
		k.l.Take(1, k.r, 0)
	}
	k.at(0, refused(100*time.Millisecond, time.Second))
	k.r = ratelimit.NewRate(1, 10)
	k.at(0, passed(8, 2*time.Second))

	// a faster rate: the bucket is empty, and not worse than that
	k = newTaker(t, 0.1, 10)
	for range 10 {
		k.l.Take(1, k.r, 0)
	}
	k.r = ratelimit.NewRate(10, 5)
	k.at(0, refused(100*time.Millisecond, 500*time.Millisecond))
	k.at(0, refused(100*time.Millisecond, 500*time.Millisecond))

	// a smaller burst
	k = newTaker(t, 1, 10)
	for range 5 {
		k.l.Take(1, k.r, 0)
	}
	k.r = ratelimit.NewRate(1, 6)
	k.at(0, passed(0, 6*time.Second))
	k.at(0, refused(time.Second, 6*time.Second))
}

func TestRatesOutOfBounds(t *testing.T) {
	now := math.MaxInt64 / 2 // 146 years
	for _, rps := range []float64{math.NaN(), math.Inf(-1), -1, 0, 1e-300, 1e-9, 1, 1e9, 1e300, math.Inf(1)} {
		for _, burst := range []int{math.MinInt, -1, 0, 1, 1000, math.MaxInt} {
			l, r := ratelimit.New(), ratelimit.NewRate(rps, burst)
			v := l.Take(1, r, int64(now))
			if !v.OK || v.Remaining < 0 || v.Reset <= 0 || v.Retry != 0 || v.Remaining != min(max(burst, 1), 1<<30)-1 {
				t.Errorf("%v a second, burst %d: %+v", rps, burst, v)
			}
			v = l.Take(1, r, int64(now))
			if v.OK != (burst > 1) || v.OK == (v.Retry > 0) || v.Retry < 0 {
				t.Errorf("%v a second, burst %d, second time: %+v", rps, burst, v)
			}
		}
	}
	l := ratelimit.New()
	for range 1000 {
		if v := l.Take(1, ratelimit.Rate{}, 5); !v.OK || v.Remaining != math.MaxInt {
			t.Fatalf("the zero rate: %+v", v)
		}
	}
}

// naive is a token bucket as textbooks have it.
type naive struct {
	tokens, rps, burst float64
	last               int64
}

func (n *naive) fill(now int64) {
	n.tokens = min(n.burst, n.tokens+float64(now-n.last)/1e9*n.rps)
	n.last = now
}

// compare takes at the given intervals from both buckets. Where the naive one is
// within rounding of a whole token either answer is right; then it follows.
func compare(t *testing.T, rps float64, burst int, steps []int64) {
	t.Helper()
	l, r := ratelimit.New(), ratelimit.NewRate(rps, burst)
	n := naive{tokens: float64(burst), rps: rps, burst: float64(burst)}
	now, taken := int64(0), 0
	for _, step := range steps {
		now += step
		n.fill(now)
		v := l.Take(7, r, now)
		// An interval is rounded to ns: so much may have gathered since the bucket was full.
		slack := 1e-6 + float64(taken+1)*rps*0.5e-9 + float64(burst)*rps*0.5e-9
		if v.OK && n.tokens < 1-slack || !v.OK && n.tokens >= 1+slack {
			t.Fatalf("%v a second, burst %d, at %d: %+v with %v tokens", rps, burst, now, v, n.tokens)
		}
		if v.OK {
			n.tokens--
			taken++
		}
		if math.Abs(float64(v.Remaining)-n.tokens) > 1+slack {
			t.Fatalf("%v a second, burst %d, at %d: %d remain of %v tokens", rps, burst, now, v.Remaining, n.tokens)
		}
		full := (n.burst - n.tokens) / rps * 1e9
		if math.Abs(float64(v.Reset)-full) > 1e9/rps*slack+1 {
			t.Fatalf("%v a second, burst %d, at %d: full in %v, want %v", rps, burst, now, v.Reset, time.Duration(full))
		}
	}
}

func TestAgainstNaive(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		rps := math.Exp(random.Float64()*18 - 5) // 0.007 to 440 000 a second
		steps := make([]int64, 200)
		for i := range steps {
			steps[i] = int64(random.ExpFloat64() * 1e9 / rps * random.Float64() * 2)
		}
		compare(t, rps, 1+random.IntN(50), steps)
	}
}

func FuzzAgainstNaive(f *testing.F) {
	f.Add(10.0, 3, []byte{0, 0, 0, 0, 10, 255})
	f.Add(0.01, 1, []byte{0, 200, 1})
	f.Fuzz(func(t *testing.T, rps float64, burst int, moves []byte) {
		if !(rps >= 1e-3 && rps <= 1e5) || burst < 1 || burst > 1000 || len(moves) > 1000 {
			return
		}
		steps := make([]int64, len(moves))
		for i, m := range moves {
			steps[i] = int64(float64(m) / 64 * 1e9 / rps) // up to four tokens
		}
		compare(t, rps, burst, steps)
	})
}
