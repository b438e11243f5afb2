package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/pool"
)

// spec makes a Spec without a check from words like "a", "b*5" (weight), "c^1"
// (tier) and "d<10" (max_requests). Names stand for addresses: see addr.
func spec(words ...string) pool.Spec {
	s := pool.Spec{}
	for _, w := range words {
		b := pool.BackendSpec{Address: addr(w[:1])}
		if len(w) > 1 {
			var n int
			fmt.Sscan(w[2:], &n)
			switch w[1] {
			case '*':
				b.Weight = n
			case '^':
				b.Tier = n
			case '<':
				b.MaxRequests = n
			}
		}
		s.Backends = append(s.Backends, b)
	}
	return s
}

// addr is 127.0.0.1:1097 for a, 1098 for b and so on; name undoes it.
func addr(name string) string { return fmt.Sprintf("127.0.0.1:%d", 1000+int(name[0])) }

func name(address string) string {
	var n int
	fmt.Sscanf(address, "127.0.0.1:%d", &n)
	return string(rune(n - 1000))
}

// start returns a pool with that Spec, closed when the test ends.
func start(t testing.TB, o pool.Options, s pool.Spec) *pool.Pool {
	t.Helper()
	p := pool.New("web", o)
	t.Cleanup(p.Close)
	p.Update(s)
	return p
}

// take acquires on loop 0 and says whom, or why not.
func take(p *pool.Pool, tried ...*pool.Backend) (pool.Lease, string) {
	var list pool.Tried
	for _, b := range tried {
		list.Add(b)
	}
	l, err := p.Acquire(0, list)
	switch {
	case errors.Is(err, pool.ErrEmpty):
		return l, "empty"
	case errors.Is(err, pool.ErrNoHealthy):
		return l, "none"
	case errors.Is(err, pool.ErrAllFull):
		return l, "full"
	}
	return l, name(l.Backend().Address())
}

// picks returns whom n requests, each successful, go to.
func picks(p *pool.Pool, n int) string {
	var all []string
	for range n {
		l, who := take(p)
		if l.Backend() != nil {
			l.Done(pool.Success)
		}
		all = append(all, who)
	}
	return strings.Join(all, "")
}

// who returns which backends get requests, sorted; "" if nobody does.
func who(p *pool.Pool) string {
	var all []string
	for _, b := range p.Status().Backends {
		if b.EffectiveWeight > 0 {
			all = append(all, name(b.Address))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// state returns "a=up b=down".
func state(p *pool.Pool) string {
	var all []string
	for _, b := range p.Status().Backends {
		all = append(all, name(b.Address)+"="+b.State)
	}
	return strings.Join(all, " ")
}

// fail makes n requests to the backend called who end badly, taking what it
// needs of the others' turns.
func fail(t testing.TB, p *pool.Pool, who string, n int) {
	t.Helper()
	for others := 0; n > 0; others++ {
		l, got := take(p)
		if others > 1000 {
			t.Fatalf("no request reaches %s", who)
		}
		if l.Backend() == nil {
			t.Fatalf("no request reaches %s: %s", who, got)
		}
		if got != who {
			l.Done(pool.Success)
			continue
		}
		others = 0
		l.Done(pool.ConnectRefused)
		n--
	}
}

// journal collects events as "a up", with the seconds before them if start is set.
type journal struct {
	start time.Time
	mu    sync.Mutex
	lines []string
	raw   []pool.Event
}

func (j *journal) note(e pool.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := name(e.Backend) + " " + e.What
	if !j.start.IsZero() {
		line = fmt.Sprintf("%v %s", e.Time.Sub(j.start), line)
	}
	j.lines = append(j.lines, line)
	j.raw = append(j.raw, e)
}

// read returns what was noted since the last read.
func (j *journal) read() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := strings.Join(j.lines, ", ")
	j.lines = nil
	return s
}

// clinic is a Check whose patients are fit unless said otherwise.
type clinic struct {
	mu    sync.Mutex
	sick  map[string]bool
	asked map[string]int
}

func (c *clinic) Probe(_ context.Context, address string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil {
		c.asked = make(map[string]int)
	}
	c.asked[name(address)]++
	if c.sick[name(address)] {
		return errors.New("feels sick")
	}
	return nil
}

// visits returns how often a backend has been probed.
func (c *clinic) visits(who string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[who]
}

// say makes exactly those sick.
func (c *clinic) say(sick string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sick = make(map[string]bool)
	for _, r := range sick {
		c.sick[string(r)] = true
	}
}

// checked adds c to a spec: every 5 s, fall 3, rise 2.
func checked(s pool.Spec, c *clinic) pool.Spec {
	s.Check = &pool.CheckSpec{
		Check: c, Key: "clinic", Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 2,
	}
	return s
}

// passive adds ejection after 5 errors: 10 s, 300 s at most, half of them at most.
func passive(s pool.Spec) pool.Spec {
	s.Passive = pool.Passive{
		ConsecutiveErrors: 5, Ejection: 10 * time.Second, MaxEjection: 300 * time.Second, MaxEjected: 50, Enforce: true,
	}
	return s
}
