package admin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/admin"
)

func TestVerifyVersions(t *testing.T) {
	r := newRig(t, nil)
	r.do("PUT", "/v1/config", second).is(200)
	if v := r.do("GET", "/v1/versions?verify=true", "").is(200); v["verified"] != 2.0 || len(v["damaged"].([]any)) != 0 || v["running"] != 2.0 {
		t.Errorf("verified %v", v)
	}
	if v := r.do("GET", "/v1/versions?verify=false", "").is(200); v["verified"] != nil {
		t.Errorf("not asked for: %v", v)
	}
	r.do("GET", "/v1/versions?verify=maybe", "").problem(400, "about:blank")
	path := filepath.Join(filepath.Dir(r.file), ".weir", "000001.yaml")
	if err := os.WriteFile(path, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := r.do("GET", "/v1/versions?verify=true", "").is(200)
	if d := v["damaged"].([]any); v["verified"] != 1.0 || len(d) != 1 || !strings.HasPrefix(d[0].(string), "version 1 is damaged: 000001.yaml") {
		t.Errorf("verified %v", v)
	}
}

// To read all versions costs; who may not change anything may not have it done.
func TestVerifyWantsTheToken(t *testing.T) {
	r := newRig(t, func(o *admin.Options) { o.Token = func() (string, error) { return "secret", nil } })
	r.do("GET", "/v1/versions", "").is(200)
	r.do("GET", "/v1/versions?verify=true", "").problem(401, "token")
	r.do("GET", "/v1/versions?verify=true", "", "Authorization", "Bearer secret").is(200)
	r.do("GET", "/v1/overrides", "").is(200)
	r.do("GET", "/v1/overrides/export", "").problem(401, "token")
	r.do("DELETE", "/v1/overrides", "").problem(401, "token")
	r.do("POST", "/v1/freeze", `{"for":"1h"}`).problem(401, "token")
}
