package main

import (
	"strings"
	"testing"

	"weir/internal/control"
)

// Planning says what would come of a change, with an exit code for scripts.
func TestPlan(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", ""))
	next := w.dir + "/next.yaml"
	plan := func(text string, code int, says ...string) result {
		t.Helper()
		write(t, next, text)
		return w.do(t, "plan", next).want(t, code, says...)
	}
	same := yaml(w.dir, oneBackend("127.0.0.1:1", ""))
	plan(same, 0, "nothing to change: version 1 runs\n")
	plan(same+"# a comment\n", 0, "nothing to change: it means the same as version 1, only the text differs\n")
	plan(yaml(w.dir, oneBackend("127.0.0.1:2", "")), 2,
		"pool api: backend 127.0.0.1:2 added: weight 1\n",
		"pool api: backend 127.0.0.1:1 removed; nobody uses it now\n",
		"2 changes; nothing has been changed\n")

	// what is hardly meant, and what stands in the way
	odd := strings.Replace(same, "pool: api}", "pool: api, match: {path_regex: /x}}", 1)
	plan(odd, 2, next+":3:", "warning: listeners[0].routes[0].match.path_regex", "[regex-unanchored]", "1 change, 1 warning; nothing has been changed")
	blocked := strings.Replace(odd, "listeners:\n", "listeners:\n  - {name: two, address: '"+w.web(t)+"', routes: [{respond: {status: 200}}]}\n", 1)
	plan(blocked, 1, "error: listeners[0].address", "already in use", "2 changes, 1 error, 1 warning: it cannot be applied; nothing has been changed")
	var p control.Preview
	w.do(t, "plan", next, "--json").want(t, 1).decode(t, &p)
	if p.Version != 1 || len(p.Changes) != 2 || len(p.Warnings) != 2 || p.Warnings[0].File != next || p.Warnings[0].Severity != "error" {
		t.Errorf("plan --json: %+v", p)
	}

	plan(same+"pols: {}\n", 1, next+":6:1: pols: ", "1 problem: it cannot be applied; nothing has been changed")
	w.do(t, "plan", next, "--json").want(t, 1).decode(t, &p)
	if len(p.Problems) != 1 || p.Problems[0].File != next {
		t.Errorf("plan --json: %+v", p.Problems)
	}
	weirWith(t, same, "plan", "-", "--admin", w.admin).want(t, 0, "nothing to change")
	w.do(t, "plan", w.dir+"/none.yaml").want(t, 1, "none.yaml")
	weir(t, "plan", next, "--admin", "127.0.0.1:1").want(t, 3, "no Weir at 127.0.0.1:1")

	// nothing of that has happened; applied, the warning comes once
	w.do(t, "status").want(t, 0, "version 1 since")
	write(t, next, odd)
	w.do(t, "apply", next).want(t, 0, next+":3:", "[regex-unanchored]", "version 2 runs")
	plan(odd, 0, "nothing to change: version 2 runs (1 warning that version 2 has as well: weir check)\n")
}
