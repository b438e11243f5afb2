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
