package config_test

import (
	"testing"
	"time"

	"weir/internal/config"
)

// global is a configuration with these further keys at its top.
func global(keys string) string {
	return keys + "\nlisteners: [{name: w, address: ':80', routes: []}]"
}

func TestAdmin(t *testing.T) {
	good := func(keys string) { t.Helper(); parse(t, global("admin: {"+keys+"}")) }
	good("address: 127.0.0.2:1")
	good("address: '[::1]:1'")
	good("address: localhost:1")
	good("address: unix:/run/weir.sock")
	good("address: ':9900', token_file: /run/token")

	f := func(keys, want string) {
		t.Helper()
		wantProblems(t, global("admin: {"+keys+"}"), "admin.", want)
	}
	f("address: ''", `address: the address is empty`)
	f("address: ':9900'", `address: ":9900" can be reached from other machines and nothing asks them for a token; set admin.token_file, or use 127.0.0.1 or unix:/path`)
	f("address: '10.0.0.1:9900', token_file: ''", `address: "10.0.0.1:9900" can be reached from other machines and nothing asks them for a token; set admin.token_file, or use 127.0.0.1 or unix:/path`)
	f("token: x", `token: unknown key "token"; did you mean "token_file"?`)
}

func TestHistoryAndLog(t *testing.T) {
	c := parse(t, global("history: {dir: /var/lib/weir, keep: 2}\nlog: {level: debug, access: false, sample: 0.25}"))
	if c.History.Dir != "/var/lib/weir" || c.History.Keep != 2 {
		t.Errorf("history %+v", c.History)
	}
	if c.Log.Level != "debug" || c.Log.Access || c.Log.Sample != 0.25 {
		t.Errorf("log %+v", c.Log)
	}
	f := func(keys, want string) {
		t.Helper()
		wantProblems(t, global(keys), "weir.yaml:1:", want)
	}
	c = parse(t, global("history: {max_age: 720h, git: true}\nguard: {enabled: false, window: 5m, min_requests: 1, max_error_increase: 0, max_latency_factor: 1.5, notify: {exec: [tell, weir]}}\nrecord: {requests: 0, sample: 1}"))
	if c.History.MaxAge != 720*time.Hour || !c.History.Git || c.Record != (config.Record{Sample: 1}) {
		t.Errorf("history %+v, record %+v", c.History, c.Record)
	}
	if g := c.Guard; g.Enabled || g.Window != 5*time.Minute || g.MinRequests != 1 || g.MaxErrorIncrease != 0 || g.MaxLatencyFactor != 1.5 || len(g.Notify.Exec) != 2 {
		t.Errorf("guard %+v", g)
	}
	f("guard: {window: 2h}", `17: guard.window: 2h0m0s is not between 1s and 1h0m0s`)
	f("guard: {max_latency_factor: 1}", `29: guard.max_latency_factor: 1 is not between 1.1 and 1000`)
	f("guard: {max_error_increase: 5%}", `29: guard.max_error_increase: "5%" is not a whole number`)
	f("guard: {notify: {exec: ['']}}", `25: guard.notify.exec[0]: the program has no name; such as /usr/local/bin/check`)
	f("record: {requests: 100001}", `20: record.requests: 100001 is not between 0 and 100000`)
	f("history: {keep: 1}", `17: history.keep: 1 is less than 2`)
	f("log: {level: warning}", `14: log.level: "warning" is not known; did you mean "warn"?`)
	f("log: {access: yes}", `15: log.access: "yes" is neither true nor false; write true or false`)
	f("log: {access_format: text}", `22: log.access_format: "text" is not known; known here: json`)
	f("log: {sample: 1.1}", `15: log.sample: "1.1" is not a number between 0 and 1; 0.1 is every tenth, 1 is all`)
	f("log: {sample: nan}", `15: log.sample: "nan" is not a number between 0 and 1; 0.1 is every tenth, 1 is all`)
}

func TestDurations(t *testing.T) {
	good := func(text string, want time.Duration) {
		t.Helper()
		if got := parse(t, global("defaults: {timeouts: {request: "+text+"}}")).Defaults.Timeouts.Request; got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
	good("1m30s", 90*time.Second)
	good("500ms", 500*time.Millisecond)
	good("1.5s", 1500*time.Millisecond)
	good("0", 0)
	good("null", 0) // left out

	f := func(text, want string) {
		t.Helper()
		wantProblems(t, global("defaults: {timeouts: {request: "+text+"}}"), "timeouts.request: ", want)
	}
	f("5", `"5" has no unit; write 5s, or 5ms`)
	f("5x", `"5x" is not a duration; write a number with ms, s, m or h, such as 500ms or 1m30s`)
	f("1d", `"1d" is not a duration; write a number with ms, s, m or h, such as 500ms or 1m30s`)
	f("''", `"" is not a duration; write a number with ms, s, m or h, such as 500ms or 1m30s`)
	f("-5s", `-5s is less than nothing`)
	f("[5s]", `want a duration such as 5s, not a list`)
}

func TestSizes(t *testing.T) {
	good := func(text string, want int64) {
		t.Helper()
		if got := parse(t, global("defaults: {limits: {body_bytes: "+text+"}}")).Defaults.Limits.BodyBytes; got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
	good("0", 0)
	good("17", 17)
	good("3KiB", 3<<10)
	good("3 MiB", 3<<20)
	good("3GiB", 3<<30)
	good("3KB", 3e3)
	good("3MB", 3e6)
	good("3GB", 3e9)
	good("9223372036854775807", 1<<63-1)

	f := func(keys, want string) {
		t.Helper()
		wantProblems(t, global("defaults: {limits: {"+keys+"}}"), "limits.", want)
	}
	const how = "; write bytes, or a number with KiB, MiB, GiB, KB, MB or GB, such as 32KiB"
	f("body_bytes: 3k", `body_bytes: "3k" is not a size`+how)
	f("body_bytes: 1.5MiB", `body_bytes: "1.5MiB" is not a size`+how)
	f("body_bytes: -1", `body_bytes: "-1" is not a size`+how)
	f("body_bytes: KiB", `body_bytes: "KiB" is not a size`+how)
	f("body_bytes: 9223372036854775808", `body_bytes: 9223372036854775808 is not between 0 and 9223372036854775807 bytes`)
	f("body_bytes: 9007199254740992KiB", `body_bytes: 9007199254740992KiB is not between 0 and 9223372036854775807 bytes`)
	f("header_bytes: 100", `header_bytes: 100 is not between 1024 and 16777216 bytes`)
	f("header_bytes: 1GiB", `header_bytes: 1GiB is not between 1024 and 16777216 bytes`)
	f("headers: 0", `headers: 0 is not between 1 and 10000`)
	f("connections: -1", `connections: -1 is less than 0`)
	f("min_rate: 2GiB", `min_rate: 2GiB is not between 0 and 1073741824 bytes`)
	f("min_rate: none", `min_rate: "none" is not a size`+how)
}

// Zero is a wait of its own for a client that is half gone, not the lack of a bound.
func TestEarlyDefaults(t *testing.T) {
	d := parse(t, global("defaults: {path_handling: reject, timeouts: {client_half_closed: 0s}, limits: {min_rate: 1KiB}}")).Defaults
	if d.PathHandling != "reject" || d.Timeouts.ClientHalfClosed != 0 || d.Limits.MinRate != 1024 {
		t.Errorf("defaults %+v", d)
	}
	wantProblems(t, global("defaults: {timeouts: {client_half_closed: 2}}"), "timeouts.",
		`client_half_closed: "2" has no unit; write 2s, or 2ms`)
	wantProblems(t, global("defaults: {path_handling: normalise}"), "defaults.",
		`path_handling: "normalise" is not known; did you mean "normalize"?`)
}
