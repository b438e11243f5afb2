package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	write(t, good, yaml(dir, oneBackend("127.0.0.1:1", "")))
	write(t, bad, "listeners:\n  - {name: web, address: ':0', routes: [{name: a, pool: ap}]}\npols: {}\npools: {api: {backends: [{address: '127.0.0.1:1'}]}}\n")

	weir(t, "check", good).want(t, 0, good+": ok: 1 listener, 1 route, 1 pool, 1 backend")

	// all problems, each with its place and what would be right
	r := weir(t, "check", bad).want(t, 1, bad+":3:1: pols: ", `did you mean "pools"?`, bad+":2:", `did you mean "api"?`)
	if n := strings.Count(r.out, "\n"); n != 2 || r.stderr != "" {
		t.Errorf("%d lines, want 2, and nothing on stderr:\n%s%s", n, r.out, r.stderr)
	}

	var v checkResult
	weir(t, "check", good, "--json").want(t, 0).decode(t, &v)
	if !v.OK || v.File != good || len(v.Problems) != 0 {
		t.Errorf("good file as JSON: %+v", v)
	}
	weir(t, "check", bad, "--json").want(t, 1).decode(t, &v)
	if v.OK || len(v.Problems) != 2 || v.Problems[1].Path != "pols" || v.Problems[1].Line != 3 {
		t.Errorf("bad file as JSON: %+v", v)
	}

	// what is right and hardly meant
	odd := filepath.Join(dir, "odd.yaml")
	write(t, odd, strings.Replace(yaml(dir, oneBackend("127.0.0.1:1", "")), "pool: api}", "pool: api, match: {path_regex: /x}}", 1))
	weir(t, "check", odd).want(t, 0, odd+":3:", "[regex-unanchored]", odd+": ok: 1 listener, 1 route, 1 pool, 1 backend; 1 warning\n")
	weir(t, "check", odd, "--strict").want(t, 1, "[regex-unanchored]")
	weir(t, "check", good, "--strict").want(t, 0, "ok")
	v = checkResult{}
	weir(t, "check", odd, "--json").want(t, 0).decode(t, &v)
	if !v.OK || len(v.Warnings) != 1 || v.Warnings[0].Code != "regex-unanchored" || v.Warnings[0].Line != 3 {
		t.Errorf("odd file as JSON: %+v", v)
	}

	// of one kind the first few
	many := "listeners:\n  - name: web\n    address: ':0'\n    routes:\n" +
		strings.Repeat("      - {match: {path_regex: /x, headers: {A: b}}, respond: {status: 200}}\n", 1)
	for i := range 12 {
		many += fmt.Sprintf("      - {match: {path_regex: /x%d}, respond: {status: 200}}\n", i)
	}
	r = weirWith(t, many, "check", "-").want(t, 0, "3 more of regex-unanchored are not shown; --json has all", "13 warnings")
	if n := strings.Count(r.out, "[regex-unanchored]"); n != 10 {
		t.Errorf("%d shown, want 10:\n%s", n, r.out)
	}

	weirWith(t, "pols: {}", "check", "-").want(t, 1, "stdin:1:1: pols")
	weir(t, "check", filepath.Join(dir, "none.yaml")).want(t, 1, "none.yaml", "no such file")
	weir(t, "check").want(t, 1, "accepts 1 arg")
}

func TestCheckReadsTheEnvironment(t *testing.T) {
	text := strings.ReplaceAll(yaml(t.TempDir(), oneBackend("127.0.0.1:1", "")), "127.0.0.1:0", "${WEIR_TEST_LISTEN}")
	weirWith(t, text, "check", "-").want(t, 1, "WEIR_TEST_LISTEN")
	t.Setenv("WEIR_TEST_LISTEN", "127.0.0.1:0")
	weirWith(t, text, "check", "-").want(t, 0, "ok")
}
