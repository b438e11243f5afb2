package admin_test

import (
	"strings"
	"testing"
)

func TestOverrides(t *testing.T) {
	r := newRig(t, nil)
	const path = "/v1/pools/api/backends/127.0.0.1:1"
	list := func() []any { return r.do("GET", "/v1/overrides", "").is(200)["overrides"].([]any) }
	if l := list(); len(l) != 0 {
		t.Errorf("overrides %v", l)
	}
	r.do("PUT", path, `{"admin":"drain","for":"2h","why":"disk"}`, "X-Weir-Author", "ada").is(200)
	r.do("PUT", path, `{"weight":3}`).is(200)
	for _, body := range []string{`{"admin":"drain","for":"soon"}`, `{"admin":"drain","for":"-2h"}`, `{"admin":"drain","for":"90000h"}`, `{"for":"2h"}`, `{"admin":"ready","for":"2h"}`} {
		r.do("PUT", path, body).problem(400, "about:blank")
	}
	l := list()
	if len(l) != 2 {
		t.Fatalf("overrides %v", l)
	}
	if o := l[0].(map[string]any); o["what"] != "admin" || o["value"] != "drain" || !strings.HasPrefix(o["by"].(string), "ada") || o["until"] == nil || o["why"] != "disk" {
		t.Errorf("override %v", o)
	}
	if o := l[1].(map[string]any); o["what"] != "weight" || o["value"] != "3" || o["until"] != nil {
		t.Errorf("override %v", o)
	}
	if s := r.do("GET", "/v1/status", "").is(200); len(s["overrides"].([]any)) != 2 {
		t.Errorf("status %v", s["overrides"])
	}

	want := strings.Replace(first, "weight: 1", "weight: 0", 1)
	if e := r.do("GET", "/v1/overrides/export", "").is(200); e["source"] != want || e["version"] != 1.0 {
		t.Errorf("export %v", e)
	}
	if a := r.do("GET", "/v1/overrides/export", "", "Accept", "text/yaml"); string(a.body) != want {
		t.Errorf("export %s", a.body)
	}
	r.do("PUT", "/v1/pools/api/backends/unix:%2Frun%2Fb.sock", `{"weight":0}`).is(200)
	r.do("GET", "/v1/overrides/export", "").problem(409, "no-export")

	r.do("DELETE", "/v1/overrides?pool=api", "").problem(400, "about:blank")
	r.do("DELETE", "/v1/overrides?pools=api", "").problem(400, "about:blank")
	r.do("DELETE", "/v1/overrides?pool=api&backend=nobody", "").problem(404, "no-backend")
	if v := r.do("DELETE", "/v1/overrides?pool=api&backend=127.0.0.1:1", "").is(200); v["lifted"] != 2.0 {
		t.Errorf("lifted %v", v)
	}
	if v := r.do("DELETE", "/v1/overrides", "").is(200); v["lifted"] != 1.0 || len(list()) != 0 {
		t.Errorf("lifted %v, left %v", v, list())
	}
}
