package admin_test

import (
	"strings"
	"testing"
)

func TestFreeze(t *testing.T) {
	r := newRig(t, nil)
	r.do("POST", "/v1/thaw", "").problem(409, "not-frozen")
	for _, body := range []string{"", `{"for":"soon"}`, `{"for":"-1h"}`, `{"for":"9000h"}`, `{"until":"2h"}`} {
		r.do("POST", "/v1/freeze", body).problem(400, "about:blank")
	}
	f := r.do("POST", "/v1/freeze", `{"for":"2h","why":"incident 123"}`, "X-Weir-Author", "ada").is(200)
	if f["why"] != "incident 123" || f["until"] == nil || !strings.HasPrefix(f["by"].(string), "ada") {
		t.Errorf("freeze %v", f)
	}
	v := r.do("PUT", "/v1/config", second).problem(423, "frozen")
	if v["held"] != 2.0 || v["result"] != "held" || v["current_version"] != 1.0 || !strings.HasPrefix(v["detail"].(string), "held as version 2: frozen until ") {
		t.Errorf("held: %v", v)
	}
	if st := r.do("GET", "/v1/status", "").is(200); st["frozen"].(map[string]any)["until"] != f["until"] {
		t.Errorf("status %v", st["frozen"])
	}
	list := r.do("GET", "/v1/versions", "").is(200)["versions"].([]any)
	if held := list[1].(map[string]any); held["verdict"] != "held" {
		t.Errorf("versions %v", list)
	}
	if v := r.do("POST", "/v1/thaw", "").is(200); v["result"] != "unchanged" || v["version"] != 1.0 {
		t.Errorf("thaw %v", v)
	}
	r.do("PUT", "/v1/config", second).is(200)
}
