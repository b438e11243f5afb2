package control

import (
	"reflect"
	"testing"
	"time"

	"weir/health"
	"weir/internal/config"
	"weir/pool"
)

func TestSpec(t *testing.T) {
	f := func(source string, want pool.Spec) {
		t.Helper()
		cfg := mustParse(t, "listeners: [{name: web, address: ':0', routes: [{name: all, pool: p}]}]\npools:\n  p: "+source)
		got := spec(*cfg.Pool("p"))
		if got.Check != nil {
			got.Check.Key = "" // TestCheckKey
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", source, got, want)
		}
	}
	passive := pool.Passive{ConsecutiveErrors: 5, Ejection: 10 * time.Second, MaxEjection: 300 * time.Second, MaxEjected: 50}
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

	f("{backends: [], health: {active: {type: tcp, port: 81, interval: 3s, timeout: 1s, fall: 4, rise: 1}, passive: {consecutive_errors: 0, ejection: 1s, max_ejection: 2s, max_ejected: 10}}}", pool.Spec{
		Name: "p", Balance: pool.WeightedRoundRobin,
		Passive: pool.Passive{Ejection: time.Second, MaxEjection: 2 * time.Second, MaxEjected: 10},
		Check: &pool.CheckSpec{
			Check: health.TCP{Port: 81}, Interval: 3 * time.Second, Timeout: time.Second, Fall: 4, Rise: 1,
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
}

func TestCheckKey(t *testing.T) {
	a := config.Active{Type: "http", Path: "/", Expect: []config.StatusRange{{From: 200, To: 299}}, Interval: time.Second}
	b := a
	b.Interval = time.Minute
	if checkKey(a) != checkKey(b) {
		t.Error("the schedule of a check is not what it asks")
	}
	b.Expect = []config.StatusRange{{From: 200, To: 204}}
	if checkKey(a) == checkKey(b) {
		t.Error("checks that ask for different things have the same key")
	}
}
