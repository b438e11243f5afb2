package config_test

import (
	"reflect"
	"testing"
	"time"

	"weir/internal/config"
)

func TestRetries(t *testing.T) {
	const ms = time.Millisecond
	usual := []string{"connect", "reset"}
	f := func(keys string, want config.Retries) {
		t.Helper()
		if got := first(t, route("pool: api, retries: {"+keys+"}")).Retries; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, want %+v", keys, got, want)
		}
	}
	f("", config.Retries{Attempts: 1, On: usual, Budget: 20, BackOff: 25 * ms})
	f("attempts: 10, budget: 100, per_try_timeout: 2s, back_off: 10s",
		config.Retries{Attempts: 10, On: usual, Budget: 100, PerTryTimeout: 2 * time.Second, BackOff: 10 * time.Second})
	f("attempts: 0, budget: 0, per_try_timeout: 0s, back_off: 0s", config.Retries{On: usual})

	on := func(list string, want ...string) {
		t.Helper()
		f("on: "+list, config.Retries{Attempts: 1, On: want, Budget: 20, BackOff: 25 * ms})
	}
	on("", usual...) // left out
	on("[]")
	on("[timeout, connect, timeout]", "timeout", "connect")
	on("[503, '502', \"599\", 503]", "503", "502", "599")

	g := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, retries: {"+keys+"}"), "retries", want...)
	}
	g("on: [timeouts, http]",
		`.on[0]: "timeouts" is not known; did you mean "timeout"?`,
		`.on[1]: "http" is not known; known here: connect, reset, timeout, a status from 500 to 599`)
	g("on: [429, 600, 5xx, ' 503']",
		`.on[0]: 429 is not a status between 500 and 599`,
		`.on[1]: 600 is not a status between 500 and 599`,
		`.on[2]: "5xx" is not known; known here: connect, reset, timeout, a status from 500 to 599`,
		`.on[3]: " 503" is not known; known here: connect, reset, timeout, a status from 500 to 599`)
	g("on: 503", `.on: want a list, not the value "503"; write [503]`)
	g("on: [[503]]", `.on[0]: want a word or a status, not a list`)
	g("on: ['${NO}']", `.on[0]: the environment variable NO is not set; set it, or write $${ for the characters ${ themselves`)
	g("attempts: 11", `.attempts: 11 is not between 0 and 10`)
	g("budget: 101", `.budget: 101 is not between 0 and 100`)
	g("budget: 20%", `.budget: "20%" is not a whole number`)
	g("per_try_timeout: 3", `.per_try_timeout: "3" has no unit; write 3s, or 3ms`)
	g("back_off: 11s", `.back_off: 11s is longer than 10s`)
	g("back_off: -1s", `.back_off: -1s is less than nothing`)
	g("count: 3", `.count: unknown key "count"; known here: attempts, on, budget, per_try_timeout, back_off`)
}

func TestHedge(t *testing.T) {
	f := func(keys string, want config.Hedge) {
		t.Helper()
		if got := first(t, route("pool: api, hedge: {"+keys+"}")).Hedge; got != want {
			t.Errorf("%s is %+v, want %+v", keys, got, want)
		}
	}
	f("", config.Hedge{Budget: 5})
	f("after: p95", config.Hedge{After: "p95", Budget: 5})
	f("after: 50ms, budget: 10", config.Hedge{After: "50ms", Budget: 10})

	g := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, route("pool: api, hedge: {"+keys+"}"), "hedge", want...)
	}
	g("after: p100", `.after: "p100" is not a percentile between p50 and p99; such as p95`)
	g("after: p9", `.after: "p9" is not a percentile between p50 and p99; such as p95`)
	g("after: 100us", `.after: 100µs is shorter than 1ms`)
	g("after: soon", `.after: "soon" is neither a percentile nor a duration; such as p95, the 95th percentile of the route's answers, or 50ms`)
	g("budget: 10", `.budget: there is no after: nothing is hedged; such as after: p95`)
	g("after: p95, budget: 101", `.budget: 101 is not between 0 and 100`)
}

func TestCircuitBreaker(t *testing.T) {
	got := first(t, route("pool: api, circuit_breaker: {error_share: 50, min_requests: 10, window: 30s, open: 1s}")).CircuitBreaker
	if want := (config.CircuitBreaker{ErrorShare: 50, MinRequests: 10, Window: 30 * time.Second, Open: time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	wantProblems(t, route("pool: api, circuit_breaker: {error_share: 101, min_requests: 0, window: 1h, open: 1ms}"), "circuit_breaker",
		`.error_share: 101 is not between 0 and 100`,
		`.min_requests: 0 is less than 1`,
		`.window: 1h0m0s is not between 1s and 5m0s`,
		`.open: 1ms is not between 100ms and 1h0m0s`)
}
