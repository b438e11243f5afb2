package admin_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestConfigText(t *testing.T) {
	r := newRig(t, nil)
	a := r.do("GET", "/v1/config", "")
	a.is(200)
	if string(a.body) != first || a.Header.Get("ETag") != `"1"` || a.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("text %q, ETag %s, type %s", a.body, a.Header.Get("ETag"), a.Header.Get("Content-Type"))
	}
	if v := r.do("GET", "/v1/config", "", "Accept", "application/json").is(200); v["version"] != 1.0 || v["source"] != first {
		t.Errorf("as JSON: %v", v)
	}
	if a := r.do("GET", "/v1/config", "", "If-None-Match", `"1"`); a.StatusCode != 304 {
		t.Errorf("If-None-Match: %d, want 304", a.StatusCode)
	}
}

func TestApply(t *testing.T) {
	r := newRig(t, nil)
	a := r.do("PUT", "/v1/config", second)
	v := a.is(200)
	if v["result"] != "applied" || v["version"] != 2.0 || v["previous"] != 1.0 || a.Header.Get("ETag") != `"2"` {
		t.Errorf("verdict %v, ETag %s", v, a.Header.Get("ETag"))
	}
	if plan := v["plan"].([]any); len(plan) != 1 {
		t.Errorf("plan %v, want one change", plan)
	}
	if v := r.do("PUT", "/v1/config", second).is(200); v["result"] != "unchanged" || v["version"] != 2.0 {
		t.Errorf("the same again: %v", v)
	}
	if got := string(r.do("GET", "/v1/config", "").body); got != second {
		t.Errorf("runs %q", got)
	}
}

func TestPlan(t *testing.T) {
	r := newRig(t, nil)
	a := r.do("POST", "/v1/config/plan", second)
	v := a.is(200)
	changes := v["changes"].([]any)
	if len(changes) != 1 || a.Header.Get("ETag") != `"1"` || v["version"] != 1.0 || v["same"] != false {
		t.Errorf("plan %v, ETag %s", v, a.Header.Get("ETag"))
	}
	if ch := changes[0].(map[string]any); ch["kind"] != "changed" || ch["what"] != "backend" || ch["line"] != "pool api: backend 127.0.0.1:1 weight 1 -> 7" {
		t.Errorf("change %v", ch)
	}
	if v := r.do("POST", "/v1/config/plan", first).is(200); v["same"] != true || len(v["changes"].([]any)) != 0 || len(v["warnings"].([]any)) != 0 {
		t.Errorf("of what runs: %v", v)
	}
	if v := r.do("POST", "/v1/config/plan", broken).is(200); len(v["problems"].([]any)) == 0 {
		t.Errorf("of what is wrong: %v", v)
	}
	if a := r.do("GET", "/v1/config/plan", ""); a.StatusCode != 405 {
		t.Errorf("GET: %d", a.StatusCode)
	}
	if version, _ := r.control.Config(); version != 1 || len(r.control.Versions()) != 1 {
		t.Errorf("version %d runs, of %d", version, len(r.control.Versions()))
	}
}

func TestDiffWithSource(t *testing.T) {
	r := newRig(t, nil)
	v := r.do("POST", "/v1/versions/1/diff?name=next.yaml", second).is(200)
	if text := fmt.Sprint(v["text"]); len(v["changes"].([]any)) != 1 || v["b"] != 0.0 || !strings.Contains(text, "+++ next.yaml") {
		t.Errorf("diff %v", v)
	}
	if v := r.do("POST", "/v1/versions/1/diff", broken).is(200); v["note"] == nil {
		t.Errorf("of what is wrong: %v", v)
	}
	r.do("POST", "/v1/versions/9/diff", second).problem(404, "no-version")
}

func TestRejectedConfiguration(t *testing.T) {
	r := newRig(t, nil)
	v := r.do("PUT", "/v1/config", broken).problem(422, "config-rejected")
	problems, _ := v["problems"].([]any)
	if len(problems) == 0 || v["result"] != "rejected" {
		t.Fatalf("answer %v, want problems", v)
	}
	found := false
	for _, p := range problems {
		p := p.(map[string]any)
		if p["path"] == "pols" && p["line"] == 2.0 && strings.Contains(fmt.Sprint(p["message"], p["fix"]), "pools") {
			found = true
		}
	}
	if !found {
		t.Errorf("problems %v: none about pols in line 2", problems)
	}
	if version, _ := r.control.Config(); version != 1 {
		t.Errorf("version %d runs, want 1", version)
	}
}

func TestConfigurationThatCannotBePutInForce(t *testing.T) {
	r := newRig(t, nil)
	taken := strings.TrimPrefix(r.url, "http://") // by the admin API itself
	text := strings.Replace(second, "127.0.0.1:0", taken, 1)
	text = strings.Replace(text, "name: web", "name: other", 1)
	v := r.do("PUT", "/v1/config", text).problem(500, "config-failed")
	if detail := fmt.Sprint(v["detail"]); !strings.Contains(detail, taken) || !strings.Contains(detail, "other") {
		t.Errorf("detail %q, want listener and address", detail)
	}
}

func TestIfMatch(t *testing.T) {
	r := newRig(t, nil)
	a := r.do("PUT", "/v1/config", second, "If-Match", `"9"`)
	if v := a.problem(412, "version-conflict"); v["current_version"] != 1.0 || a.Header.Get("ETag") != `"1"` {
		t.Errorf("conflict %v, ETag %s", v, a.Header.Get("ETag"))
	}
	r.do("PUT", "/v1/config", second, "If-Match", `yesterday`).problem(400, "about:blank")
	r.do("PUT", "/v1/config", second, "If-Match", `"1", "2"`).problem(400, "about:blank")
	if v := r.do("PUT", "/v1/config", second, "If-Match", `"1"`).is(200); v["version"] != 2.0 {
		t.Errorf("verdict %v", v)
	}
	if v := r.do("PUT", "/v1/config", first, "If-Match", `*`).is(200); v["version"] != 3.0 {
		t.Errorf("verdict %v", v)
	}
}

func TestBodyLimits(t *testing.T) {
	r := newRig(t, nil)
	r.do("PUT", "/v1/config", "#"+strings.Repeat("x", 9<<20)).problem(413, "about:blank")
	r.do("POST", "/v1/rollback", strings.Repeat(" ", 1<<20)).problem(413, "about:blank")
}

func TestRollbackAndUnpin(t *testing.T) {
	r := newRig(t, nil)
	r.do("POST", "/v1/rollback", "").problem(409, "no-target") // there is no version before the first
	if err := os.WriteFile(r.file, []byte(second), 0o600); err != nil {
		t.Fatal(err)
	}
	r.do("POST", "/v1/unpin", "").is(200) // reads the file now
	if v := r.do("POST", "/v1/rollback", "").is(200); v["result"] != "applied" || v["version"] != 3.0 {
		t.Errorf("rollback: %v", v)
	}
	if v := r.do("GET", "/v1/status", "").is(200); v["pinned"] == nil {
		t.Error("a rollback against the file is not shown as pinned")
	}
	if got := string(r.do("GET", "/v1/config", "").body); got != first {
		t.Errorf("runs %q", got)
	}
	if v := r.do("POST", "/v1/unpin", "").is(200); v["version"] != 4.0 {
		t.Errorf("unpin: %v", v)
	}
	if v := r.do("GET", "/v1/status", "").is(200); v["pinned"] != nil {
		t.Errorf("still pinned: %v", v["pinned"])
	}
	if v := r.do("POST", "/v1/rollback", `{"to":1}`).is(200); v["version"] != 5.0 {
		t.Errorf("rollback to 1: %v", v)
	}
	r.do("POST", "/v1/rollback", `{"to":99}`).problem(404, "no-version")
	r.do("POST", "/v1/rollback", `{"to":-1}`).problem(400, "about:blank")
	r.do("POST", "/v1/rollback", `{"two":1}`).problem(400, "about:blank")
}

func TestVersions(t *testing.T) {
	r := newRig(t, nil)
	r.do("PUT", "/v1/config", second).is(200)
	v := r.do("GET", "/v1/versions", "").is(200)
	if list := v["versions"].([]any); len(list) != 2 || v["running"] != 2.0 {
		t.Errorf("versions %v", v)
	}
	if v := r.do("GET", "/v1/versions/1", "").is(200); v["number"] != 1.0 || v["source"] != first || v["origin"] != "start" {
		t.Errorf("version 1: %v", v)
	}
	// byte for byte, for a program and for a person
	if got := string(r.do("GET", "/v1/versions/1", "", "Accept", "text/yaml").body); got != first {
		t.Errorf("as YAML: %q", got)
	}
	if got := string(r.do("GET", "/v1/versions/1?raw=1", "").body); got != first {
		t.Errorf("raw: %q", got)
	}
	d := r.do("GET", "/v1/versions/1/diff/2", "").is(200)
	if text := fmt.Sprint(d["text"]); !strings.Contains(text, "-# the first") || !strings.Contains(text, "+# the second") {
		t.Errorf("text of the diff: %s", text)
	}
	if lines := fmt.Sprint(d["lines"]); !strings.Contains(lines, "weight 1 -> 7") {
		t.Errorf("lines of the diff: %s", lines)
	}
	for _, path := range []string{"/v1/versions/9", "/v1/versions/1/diff/9", "/v1/versions/9/diff/1"} {
		r.do("GET", path, "").problem(404, "no-version")
	}
	for _, path := range []string{"/v1/versions/x", "/v1/versions/0", "/v1/versions/1/diff/x"} {
		r.do("GET", path, "").problem(400, "about:blank")
	}
}
