package main

import (
	"os"
	"strings"
	"testing"

	"weir/internal/control"
	"weir/internal/history"
	"weir/internal/testkit"
	"weir/pool"
)

// The life of a configuration as an operator sees it.
func TestVersionsFromTheCommandLine(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", ""))
	first, _ := os.ReadFile(w.file)
	second := yaml(w.dir, oneBackend("127.0.0.1:1", ", weight: 7"))

	w.do(t, "status").want(t, 0, "version 1 since ", "ready, 0 requests in flight", "file "+w.file+": in_sync", "web ", "api/127.0.0.1:1")

	// a change, its verdict, and the same again
	write(t, w.dir+"/next.yaml", second)
	w.do(t, "apply", w.dir+"/next.yaml").want(t, 0, "weight 1 -> 7", "version 2 runs (was 1)")
	w.do(t, "apply", w.dir+"/next.yaml").want(t, 0, "nothing to change: version 2 runs")
	w.do(t, "status").want(t, 0, "version 2", "WARNING: pinned")

	// what ran, byte for byte
	w.do(t, "history").want(t, 0, "2 *", "1  ")
	var list versionList
	w.do(t, "history", "--json").want(t, 0).decode(t, &list)
	if list.Running != 2 || len(list.Versions) != 2 || list.Versions[1].Author == "" {
		t.Errorf("history %+v", list)
	}
	if got := w.do(t, "show", "1").want(t, 0).out; got != string(first) {
		t.Errorf("version 1 is %q, want %q", got, first)
	}
	if got := w.do(t, "show").want(t, 0).out; got != second {
		t.Errorf("what runs is %q, want %q", got, second)
	}
	var shown struct {
		history.Version
		Source string `json:"source"`
	}
	w.do(t, "show", "1", "--json").want(t, 0).decode(t, &shown)
	if shown.Number != 1 || shown.Source != string(first) {
		t.Errorf("show --json: %+v", shown)
	}

	// what differs, with an exit code for scripts
	w.do(t, "diff", "1", "2").want(t, 2, "weight 1 -> 7", "--- version 1", "+++ version 2", "+  api:")
	w.do(t, "diff", "2", "2").want(t, 0, "version 2 and version 2 are the same, byte for byte")
	w.do(t, "diff", "1", w.dir+"/next.yaml").want(t, 2, "pool api: backend 127.0.0.1:1 weight 1 -> 7", "+++ "+w.dir+"/next.yaml")
	w.do(t, "diff", "2", w.dir+"/next.yaml").want(t, 0, "version 2 and "+w.dir+"/next.yaml are the same")
	w.do(t, "diff", "2", w.dir+"/none.yaml").want(t, 1, "neither a version number nor a file")
	var d control.Diff
	w.do(t, "diff", "2", "1", "--json").want(t, 2).decode(t, &d)
	if len(d.Changes) != 1 || d.A != 2 || d.B != 1 {
		t.Errorf("diff --json: %+v", d)
	}

	// back, and the file counts again
	w.do(t, "rollback").want(t, 0, "weight 7 -> 1", "version 3 runs (was 2)")
	w.do(t, "rollback", "2").want(t, 0, "version 4 runs (was 3)")
	w.do(t, "unpin").want(t, 0, "version 5 runs (was 4)")
	if r := w.do(t, "status").want(t, 0, "in_sync"); strings.Contains(r.out, "pinned") {
		t.Errorf("still pinned:\n%s", r.out)
	}
	var v control.Verdict
	w.do(t, "rollback", "2", "--json").want(t, 0).decode(t, &v)
	if v.Result != control.Applied || v.Version != 6 || len(v.Plan) != 1 {
		t.Errorf("rollback --json: %+v", v)
	}

	// what cannot be done says why
	w.do(t, "rollback", "99").want(t, 1, "version 99", "1 to 6")
	w.do(t, "rollback", "x").want(t, 1, `"x" is not a version number`)
	w.do(t, "show", "99").want(t, 1, "version 99")
	w.do(t, "diff", "1", "99").want(t, 1, "version 99")
	w.do(t, "diff", "1", "0").want(t, 1, `"0" is not a version number`)
}

func TestApplyRefused(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", ""))
	bad := w.dir + "/bad.yaml"
	write(t, bad, yaml(w.dir, oneBackend("127.0.0.1:1", ""))+"pols: {}\n")

	w.do(t, "apply", bad).want(t, 1, bad+":6:1: pols: ", `did you mean "pools"?`, "refused: 1 problem; nothing has changed")
	var no refusal
	w.do(t, "apply", bad, "--json").want(t, 1).decode(t, &no)
	if no.Result != control.Rejected || len(no.Problems) != 1 {
		t.Errorf("apply --json: %+v", no)
	}
	r := weirWith(t, "pols: {}", "apply", "-", "--admin", w.admin)
	r.want(t, 1, "-:1:1: pols")

	// somebody else was faster
	write(t, bad, yaml(w.dir, oneBackend("127.0.0.1:1", ", weight: 2")))
	w.do(t, "apply", bad, "--if-version", "9").want(t, 1, "version 1 runs, another was expected", "--if-version 1")
	w.do(t, "apply", bad, "--if-version", "1").want(t, 0, "version 2 runs")

	// right, and impossible
	write(t, bad, strings.Replace(yaml(w.dir, oneBackend("127.0.0.1:1", "")),
		`{name: web, address: "127.0.0.1:0"`, `{name: more, address: "`+w.web(t)+`", routes: [{name: all, pool: api}]}`+"\n"+
			`  - {name: web, address: "127.0.0.1:0"`, 1))
	w.do(t, "apply", bad).want(t, 1, "listener", "more")
	w.do(t, "apply", w.dir+"/none.yaml").want(t, 1, "none.yaml")
}

// A broken edit is shown where it is, and traffic goes on.
func TestBrokenEdit(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Named("b"))
	w := start(t, oneBackend(b.Addr(), ""))
	write(t, w.file, yaml(w.dir, oneBackend(b.Addr(), ""))+"pols: {}\n")
	w.log.await(t, "configuration rejected")
	r := w.do(t, "status").want(t, 0, "version 1", "rejected", w.file+":6:1: pols: ", `did you mean "pools"?`)
	if !strings.Contains(r.out, "WARNING") {
		t.Errorf("no warning in\n%s", r.out)
	}
	// the file that is broken still tells where Weir is
	weir(t, "status", "-c", w.file).want(t, 0, "version 1")
	if reply := testkit.Get(t, w.web(t), "/"); reply.Body != "b" {
		t.Errorf("answer %v", reply)
	}
}

func TestStatusOfPoolsAndBackends(t *testing.T) {
	w := start(t, "  api: {backends: [{address: '127.0.0.1:1'}, {address: 'unix:/run/none.sock', weight: 3}]}\n")
	w.do(t, "status", "api").want(t, 0, "POOL/BACKEND", "api/127.0.0.1:1", "api/unix:/run/none.sock")
	w.do(t, "status", "api/unix:/run/none.sock").want(t, 0, "weight", "3, effective 3", "state", "in flight")
	var st pool.Status
	w.do(t, "status", "api", "--json").want(t, 0).decode(t, &st)
	var b pool.BackendStatus
	w.do(t, "status", "api/127.0.0.1:1", "--json").want(t, 0).decode(t, &b)
	if st.Name != "api" || len(st.Backends) != 2 || b.Address != "127.0.0.1:1" {
		t.Errorf("pool %+v, backend %+v", st, b)
	}
	w.do(t, "status", "nope").want(t, 1, `no pool "nope"`)
	w.do(t, "status", "api/nope").want(t, 1, `no backend "nope"`)
	w.do(t, "status", "/x").want(t, 1, "POOL/BACKEND")

	// the shell offers what there is
	weir(t, "__complete", "drain", "--admin", w.admin, "").want(t, 0, "api/127.0.0.1:1\n", "api/unix:/run/none.sock\n")
	weir(t, "__complete", "drain", "--admin", "127.0.0.1:1", "").want(t, 0)
}

func TestMarks(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", ""))
	const name = "api/127.0.0.1:1"
	w.do(t, "drain", name).want(t, 0, name+": drain, nothing runs on it")
	w.do(t, "status").want(t, 0, "draining")
	w.do(t, "maintain", name).want(t, 0, name+": maintenance")
	w.do(t, "ready", name).want(t, 0, name+": ready", "0 requests in flight")
	w.do(t, "ready", name, "--wait").want(t, 1, "unknown flag")
	w.do(t, "drain", name, "--timeout", "-1s").want(t, 1, "such as 2m")
	var b pool.BackendStatus
	w.do(t, "drain", name, "--json").want(t, 0).decode(t, &b)
	if b.Admin != pool.Drain {
		t.Errorf("backend %+v", b)
	}
	w.do(t, "drain", "api").want(t, 1, `"api" is not POOL/BACKEND`)
	w.do(t, "drain", "api/9.9.9.9:9").want(t, 1, "no backend")
	w.do(t, "drain", "nope/9.9.9.9:9").want(t, 1, "no pool")
}
