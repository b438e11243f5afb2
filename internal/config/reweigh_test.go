package config

import (
	"strings"
	"testing"
)

const reweighed = `# what it is for
listeners: [{name: web, address: ":0", routes: [{name: all, pool: api}]}]
pools:
  api: # ünïcödé
    backends:
      # the old one
      - address: "10.0.0.1:80"   # rack 1
        tier: 0
      - weight: 3 # heavy
        address: 10.0.0.2:80
      - {address: '10.0.0.3:80', tier: 1}   # a spare
      - {weight: "7", address: "10.0.0.4:80"}
      - {"address": "${HOST}:80"}
  more: {backends: [{address: "10.0.0.6:80"}, {weight: 2, address: "10.0.0.7:80"}]}
`

func home(name string) (string, bool) { return "10.0.0.5", name == "HOST" }

func TestReweigh(t *testing.T) {
	f := func(source string, weights []Weight, want string) {
		t.Helper()
		out, left, err := Reweigh("weir.yaml", []byte(source), home, weights)
		if err != nil || len(left) > 0 || string(out) != want {
			t.Errorf("%v, %q:\n%s\nwant\n%s", err, left, out, want)
		}
	}
	f(reweighed, nil, reweighed)
	f(reweighed, []Weight{{"api", "10.0.0.1:80", 1}}, reweighed) // it has that
	all := []Weight{
		{"more", "10.0.0.7:80", 0}, {"api", "10.0.0.1:80", 5}, {"api", "10.0.0.2:80", 0}, {"api", "10.0.0.3:80", 12},
		{"api", "10.0.0.4:80", 65535}, {"api", "10.0.0.5:80", 2}, {"more", "10.0.0.6:80", 9},
	}
	f(reweighed, all, `# what it is for
listeners: [{name: web, address: ":0", routes: [{name: all, pool: api}]}]
pools:
  api: # ünïcödé
    backends:
      # the old one
      - address: "10.0.0.1:80"   # rack 1
        weight: 5
        tier: 0
      - weight: 0 # heavy
        address: 10.0.0.2:80
      - {address: '10.0.0.3:80', weight: 12, tier: 1}   # a spare
      - {weight: 65535, address: "10.0.0.4:80"}
      - {"address": "${HOST}:80", weight: 2}
  more: {backends: [{address: "10.0.0.6:80", weight: 9}, {weight: 0, address: "10.0.0.7:80"}]}
`)
	crlf := strings.ReplaceAll(reweighed, "\n", "\r\n")
	f(crlf, all[1:2], strings.Replace(crlf, "# rack 1\r\n", "# rack 1\r\n        weight: 5\r\n", 1))
	f("listeners: [{name: w, address: \":0\", routes: [{name: r, pool: p}]}]\npools: {p: {backends: [{address: \"unix:/ü\", weight: 1}]}}",
		[]Weight{{"p", "unix:/ü", 2}},
		"listeners: [{name: w, address: \":0\", routes: [{name: r, pool: p}]}]\npools: {p: {backends: [{address: \"unix:/ü\", weight: 2}]}}")
	f("listeners: [{name: w, address: \":0\", routes: [{name: r, pool: p}]}]\npools:\n  p:\n    backends:\n    - address: a:1", // no newline at its end
		[]Weight{{"p", "a:1", 2}},
		"listeners: [{name: w, address: \":0\", routes: [{name: r, pool: p}]}]\npools:\n  p:\n    backends:\n    - address: a:1\n      weight: 2")
}

// What stands for several backends is left to a person.
func TestReweighLeaves(t *testing.T) {
	const source = `listeners: [{name: web, address: ":0", routes: [{name: all, pool: a}, {name: more, pool: b}, {name: c, pool: c}]}]
pools:
  a:
    backends: &both
      - {address: "10.0.0.1:80"}
      - {address: "10.0.0.2:80"}
  b: {backends: *both}
  c:
    backends:
      - &one {address: "10.0.0.3:80"}
      - {<<: *one, address: "10.0.0.4:80"}
      - {address: "10.0.0.5:80", weight: &w 5}
      - {address: "10.0.0.6:80", weight: *w}
`
	out, left, err := Reweigh("weir.yaml", []byte(source), nil, []Weight{
		{"a", "10.0.0.1:80", 2}, {"b", "10.0.0.2:80", 2}, {"c", "10.0.0.3:80", 2}, {"c", "10.0.0.4:80", 2},
		{"c", "10.0.0.5:80", 2}, {"c", "10.0.0.6:80", 2}, {"c", "10.0.0.7:80", 2}, {"d", "10.0.0.7:80", 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.NewReplacer(`"10.0.0.4:80"`, `"10.0.0.4:80", weight: 2`, "*w", "2").Replace(source); string(out) != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	for i, want := range []string{
		"a/10.0.0.1:80: it has the anchor &both (line 4)", "b/10.0.0.2:80: it is written as the alias *both (line 7)",
		"c/10.0.0.3:80: it has the anchor &one", "c/10.0.0.5:80: it has the anchor &w (line 12), and may be used elsewhere; write weight: 2 there by hand",
		"c/10.0.0.7:80: it is not in the configuration", "d/10.0.0.7:80: it is not",
	} {
		if i >= len(left) || !strings.HasPrefix(left[i], want) {
			t.Errorf("left %q, want %q", left, want)
		}
	}
	if _, _, err := Reweigh("weir.yaml", []byte("pols: {}"), nil, nil); err == nil {
		t.Error("text that is wrong was taken")
	}
	_, _, err = Reweigh("weir.yaml", []byte("listeners: [{name: w, address: \":0\", routes: [{name: r, pool: p}]}]\npools: {p: {backends: [{address: \"a:1\"}]}}"), nil, []Weight{{"p", "a:1", 0}})
	if err == nil || !strings.Contains(err.Error(), "every backend has weight 0") {
		t.Errorf("nobody left: %v", err)
	}
}

func FuzzReweigh(f *testing.F) {
	f.Add([]byte(reweighed), 3)
	f.Add([]byte(strings.ReplaceAll(reweighed, "\n", "\r\n")), 0)
	f.Fuzz(func(t *testing.T, source []byte, weight int) {
		c, err := Parse("f", source, home)
		if err != nil || weight < 0 || weight > 65535 {
			return
		}
		var ws []Weight
		for _, p := range c.Pools {
			for _, b := range p.Backends {
				ws = append(ws, Weight{p.Name, b.Address, weight})
			}
		}
		_, _, _ = Reweigh("f", source, home, ws) // it checks itself
	})
}
