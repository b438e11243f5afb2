package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/internal/config"
)

// env is the environment of these tests.
func env(name string) (string, bool) {
	v, ok := map[string]string{"PORT": "8080", "HOST": "example.com", "WEIGHT": "7", "EMPTY": "", "LINES": "a\nb"}[name]
	return v, ok
}

// parse is the configuration of src, which must be right.
func parse(t *testing.T, src string) *config.Config {
	t.Helper()
	c, err := config.Parse("weir.yaml", []byte(src), env)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, src)
	}
	return c
}

// problems are the lines of what is wrong with src.
func problems(t *testing.T, src string) []string {
	t.Helper()
	c, err := config.Parse("weir.yaml", []byte(src), env)
	if err == nil {
		t.Fatalf("no problem found in\n%s", src)
	}
	if c != nil {
		t.Errorf("a configuration came with %v", err)
	}
	return strings.Split(err.Error(), "\n")
}

// wantProblems checks all lines of what is wrong with src, without what is
// before cut, and without cut, in each.
func wantProblems(t *testing.T, src, cut string, want ...string) {
	t.Helper()
	got := problems(t, src)
	for i, line := range got {
		if at := strings.Index(line, cut); at >= 0 {
			got[i] = line[at+len(cut):]
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("in\n%.500s\ngot  %s\nwant %s", src, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

const smallest = `
listeners:
  - {name: web, address: ":8080", routes: [{pool: app}]}
pools:
  app:
    backends: [{address: "127.0.0.1:9001"}]
`

func TestDefaults(t *testing.T) {
	timeouts := config.Timeouts{
		ClientHeader: 10 * time.Second, ClientBodyIdle: 30 * time.Second, ClientIdle: 75 * time.Second,
		ClientHalfClosed: 2 * time.Second, Connect: 3 * time.Second, Response: time.Minute, StreamIdle: time.Hour,
	}
	limits := config.Limits{HeaderBytes: 32768, Headers: 100, MinRate: 240}
	want := &config.Config{
		Admin:    config.Admin{Address: "127.0.0.1:9900"},
		History:  config.History{Keep: 50},
		Guard:    config.Guard{Enabled: true, Window: time.Minute, MinRequests: 50, MaxErrorIncrease: 5, MaxLatencyFactor: 3},
		Record:   config.Record{Requests: 1000, Sample: 0.01},
		Log:      config.Log{Level: "info", Access: true, AccessFormat: "json", Sample: 1},
		Defaults: config.Defaults{PathHandling: "normalize", Timeouts: timeouts, Limits: limits},
		Listeners: []config.Listener{{
			Name: "web", Address: ":8080", Protocol: "http", ProxyProtocol: "off", PathHandling: "normalize",
			Routes: []config.Route{{
				Name: "web-0", Pool: "app",
				Retries:        config.Retries{Attempts: 1, On: []string{"connect", "reset"}, Budget: 20, BackOff: 25 * time.Millisecond},
				Hedge:          config.Hedge{Budget: 5},
				CircuitBreaker: config.CircuitBreaker{MinRequests: 20, Window: 10 * time.Second, Open: 5 * time.Second},
				RateLimit:      config.RateLimit{Key: "client_ip"}, PathHandling: "normalize", Upgrades: []string{"*"},
				Timeouts: timeouts, Limits: limits,
			}},
		}},
		Pools: []config.Pool{{
			Name: "app", Balance: "weighted_round_robin", HashKey: "client_ip", HashBalance: 125,
			Backends: []config.Backend{{Address: "127.0.0.1:9001", Weight: 1, MaxRequests: 1024}},
			Health: config.Health{
				Passive: config.Passive{
					Enforce: true, ConsecutiveErrors: 5, Ejection: 10 * time.Second, MaxEjection: 5 * time.Minute, MaxEjected: 50, HalfOpen: true,
					Count:       []string{"connect", "timeout", "reset", "bad_response", "502", "503", "504"},
					SuccessRate: config.SuccessRate{Deviations: 1.9, MinBackends: 5, MinRequests: 100, Interval: 10 * time.Second},
				},
				PanicThreshold: 50,
			},
			Queue:             config.Queue{Timeout: 5 * time.Second},
			Drain:             config.Drain{Timeout: 5 * time.Minute},
			KeepAlive:         config.KeepAlive{IdlePerBackend: 256, IdleTimeout: 30 * time.Second},
			SendProxyProtocol: "off",
			Timeouts:          timeouts, Limits: limits,
		}},
	}
	if got := parse(t, smallest); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPoolsAreSortedAndFound(t *testing.T) {
	c := parse(t, `
listeners: [{name: w, address: ":80", routes: []}]
pools: {b: {backends: []}, c: {backends: []}, a: {backends: []}}
`)
	var names []string
	for _, p := range c.Pools {
		names = append(names, p.Name)
		if got := c.Pool(p.Name); got == nil || got.Name != p.Name {
			t.Errorf("Pool(%q) = %v", p.Name, got)
		}
	}
	if got := strings.Join(names, " "); got != "a b c" {
		t.Errorf("pools %s, want a b c", got)
	}
	if got := c.Pool("aa"); got != nil {
		t.Errorf("Pool of an unknown name = %v", got)
	}
}

func TestInheritance(t *testing.T) {
	c := parse(t, `
listeners:
  - name: w
    address: :80
    routes:
      - {name: own, pool: app, timeouts: {request: 3s}, limits: {body_bytes: 3}}
      - {name: pool, pool: app}
      - {name: none, respond: {}}
pools: {app: {backends: [], timeouts: {request: 2s, connect: 2s}, limits: {body_bytes: 2}}}
defaults: {timeouts: {request: 1s, connect: 1s, response: 1s, client_idle: 1s}, limits: {body_bytes: 1, headers: 9}}
`)
	f := func(route int, request, connect time.Duration, body int64) {
		t.Helper()
		r := c.Listeners[0].Routes[route]
		if r.Timeouts.Request != request || r.Timeouts.Connect != connect || r.Limits.BodyBytes != body {
			t.Errorf("route %s: %+v %+v", r.Name, r.Timeouts, r.Limits)
		}
		if r.Timeouts.Response != time.Second || r.Timeouts.ClientIdle != time.Second || r.Limits.Headers != 9 {
			t.Errorf("route %s does not have the defaults: %+v %+v", r.Name, r.Timeouts, r.Limits)
		}
	}
	// the route's own value, then its pool's, then the default
	f(0, 3*time.Second, 2*time.Second, 3)
	f(1, 2*time.Second, 2*time.Second, 2)
	f(2, time.Second, time.Second, 1)
}

func TestAliasesAndMerges(t *testing.T) {
	c := parse(t, `
pools:
  a: &a
    backends: &list [{address: "127.0.0.1:1"}, {address: "127.0.0.1:2"}]
    keepalive: {idle_per_backend: 7}
  b: {<<: *a, balance: round_robin, keepalive: {idle_per_backend: 8}}
  c: {backends: *list}
  d: {<<: [{balance: round_robin}, *a]}
listeners: [{name: w, address: ":80", routes: []}]
`)
	f := func(pool, balance string, idle int) {
		t.Helper()
		p := c.Pool(pool)
		if len(p.Backends) != 2 || p.Balance != balance || p.KeepAlive.IdlePerBackend != idle {
			t.Errorf("pool %s: %+v", pool, p)
		}
	}
	f("a", "weighted_round_robin", 7)
	// what is written here wins over what is taken over
	f("b", "round_robin", 8)
	f("c", "weighted_round_robin", 256)
	// of several the first wins
	f("d", "round_robin", 7)
}

func TestEnvironment(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		c := parse(t, "listeners: [{name: w, address: ':80', routes: [{respond: {body: "+value+"}}]}]")
		if got := c.Listeners[0].Routes[0].Respond.Body; got != want {
			t.Errorf("%s became %q, want %q", value, got, want)
		}
	}
	f(`'${HOST}'`, "example.com")
	f(`"http://${HOST}:${PORT}/"`, "http://example.com:8080/")
	f(`"a${EMPTY}b"`, "ab")

	// the way to write it literally, and what needs none
	f(`'$${HOST}'`, "${HOST}")
	f(`'$$${HOST}'`, "$${HOST}")
	f(`'${HOST}$${HOST}'`, "example.com${HOST}")
	f(`'$1 $HOST $ $$'`, "$1 $HOST $ $$")

	// what comes out of the environment is not looked at again
	c, err := config.Parse("f", []byte(strings.Replace(smallest, "app", "'${A}'", 1)), func(string) (string, bool) { return "${B}", true })
	if c != nil || err == nil || !strings.Contains(err.Error(), `no pool named "${B}"`) {
		t.Errorf("got %v", err)
	}

	g := func(value string, want ...string) {
		t.Helper()
		wantProblems(t, "listeners: [{name: w, address: ':80', routes: [{respond: {body: "+value+"}}]}]", "body: ", want...)
	}
	g(`'${NO}'`, `the environment variable NO is not set; set it, or write $${ for the characters ${ themselves`)
	g(`'${NO}${NEITHER}'`,
		`the environment variable NO is not set; set it, or write $${ for the characters ${ themselves`,
		`the environment variable NEITHER is not set; set it, or write $${ for the characters ${ themselves`)
	g(`'a${1}'`, `"${1}" is not ${NAME}; write $${ for the characters ${ themselves`)
	g(`'a${HOST'`, `"${HOST" is not ${NAME}; write $${ for the characters ${ themselves`)
	g(`'${}'`, `"${}" is not ${NAME}; write $${ for the characters ${ themselves`)

	if _, err := config.Parse("f", []byte("log: {level: '${HOST}'}"), nil); err == nil || !strings.Contains(err.Error(), "HOST is not set") {
		t.Errorf("without an environment: %v", err)
	}
}

// Every value takes variables, and a value that is missing because of one is
// not reported a second time.
func TestEnvironmentInOtherValues(t *testing.T) {
	c := parse(t, `
listeners: [{name: w, address: "127.0.0.1:${PORT}", routes: [{match: {hosts: ["*.${HOST}"]}, pool: app}]}]
pools: {app: {backends: [{address: "${HOST}:${PORT}", weight: "${WEIGHT}"}]}}
`)
	if b := c.Pools[0].Backends[0]; b.Address != "example.com:8080" || b.Weight != 7 {
		t.Errorf("backend %+v", b)
	}
	wantProblems(t, `
listeners: [{name: w, address: ":80", routes: [{pool: "${NO}"}]}]
admin: {address: ":9900", token_file: "${NO}"}
`, "file: ",
		`weir.yaml:2:55: listeners[0].routes[0].pool: the environment variable NO is not set; set it, or write $${ for the characters ${ themselves`,
		`the environment variable NO is not set; set it, or write $${ for the characters ${ themselves`)
}

// All problems come in one go, in the order of the file, each with its place.
func TestPlaces(t *testing.T) {
	wantProblems(t, `
pools:
  api:
    backends:
      - addres: 127.0.0.1:9001
        weight: heavy
listeners:
  - name: web
    address: 127.0.0.1:8080
    routes:
      - match:
          hosts: [a.example]
          path: v1
        pool: ap
loog: {}
`, "\x00",
		`weir.yaml:5:9: pools.api.backends[0].address: missing; such as 127.0.0.1:9001`,
		`weir.yaml:5:9: pools.api.backends[0].addres: unknown key "addres"; did you mean "address"?`,
		`weir.yaml:6:17: pools.api.backends[0].weight: "heavy" is not a whole number`,
		`weir.yaml:13:17: listeners[0].routes[0].match.path: "v1" does not begin with /; write /v1`,
		`weir.yaml:14:15: listeners[0].routes[0].pool: no pool named "ap"; did you mean "api"?`,
		`weir.yaml:15:1: loog: unknown key "loog"; did you mean "log"?`)
}

func TestShape(t *testing.T) {
	f := func(src string, want ...string) {
		t.Helper()
		wantProblems(t, src, "weir.yaml:", want...)
	}
	// nothing, or as good as nothing
	f("", `1:1: listeners: missing; without one nothing is served`)
	f("# later\n", `1:1: listeners: missing; without one nothing is served`)
	f("listeners:\n", `1:11: listeners: missing; without one nothing is served`)
	f("listeners: []\n", `1:12: listeners: there is no listener; without one nothing is served`)

	// other shapes than wanted
	f("- a\n", `1:1: want a mapping (key: value), not a list`)
	f("just words\n", `1:1: want a mapping (key: value), not the value "just words"`)
	f("listeners: web\n", `1:12: listeners: want a list, not the value "web"; write [web]`)
	f("listeners: {a: b}\n", `1:12: listeners: want a list, not a mapping`)
	f("log: [a]\nlisteners: [{name: a, address: ':1', routes: []}]\n", `1:6: log: want a mapping (key: value), not a list`)
	f("listeners: [{name: [a], address: ':1', routes: []}]\n", `1:20: listeners[0].name: want text, not a list`)

	// keys
	f("? [a]\n: b\nlisteners: [{name: a, address: ':1', routes: []}]\n", `1:3: a key must be a word, not a list; write key: value`)
	f("log: {level: info, level: warn}\nlisteners: [{name: a, address: ':1', routes: []}]\n",
		`1:20: log.level: the key "level" is here twice; first on line 1; keep one of them`)
	f("log: {Level: info, access-format: json, zzz: 1}\nlisteners: [{name: a, address: ':1', routes: []}]\n",
		`1:7: log.Level: unknown key "Level"; did you mean "level"?`,
		`1:20: log.access-format: unknown key "access-format"; did you mean "access_format"?`,
		`1:41: log.zzz: unknown key "zzz"; known here: level, access, access_format, sample`)

	// parts of YAML that mean nothing here
	f("log: {level: !secret info}\nlisteners: [{name: a, address: ':1', routes: []}]\n",
		`1:14: log.level: the YAML tag !secret has no meaning here; remove it`)
	f("log: {<<: 5}\nlisteners: [{name: a, address: ':1', routes: []}]\n",
		`1:11: log.<<: want a mapping to take over, not the value "5"; write <<: *anchor`)
	f("a: 1\n---\nb: 1\n",
		`3:1: a second YAML document starts here; a configuration is one; remove the --- line above, or what follows it`)
}

func TestSyntax(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		wantProblems(t, src, "weir.yaml:", want)
	}
	const lines = "log:\n  level: info\n\n" // the mistake is found far from the beginning
	f(lines+"\taccess: true\n", `4:1: this line is indented with a tab; YAML wants spaces`)
	f(lines+"a: b: c\nd: 1\n", `4:1: a key where no key can be; is the line indented as those beside it? A value that contains ": " needs quotes`)
	f(lines+"a:\n  b: 1\n c: 2\n", `6:2: this line does not fit to those above it; is it indented as those beside it, and are its quotes closed once?`)
	f(lines+"a: [1, 2\nb: 3\nc: 4\n", `4:1: a list or mapping in brackets is not as it should be here; is a closing bracket or a comma missing?`)
	f(lines+"a: {b: ${HOST}}\n", `4:1: a list or mapping in brackets is not as it should be here; within brackets a value with ${NAME} needs quotes`)
	f(lines+"a: \"b\nc: 1\nd: 1\n", `4:1: a quote is opened here and not closed; close it`)
	f(lines+"word\nb: 2\n", `4:1: this is neither a key with a value nor part of a list; write key: value`)
	f(lines+"hosts: [*.example.com]\n", `4:1: a value that starts with * and has no quotes is an alias in YAML; put it in quotes, such as "*.example.com"`)
	f(lines+"a: *b\nb: &b 1\n", `4:1: a value that starts with * and has no quotes is an alias in YAML, and this one's anchor is not above it; define the anchor first, or put the value in quotes`)
	f(lines+"a: @b\n", `4:1: a value cannot start with this character; put the value in quotes`)
	f(lines+"a: \xff\n", `4:1: not valid YAML: invalid leading UTF-8 octet`)
}

// In a large file the place is the library's, which is near.
func TestSyntaxInLargeFile(t *testing.T) {
	wantProblems(t, "log: {}\na: \"b\n"+strings.Repeat("c: {d: [e]}\n", 10000), "weir.yaml:",
		`2:1: a quote is opened here and not closed; close it`)
}

// A few lines of aliases can stand for billions of values.
func TestBounds(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("log: &a0 {level: info}\nlisteners:\n- &l {name: w, address: ':1', routes: &r [")
	bomb.WriteString(strings.Repeat("{respond: &e {}}, ", 2000) + "]}\n")
	bomb.WriteString(strings.Repeat("- *l\n", 2000))
	wantProblems(t, bomb.String(), "weir.yaml:",
		"3:39: the aliases in this file stand for more than 131072 values; use fewer aliases of aliases")

	// a mapping that takes over itself, alone and in lists
	wantProblems(t, "log: &a {<<: *a}\nlisteners: [{name: a, address: ':1', routes: []}]\n", "weir.yaml:",
		"1:6: log.<<: << inside << goes deeper than 10")
	wantProblems(t, "log: &a {<<: ["+strings.Repeat("*a, ", 100)+"]}\nlisteners: [{name: a, address: ':1', routes: []}]\n", "weir.yaml:",
		"1:6: the aliases in this file stand for more than 131072 values; use fewer aliases of aliases")

	wantProblems(t, strings.Repeat("#", 8<<20+1), "weir.yaml: ",
		"the file has 8388609 bytes; at most 8388608 are read; is this the right file?")

	got := problems(t, "log: {"+strings.Repeat("a: 1, ", 1000)+"}\n")
	if len(got) != 201 || got[200] != "weir.yaml: 801 more problems are not shown" {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
}

// One cause behind an alias is one problem, not one a use.
func TestOneProblemACause(t *testing.T) {
	wantProblems(t, `
listeners:
- {name: a, address: ":1", trusted_proxies: &n [nowhere], routes: []}
- {name: b, address: ":2", trusted_proxies: *n, routes: []}
`, "weir.yaml:", `3:49: listeners[0].trusted_proxies[0]: "nowhere" is neither an address nor a network such as 10.0.0.0/8`)
}

func TestProblemsAreAnError(t *testing.T) {
	_, err := config.Parse("weir.yaml", []byte("x: 1"), nil)
	var ps config.Problems
	if !errors.As(err, &ps) || len(ps) != 2 {
		t.Fatalf("got %v", err)
	}
	want := config.Problem{
		File: "weir.yaml", Line: 1, Column: 1, Path: "x", Message: `unknown key "x"`,
		Fix: "known here: admin, history, guard, log, record, defaults, pools, listeners",
	}
	if ps[1] != want {
		t.Errorf("got %+v, want %+v", ps[1], want)
	}
}

func TestManyRoutes(t *testing.T) {
	var b strings.Builder
	b.WriteString("pools: {p: {backends: []}}\nlisteners:\n- name: w\n  address: :80\n  routes:\n")
	const n = 10000
	for i := range n {
		fmt.Fprintf(&b, "  - {match: {hosts: [h%d.example.com], path: /p%d}, pool: p}\n", i, i)
	}
	if got := len(parse(t, b.String()).Listeners[0].Routes); got != n {
		t.Errorf("%d routes, want %d", got, n)
	}
}

func TestNetworks(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		c := parse(t, "listeners: [{name: w, address: ':1', routes: [], trusted_proxies: ['"+text+"']}]")
		if got := c.Listeners[0].TrustedProxies; len(got) != 1 || got[0] != netip.MustParsePrefix(want) {
			t.Errorf("%s became %v, want %s", text, got, want)
		}
	}
	f("10.0.0.0/8", "10.0.0.0/8")
	f("10.1.2.3/8", "10.0.0.0/8")
	f("10.1.2.3", "10.1.2.3/32")
	f("::1", "::1/128")
	f("2001:db8::1/32", "2001:db8::/32")

	// IPv4 in IPv6 clothes is IPv4
	f("::ffff:10.1.2.3", "10.1.2.3/32")
	f("::ffff:10.1.2.3/104", "10.0.0.0/8")
}
