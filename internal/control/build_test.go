package control

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"weir/health"
	"weir/internal/config"
	"weir/pool"
)

func TestSpec(t *testing.T) {
	limit := health.NewExecLimit(1)
	f := func(source string, want pool.Spec) {
		t.Helper()
		if want.Queue.Timeout == 0 {
			want.Queue.Timeout = 5 * time.Second
		}
		if want.PanicThreshold == 0 {
			want.PanicThreshold = 50
		}
		if want.HashBalanceFactor == 0 {
			want.HashBalanceFactor = 1.25
		}
		if want.DrainTimeout == 0 {
			want.DrainTimeout = 5 * time.Minute
		}
		cfg := mustParse(t, "listeners: [{name: web, address: ':0', routes: [{name: all, pool: p}]}]\npools:\n  p: "+source)
		got := spec(*cfg.Pool("p"), limit)
		if got.Check != nil {
			got.Check.Key = "" // TestCheckKey
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", source, got, want)
		}
	}
	counted := pool.FaultsOf([]string{"connect", "timeout", "reset", "bad_response", "502", "503", "504"})
	passive := pool.Passive{
		Enforce: true, ConsecutiveErrors: 5, Ejection: 10 * time.Second, MaxEjection: 300 * time.Second, MaxEjected: 50, HalfOpen: true,
		Count: counted,
	}
	f("{backends: [{address: 'a:1'}, {address: 'b:1', weight: 3, tier: 1, max_requests: 7}]}", pool.Spec{
		Name: "p", Balance: pool.WeightedRoundRobin, Passive: passive,
		Backends: []pool.BackendSpec{
			{Address: "a:1", Weight: 1, MaxRequests: 1024},
			{Address: "b:1", Weight: 3, Tier: 1, MaxRequests: 7},
		},
	})

	// weight 0 is no traffic, and the pool is to know of the backend
	f("{balance: round_robin, backends: [{address: 'a:1', weight: 0}, {address: 'b:1'}]}", pool.Spec{
		Name: "p", Balance: pool.RoundRobin, Passive: passive,
		Backends: []pool.BackendSpec{
			{Address: "a:1", Weight: pool.NoTraffic, MaxRequests: 1024},
			{Address: "b:1", Weight: 1, MaxRequests: 1024},
		},
	})

	f("{backends: [], health: {active: {type: tcp, port: 81, interval: 3s, timeout: 1s, fall: 4, rise: 1}, passive: {consecutive_errors: 0, ejection: 1s, max_ejection: 2s, max_ejected: 10, enforce: false}}}", pool.Spec{
		Name: "p", Balance: pool.WeightedRoundRobin,
		Passive: pool.Passive{Ejection: time.Second, MaxEjection: 2 * time.Second, MaxEjected: 10, HalfOpen: true, Count: counted},
		Check: &pool.CheckSpec{
			Check: health.TCP{Port: 81, Send: []byte{}, Expect: []byte{}}, Interval: 3 * time.Second, Timeout: time.Second, Fall: 4, Rise: 1,
		},
	})
	f("{backends: [], health: {active: {path: /ok, method: HEAD, host: h, expect: '200,204-206', body: ''}}}", pool.Spec{
		Name: "p", Balance: pool.WeightedRoundRobin, Passive: passive,
		Check: &pool.CheckSpec{
			Check: health.HTTP{
				Path: "/ok", Method: "HEAD", Host: "h", Expect: []health.Range{{From: 200, To: 200}, {From: 204, To: 206}},
			},
			Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 2,
		},
	})

	f("{backends: [], adaptive_concurrency: true}", pool.Spec{
		Name: "p", Balance: pool.WeightedRoundRobin, Passive: passive, AdaptiveConcurrency: true,
	})

	f("{backends: [], balance: consistent_hash, hash_balance: 150, slow_start: 30s, drain: {timeout: 1m}, health: {panic_threshold: 7, passive: {half_open: false}}}", pool.Spec{
		Name: "p", Balance: pool.ConsistentHash, HashBalanceFactor: 1.5, SlowStart: 30 * time.Second, PanicThreshold: 7, DrainTimeout: time.Minute,
		Passive: pool.Passive{
			Enforce: true, ConsecutiveErrors: 5, Ejection: 10 * time.Second, MaxEjection: 300 * time.Second, MaxEjected: 50,
			Count: counted,
		},
	})

	passive.Count = pool.FaultsOf([]string{"connect", "500"})
	passive.SuccessRate = pool.SuccessRate{Interval: 30 * time.Second, Deviations: 2.5, MinBackends: 5, MinRequests: 50}
	f("{backends: [], health: {heartbeat: {ttl: 9s}, load_header: X-Load, passive: {count: [connect, 500], "+
		"success_rate: {enabled: true, deviations: 2.5, min_requests: 50, interval: 30s}}}}", pool.Spec{
		Name: "p", Balance: pool.WeightedRoundRobin, Passive: passive, Heartbeat: 9 * time.Second, FollowLoad: true,
	})

	// an empty list counts nothing, and what is not enabled is off, whatever its numbers
	passive.Count, passive.SuccessRate = pool.FaultsOf(nil), pool.SuccessRate{}
	f("{backends: [], health: {passive: {count: [], success_rate: {deviations: 2.5}}}}", pool.Spec{
		Name: "p", Balance: pool.WeightedRoundRobin, Passive: passive,
	})
}

// Every policy that a configuration can name is one of package pool's.
func TestPolicies(t *testing.T) {
	f := func(want string) {
		t.Helper()
		cfg := mustParse(t, "listeners: [{name: web, address: ':0', routes: []}]\npools: {p: {backends: [], balance: "+want+"}}")
		if got := spec(*cfg.Pool("p"), nil).Balance; got != want {
			t.Errorf("balance %q, want %q", got, want)
		}
	}
	f(pool.WeightedRoundRobin)
	f(pool.RoundRobin)
	f(pool.Random)
	f(pool.LeastRequests)
	f(pool.PeakEWMA)
	f(pool.ConsistentHash)
	f(pool.First)
}

func TestCheck(t *testing.T) {
	limit := health.NewExecLimit(1)
	hello := []byte("hello")
	f := func(keys string, want health.Check) {
		t.Helper()
		cfg := mustParse(t, "listeners: [{name: web, address: ':0', routes: []}]\npools: {p: {backends: [], health: {active: {"+keys+"}}}}")
		if got := check(*cfg.Pool("p").Health.Active, hello, limit); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", keys, got, want)
		}
	}
	f("method: PUT, headers: {A: b, C: d}, payload: x, expect: 204, body: ok, port: 1", health.HTTP{
		Path: "/", Method: "PUT", Headers: []health.Header{{Name: "A", Value: "b"}, {Name: "C", Value: "d"}}, Payload: "x",
		Expect: []health.Range{{From: 204, To: 204}}, Body: "ok", Port: 1, Hello: hello,
	})
	f("reuse_connection: false", health.HTTP{
		Path: "/", Method: "GET", Expect: []health.Range{{From: 200, To: 399}}, Hello: hello, Fresh: true,
	})
	f("type: tcp, send: a, expect_text: b", health.TCP{Hello: hello, Send: []byte("a"), Expect: []byte("b")})
	f("type: grpc, service: s, authority: a, port: 1", health.GRPC{Service: "s", Authority: "a", Port: 1, Hello: hello})
	f("type: exec, argv: [a, b]", health.Exec{Argv: []string{"a", "b"}, Limit: limit})
	f("type: agent, port: 1, send: a", health.Agent{Port: 1, Send: []byte("a")})
	f("type: agent, port: 1, path: /a", health.Agent{Port: 1, Send: []byte{}, Path: "/a"})
}

func TestCheckKey(t *testing.T) {
	a := config.Active{Type: "http", Path: "/", Expect: []config.StatusRange{{From: 200, To: 299}}, Interval: time.Second}
	b := a
	b.Interval, b.DownInterval, b.Timeout, b.Fall, b.Rise = time.Minute, time.Hour, time.Second, 4, 5
	if checkKey(a) != checkKey(b) {
		t.Error("the schedule of a check is not what it asks")
	}

	f := func(a, b config.Active) {
		t.Helper()
		if checkKey(a) == checkKey(b) {
			t.Errorf("checks that ask for different things have the same key: %s", checkKey(a))
		}
	}
	b.Expect = []config.StatusRange{{From: 200, To: 204}}
	f(a, b)
	f(config.Active{Argv: []string{"a", "b"}}, config.Active{Argv: []string{"a b"}})
	f(config.Active{Send: "a ExpectText:b"}, config.Active{Send: "a", ExpectText: "b"})
	f(config.Active{Headers: []config.Header{{Name: "A", Value: "b"}}}, config.Active{Headers: []config.Header{{Name: "A", Value: "c"}}})
}

// TestCheckKeySeesEveryField: no field of today or later may change what is
// asked without a new key.
func TestCheckKeySeesEveryField(t *testing.T) {
	schedule := []string{".Interval", ".DownInterval", ".Timeout", ".Fall", ".Rise"}
	filled := func() *config.Active {
		a := new(config.Active)
		fill(reflect.ValueOf(a).Elem())
		return a
	}
	each(reflect.ValueOf(filled()).Elem(), "", func(path string, _ func()) {
		a := filled()
		each(reflect.ValueOf(a).Elem(), "", func(p string, change func()) {
			if p == path {
				change()
			}
		})
		same := checkKey(*a) == checkKey(*filled())
		if same != slices.Contains(schedule, path) {
			t.Errorf("%s changes, and that the key is the same is %v", path, same)
		}
	})
}

func TestWorthKeeping(t *testing.T) {
	f := func(want int, sizes ...int) {
		t.Helper()
		var all []compiled
		for _, n := range sizes {
			all = append(all, compiled{cfg: &config.Config{
				Listeners: []config.Listener{{Routes: make([]config.Route, n/2)}},
				Pools:     []config.Pool{{Backends: make([]config.Backend, n-n/2)}},
			}})
		}
		if got := worthKeeping(all); got != want {
			t.Errorf("%v: keeps %d, want %d", sizes, got, want)
		}
	}
	f(0)
	f(1, 3)
	f(10, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3)
	f(3, 15_000, 15_000, 15_000, 15_000, 15_000)
	f(2, 3, 60_000, 60_000) // the one that runs and the one before, whatever they are
	f(2, 60_000, 3, 3)      // the oldest does not fit
	f(3, 60_000, 40_000, 3, 3)
}
