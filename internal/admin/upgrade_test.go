package admin_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"weir/internal/admin"
)

func TestUpgrade(t *testing.T) {
	var asked admin.UpgradeOptions
	var refusal error
	steps := []string{admin.UpgradeStarting, admin.UpgradeReady, admin.UpgradeDone}
	r := newRig(t, func(o *admin.Options) {
		o.Upgrade = func(o admin.UpgradeOptions) (<-chan admin.UpgradeStep, error) {
			asked = o
			if refusal != nil {
				return nil, refusal
			}
			c := make(chan admin.UpgradeStep, len(steps))
			for _, s := range steps {
				c <- admin.UpgradeStep{Step: s, PID: 7}
			}
			close(c)
			return c, nil
		}
	})
	f := func(query, want string, options admin.UpgradeOptions) {
		t.Helper()
		a := r.do("POST", "/v1/upgrade"+query, "")
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%s: %d %s", query, a.StatusCode, a.Header.Get("Content-Type"))
		}
		var got []string
		for line := range strings.Lines(string(a.body)) {
			var s admin.UpgradeStep
			if err := json.Unmarshal([]byte(line), &s); err != nil || s.PID != 7 {
				t.Errorf("%s: %q, %v", query, line, err)
			}
			got = append(got, s.Step)
		}
		if strings.Join(got, " ") != want || asked != options {
			t.Errorf("%s: %q, asked for %+v; want %q, %+v", query, got, asked, want, options)
		}
	}
	usual := admin.UpgradeOptions{ReadyTimeout: 10 * time.Second, Probation: time.Minute}
	f("", "starting ready", usual)
	f("?wait=true", "starting ready done", usual)
	f("?ready_timeout=1s&probation=0s", "starting ready", admin.UpgradeOptions{ReadyTimeout: time.Second})
	steps = []string{admin.UpgradeStarting, admin.UpgradeFailed}
	f("", "starting failed", usual)

	for _, wrong := range []string{"binary=/bin/sh", "wait=perhaps", "probation=-1s", "probation=2h", "ready_timeout=0s", "ready_timeout=soon"} {
		r.do("POST", "/v1/upgrade?"+wrong, "").problem(400, "about:blank")
	}
	refusal = errors.New("an upgrade is under way")
	r.do("POST", "/v1/upgrade", "").problem(409, "no-upgrade")
	r.do("GET", "/v1/upgrade", "").is(405)
}

// A Weir inside another program has nothing that could replace it.
func TestUpgradeOfNoProcess(t *testing.T) {
	newRig(t, nil).do("POST", "/v1/upgrade", "").problem(409, "no-upgrade")
}

// While another process is about to become the writer, changes are refused.
func TestChangesDuringUpgrade(t *testing.T) {
	r := newRig(t, nil)
	if err := r.control.HandOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.do("PUT", "/v1/config", second).problem(503, "upgrading")
	r.do("POST", "/v1/rollback", "{}").problem(503, "upgrading")
	r.do("POST", "/v1/confirm", "").problem(503, "upgrading")
}
