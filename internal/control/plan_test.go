package control

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/config"
)

// base is a configuration to change in tests.
const base = `
listeners:
  - name: web
    address: 127.0.0.1:8080
    routes:
      - {name: api, match: {path: /v1/}, pool: api}
      - {name: rest, pool: web}
pools:
  api:
    backends:
      - {address: 10.0.0.1:80}
      - {address: 10.0.0.2:80, weight: 5}
    health: {active: {path: /healthz}}
  web:
    backends: [{address: 10.0.1.1:80}]
`

func mustParse(t testing.TB, source string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("weir.yaml", []byte(source), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	return cfg
}

func TestPlan(t *testing.T) {
	f := func(old, new string, want ...string) {
		t.Helper()
		got := lines(plan(mustParse(t, base), mustParse(t, strings.Replace(base, old, new, 1))))
		if !slices.Equal(got, want) {
			t.Errorf("%q -> %q:\n got %s\nwant %s", old, new, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	// nothing, and nothing that means anything
	f("", "")
	f("listeners:", "# a comment\nlisteners:")
	f("{address: 10.0.0.1:80}", "{address: 10.0.0.1:80, weight: 1}")

	// backends
	f("weight: 5", "weight: 1", "pool api: backend 10.0.0.2:80 weight 5 -> 1")
	f("weight: 5", "weight: 2, tier: 1", "pool api: backend 10.0.0.2:80 weight 5 -> 2, tier 0 -> 1")
	f("10.0.0.1:80", "10.0.0.3:80", "pool api: backend 10.0.0.3:80 added: weight 1", "pool api: backend 10.0.0.1:80 removed")
	f("    health: {active: {path: /healthz}}", "      - {address: unix:/run/x.sock}\n    health: {active: {path: /healthz}}",
		"pool api: backend unix:/run/x.sock added: weight 1")

	// pools
	f("    health: {active: {path: /healthz}}", "", "pool api: health.active {type http, path /healthz, method GET, expect [200-399], reuse_connection true, interval 5s, timeout 2s, fall 3, rise 2} -> none")
	f("/healthz", "/ready", "pool api: health.active.path /healthz -> /ready")
	f("  web:\n", "  web:\n    keepalive: {idle_timeout: 10s}\n", "pool web: keepalive.idle_timeout 30s -> 10s")
	f("pools:", "pools:\n  next: {backends: [{address: 10.0.2.1:80}]}", "pool next added: 1 backend, weighted_round_robin")

	f("  web:\n", "  web:\n    balance: consistent_hash\n    hash_key: path\n    slow_start: 30s\n",
		"pool web: balance weighted_round_robin -> consistent_hash, hash_key client_ip -> path, slow_start 0s -> 30s")
	f("  web:\n", "  web:\n    health: {panic_threshold: 20, passive: {enforce: false, half_open: false}}\n",
		"pool web: health.passive.enforce true -> false, health.passive.half_open true -> false, health.panic_threshold 50 -> 20")
	f("{path: /healthz}", "{path: /healthz, down_interval: 30s, headers: {A: b}}", "pool api: health.active.headers [] -> [A], health.active.down_interval 0s -> 30s")
	f("{path: /healthz}", "{type: agent, port: 81}",
		`pool api: health.active.type http -> agent, health.active.path /healthz -> "", health.active.method GET -> "", health.active.expect [200-399] -> [], health.active.reuse_connection true -> false, health.active.port 0 -> 81`)

	// listeners and routes
	f("127.0.0.1:8080", "127.0.0.1:8081", "listener web: address 127.0.0.1:8080 -> 127.0.0.1:8081")
	f("name: web", "name: www", "listener www added: 127.0.0.1:8080, 2 routes", "listener web removed: 127.0.0.1:8080")
	f("path: /v1/", "path: /v2/", "listener web: route api match.path /v1/ -> /v2/")
	f("pool: web}", "redirect: {to: https://x.example/}}", "listener web: route rest pool web -> \"\", redirect none -> {to https://x.example/, status 308}")
	f("pool: web}", "pool: web, rate_limit: {requests_per_second: 1000000}}",
		"listener web: route rest rate_limit.requests_per_second 0 -> 1000000, rate_limit.burst 0 -> 1000000")
	f("pool: web}", "pool: web, basic_auth: {users_file: users}, deny: [10.0.0.0/8], upgrades: []}",
		`listener web: route rest deny [] -> [10.0.0.0/8], basic_auth.users_file "" -> users, basic_auth.realm "" -> Restricted, upgrades [*] -> []`)
	f("pool: web}", "pool: web, retries: {on: [503], budget: 10, per_try_timeout: 1s}}",
		"listener web: route rest retries.on [connect, reset] -> [503], retries.budget 20 -> 10, retries.per_try_timeout 0s -> 1s")
	f("pool: web}", "pool: web, path_handling: raw}", "listener web: route rest path_handling normalize -> raw")
	f("      - {name: rest, pool: web}", "      - {name: more, match: {path: /m}, respond: {status: 204}}\n      - {name: rest, pool: web}",
		"listener web: route more added: respond 204")
	f("- {name: api, match: {path: /v1/}, pool: api}\n      - {name: rest, pool: web}",
		"- {name: rest, pool: web}\n      - {name: api, match: {path: /v1/}, pool: api}", "listener web: routes reordered",
		"listener web: route api shadowed: it gets no requests, route rest comes first and matches all of them")

	// settings; what is inherited is named where it is set
	f("listeners:", "defaults: {path_handling: raw}\nlisteners:", "defaults.path_handling normalize -> raw")
	f("    routes:", "    path_handling: raw\n    routes:", "listener web: path_handling normalize -> raw")
	f("listeners:", "log: {level: debug}\nlisteners:", "log.level info -> debug")
	f("listeners:", "admin: {address: 127.0.0.1:9901}\nlisteners:", "admin.address 127.0.0.1:9900 -> 127.0.0.1:9901 (takes effect after a restart)")
	f("listeners:", "history: {dir: /tmp/h, keep: 9}\nlisteners:", `history.dir "" -> /tmp/h (takes effect after a restart)`, "history.keep 50 -> 9")
	f("listeners:", "defaults: {timeouts: {connect: 1s}}\nlisteners:", "defaults.timeouts.connect 3s -> 1s")
	f("listeners:", "defaults: {limits: {min_rate: 1KiB}}\nlisteners:", "defaults.limits.min_rate 240 -> 1024")
	f("  web:\n", "  web:\n    timeouts: {connect: 1s}\n", "pool web: timeouts.connect 3s -> 1s")
	f("pool: web}", "pool: web, timeouts: {connect: 1s}}", "listener web: route rest timeouts.connect 3s -> 1s")
}

func TestPlanOfTheFirst(t *testing.T) {
	got := lines(plan(nil, mustParse(t, base)))
	want := []string{
		"listener web added: 127.0.0.1:8080, 2 routes",
		"pool api added: 2 backends, weighted_round_robin",
		"pool web added: 1 backend, weighted_round_robin",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPlanTellsNoSecrets: header values may come from the environment, and the
// plan is logged.
func TestPlanTellsNoSecrets(t *testing.T) {
	f := func(old, new string) {
		t.Helper()
		route := "pool: web, request_headers: {set: {Authorization: %s}}, match: {headers: {X-Key: %[1]s}}}"
		at := func(secret string) *config.Config {
			return mustParse(t, strings.Replace(base, "pool: web}", fmt.Sprintf(route, secret), 1))
		}
		got := strings.Join(lines(plan(at(old), at(new))), "\n")
		if strings.Contains(got, old) || strings.Contains(got, new) {
			t.Errorf("the plan tells a header's value: %s", got)
		}
		if want := "listener web: route rest match.headers.X-Key changed, request_headers.set.Authorization changed"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f("hunter2", "correcthorse")
}

// TestPlanTellsNoSecretsOfChecks: nor does it tell what a probe sends or runs.
func TestPlanTellsNoSecretsOfChecks(t *testing.T) {
	const old, new = "hunter2", "correcthorse"
	f := func(keys, want string) {
		t.Helper()
		at := func(secret string) *config.Config {
			return mustParse(t, strings.Replace(base, "path: /healthz", fmt.Sprintf(keys, secret), 1))
		}
		if got := strings.Join(lines(plan(at(old), at(new))), "\n"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		none := mustParse(t, strings.Replace(base, "    health: {active: {path: /healthz}}\n", "", 1))
		for _, got := range [][]string{lines(plan(none, at(old))), lines(plan(at(old), none))} {
			if s := strings.Join(got, "\n"); s == "" || strings.Contains(s, old) {
				t.Errorf("the plan is %q", s)
			}
		}
	}
	f("headers: {Authorization: %s}", "pool api: health.active.headers.Authorization changed")
	f("method: POST, payload: %s", "pool api: health.active.payload changed")
	f("body: %s", "pool api: health.active.body changed")
	f("type: tcp, send: %s", "pool api: health.active.send changed")
	f("type: tcp, expect_text: %s", "pool api: health.active.expect_text changed")
	f("type: exec, argv: [check, %s]", "pool api: health.active.argv changed")
}

// TestPlanSeesEveryField changes each single value of a full configuration, by
// reflection, and wants a plan for it: no field of today or later may change
// without the operator being told.
func TestPlanSeesEveryField(t *testing.T) {
	visited := 0
	each(reflect.ValueOf(full()).Elem(), "", func(path string, _ func()) {
		visited++
		cfg := full()
		var names []string
		each(reflect.ValueOf(cfg).Elem(), "", func(p string, change func()) {
			if p == path {
				change()
				names = append(names, p)
			}
		})
		if len(names) != 1 {
			t.Fatalf("%s was found %d times", path, len(names))
		}
		if p := plan(full(), cfg); len(p) == 0 {
			t.Errorf("%s changes without a plan", path)
		}
	})
	if visited < 110 {
		t.Errorf("only %d values were visited", visited)
	}
	if p := plan(full(), full()); len(p) != 0 {
		t.Errorf("equal configurations have the plan %v", p)
	}
}

// full is a configuration in which nothing is empty.
func full() *config.Config {
	cfg := new(config.Config)
	fill(reflect.ValueOf(cfg).Elem())
	return cfg
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[netip.Prefix]() {
			v.Set(reflect.ValueOf(netip.MustParsePrefix("10.0.0.0/8")))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(time.Second))
	case reflect.Float64:
		v.SetFloat(0.5)
	default:
		panic("a kind that a configuration has not had so far: " + v.Kind().String())
	}
}

// each visits every value below v that can change by itself.
func each(v reflect.Value, path string, visit func(path string, change func())) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[netip.Prefix]() {
			visit(path, func() { v.Set(reflect.ValueOf(netip.MustParsePrefix("10.0.0.0/9"))) })
			return
		}
		for i := range v.NumField() {
			each(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	case reflect.Pointer:
		each(v.Elem(), path+"*", visit)
		visit(path, func() { v.SetZero() })
	case reflect.Slice:
		each(v.Index(0), path+"[0]", visit)
		visit(path, func() { v.SetZero() })
	case reflect.String:
		visit(path, func() { v.SetString("y") })
	case reflect.Bool:
		visit(path, func() { v.SetBool(false) })
	case reflect.Int, reflect.Int64:
		visit(path, func() { v.SetInt(int64(time.Minute)) })
	case reflect.Float64:
		visit(path, func() { v.SetFloat(0.25) })
	}
}

func TestFileKey(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := fileKey(name); got != want {
			t.Errorf("fileKey(%q) = %q, want %q", name, got, want)
		}
	}
	f("Address", "address")
	f("ClientIPs", "client_ips")
	f("ConnectionsPerIP", "connections_per_ip")
	f("KeepAlive", "keepalive")
	f("PerTryTimeout", "per_try_timeout")
	f("PathRegex", "path_regex")
	f("To", "to")
}
