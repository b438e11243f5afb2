package admin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"weir/internal/admin"
)

// beating is a configuration in which one pool wants heartbeats and one does not.
const beating = `listeners: [{name: web, address: "127.0.0.1:0", routes: [{name: all, pool: api}]}]
pools:
  api:
    backends: [{address: "127.0.0.1:1", weight: 10}, {address: "unix:/run/b.sock", weight: 10}]
    health: {heartbeat: {ttl: 30s}, panic_threshold: 0}
  other: {backends: [{address: "127.0.0.1:2"}]}
`

func TestHeartbeat(t *testing.T) {
	r := newRig(t, nil)
	r.do("PUT", "/v1/config", beating).is(200)
	const path = "/v1/pools/api/backends/127.0.0.1:1"
	if v := r.do("GET", path, "").is(200); v["heartbeat"] != "up" || v["last_heartbeat"] != nil {
		t.Errorf("before the first: %v", v)
	}
	f := func(body, state, cause string) {
		t.Helper()
		v := r.do("POST", path+"/heartbeat", body).is(200)
		if v["ttl"] != 30.0 || v["state"] != state || v["cause"] != cause {
			t.Errorf("%q: %v, want %s, %s", body, v, state, cause)
		}
	}
	f("", "up", "heartbeats come in time")
	f("{}", "up", "heartbeats come in time")
	f(`{"up":false,"reason":"disk full"}`, "down", "it says that it is down: disk full")
	f("drain", "draining", "its heartbeat asks for no new requests")
	f(`{"admin":"ready","load":0.02}`, "up", "heartbeats come in time")
	if v := r.do("GET", path, "").is(200); v["last_heartbeat"] == nil || v["weight_percent"] != 98.0 {
		t.Errorf("after some: %v", v)
	}
	r.do("POST", "/v1/pools/api/backends/unix:%2Frun%2Fb.sock/heartbeat", "").is(200)
}

func TestHeartbeatRefused(t *testing.T) {
	r := newRig(t, nil)
	r.do("PUT", "/v1/config", beating).is(200)
	f := func(path, body string, status int, kind, want string) {
		t.Helper()
		v := r.do("POST", path+"/heartbeat", body).problem(status, kind)
		if got := fmt.Sprint(v["detail"]); !strings.Contains(got, want) {
			t.Errorf("%s %q: %s, want %q in it", path, body, got, want)
		}
	}
	f("/v1/pools/nope/backends/127.0.0.1:1", "", 404, "no-pool", `no pool "nope"`)
	f("/v1/pools/api/backends/127.0.0.1:9", "", 404, "no-backend", `no backend "127.0.0.1:9"`)
	f("/v1/pools/other/backends/127.0.0.1:2", "", 409, "no-heartbeat", "health.heartbeat.ttl")
	f("/v1/pools/api/backends/127.0.0.1:1", `{"load":2}`, 400, "about:blank", "load 2, want 0 to 1; want nothing, or")
	f("/v1/pools/api/backends/127.0.0.1:1", "alive", 400, "about:blank", "means nothing")
	f("/v1/pools/api/backends/127.0.0.1:1", strings.Repeat("x", 70<<10), 413, "about:blank", "larger")
	if a := r.do("GET", "/v1/pools/api/backends/127.0.0.1:1/heartbeat", ""); a.Header.Get("Allow") != "POST" {
		a.problem(405, "about:blank")
	}
}

// A heartbeat is a change, and wants the token.
func TestHeartbeatNeedsTheToken(t *testing.T) {
	r := newRig(t, func(o *admin.Options) { o.Token = func() (string, error) { return "secret", nil } })
	r.do("PUT", "/v1/config", beating, "Authorization", "Bearer secret").is(200)
	const path = "/v1/pools/api/backends/127.0.0.1:1/heartbeat"
	r.do("POST", path, "").problem(401, "token")
	r.do("POST", path, "", "Authorization", "Bearer secret").is(200)
	r.do("POST", path, "", "Authorization", "Bearer secret", "Origin", "http://evil.example").problem(403, "cross-origin")
}

// There is no line a heartbeat, and not one for each that is refused.
func TestHeartbeatsAreNotLogged(t *testing.T) {
	r := newRig(t, nil)
	r.do("PUT", "/v1/config", beating).is(200)
	r.logs.TakeAll()
	for range 20 {
		r.do("POST", "/v1/pools/api/backends/127.0.0.1:1/heartbeat", "").is(200)
	}
	if n := r.logs.Len(); n > 0 {
		t.Errorf("%d lines for heartbeats that were taken", n)
	}
	for range 20 {
		r.do("POST", "/v1/pools/api/backends/127.0.0.1:9/heartbeat", "").is(http.StatusNotFound)
	}
	if n := r.logs.FilterMessage("heartbeat refused").Len(); n != 1 || r.logs.Len() != 1 {
		t.Errorf("%d lines, of %d, for heartbeats that were refused; want one", n, r.logs.Len())
	}
}
