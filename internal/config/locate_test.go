package config_test

import (
	"testing"

	"weir/internal/config"
)

func TestLocator(t *testing.T) {
	const src = `defaults: &d
  timeouts: {connect: 1s}
listeners:
  - name: web
    routes:
      - {name: a, timeouts: {request: 5s}}
      -
        match:
          path: /x
pools:
  a.b: {balance: first}
  a.b.c:
    balance: random
    queue: &q
      size: 5
  d:
    queue: *q
  e:
    <<: {slow_start: 1s, balance: first}
    balance: random
  f:
    <<: [{timeouts: {connect: 2s}}, {balance: first}]
  empty:
`
	f := func(path string, line, column int, exact bool) {
		t.Helper()
		l, c, e := config.Find(src, path)
		if l != line || c != column || e != exact {
			t.Errorf("%s: %d:%d, exact %v; want %d:%d, %v", path, l, c, e, line, column, exact)
		}
	}
	f("", 1, 1, true)
	f("defaults.timeouts.connect", 2, 23, true) // the value
	f("defaults.timeouts", 2, 3, true)          // of a block, the key
	f("listeners[0]", 4, 5, true)
	f("listeners[0].name", 4, 11, true)
	f("listeners[0].routes[0].timeouts.request", 6, 39, true)
	f("listeners[0].routes[1].match.path", 9, 17, true)

	// what is not there is where it would be
	f("listeners[0].routes[0].timeouts.response", 6, 19, false)
	f("listeners[0].routes[1].retries.attempts", 8, 9, false)
	f("listeners[0].routes[7].name", 5, 5, false)
	f("listeners[0].routes[-1]", 5, 5, false)
	f("admin.address", 1, 1, false)
	f("pools.empty.backends", 23, 3, false)

	// names with dots
	f("pools.a.b.balance", 11, 18, true)
	f("pools.a.b.c.balance", 13, 14, true)
	f("pools.a.b.queue", 11, 3, false)

	// what is taken over
	f("pools.d.queue", 17, 5, true)
	f("pools.d.queue.size", 15, 13, true)
	f("pools.e.slow_start", 19, 22, true)
	f("pools.e.balance", 20, 14, true)
	f("pools.f.balance", 22, 47, true)
	f("pools.f.timeouts.connect", 22, 31, true)

	// what leads to itself ends
	if _, _, exact := config.Find("a: &a\n  <<: *a\n  b: 1\n", "a.c"); exact {
		t.Error("found in a mapping that takes over itself")
	}
}
