package main

import (
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	weir(t, "version").want(t, 0, "weir ", "commit ", runtime.Version())
	var b build
	weir(t, "version", "--json").want(t, 0).decode(t, &b)
	if b.Go != runtime.Version() || b.Version == "" || b.Commit == "" {
		t.Errorf("version --json: %+v", b)
	}
}

// A mistake on the command line is one sentence, not a page.
func TestMistakes(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"}, {"status", "--nonsense"}, {"diff", "1"}, {"run", "extra"}, {"apply"}, {"check", "a", "b"},
	} {
		r := weir(t, args...).want(t, 1, "weir: ")
		if n := strings.Count(r.stderr, "\n"); n > 4 {
			t.Errorf("%v: %d lines of error:\n%s", args, n, r.stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	r := weir(t, "--help").want(t, 0)
	for _, name := range []string{
		"run", "check", "apply", "history", "show", "diff", "rollback", "unpin", "status", "drain", "maintain", "ready",
		"demo", "bench", "version", "completion",
	} {
		if !strings.Contains(r.out, "\n  "+name+" ") {
			t.Errorf("help does not list %s:\n%s", name, r.out)
		}
	}
	weir(t, "completion", "bash").want(t, 0, "weir")
}
