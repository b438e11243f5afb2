package control_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/internal/control"
	"weir/internal/history"
	"weir/internal/testkit"
	"weir/proxy"
)

// trusting believes X-Forwarded-For, so that a test can be many clients.
func trusting(b *testkit.Backend, more string) string {
	return fmt.Sprintf(`guard: {window: 1s, min_requests: 20}
record: {requests: 100, sample: 1}
listeners: [{name: web, address: "127.0.0.1:0", trusted_proxies: [127.0.0.0/8], routes: [%s{name: all, pool: app}]}]
pools: {app: {backends: [{address: "%s"}]}}
`, more, b.Addr())
}

// as asks for a path as client n.
func (r *rig) as(n int, path string) string {
	r.t.Helper()
	req, err := http.NewRequest("GET", "http://"+r.proxy.ListenerAddr("web").String()+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255))
	res, err := r.client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return string(body)
}

func (r *rig) stage(source string, opts control.ApplyOptions) control.Verdict {
	r.t.Helper()
	v, err := r.ctl.ApplyWith(r.t.Context(), []byte(source), control.Origin{Kind: "api", Author: "ada"}, opts)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// trialEnds waits for the end of a trial, with requests all the while.
func (r *rig) trialEnds(do func()) control.Event {
	r.t.Helper()
	stop, stopped := make(chan bool), make(chan bool)
	e := r.await("trial", func() {
		do()
		go func() {
			defer close(stopped)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					r.as(n, "/")
				}
			}
		}()
	})
	close(stop)
	<-stopped
	return e
}

// A staged version serves its share of the clients, the same ones each time,
// then more, and then all.
func TestStage(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, trusting(a, "")).start()
	v := r.stage(trusting(b, ""), control.ApplyOptions{Stage: []int{20, 60}, Hold: time.Hour})
	if v.Result != control.Staged || v.Version != 1 || v.Trial == nil || v.Trial.Version != 2 || v.Trial.Share != 20 {
		t.Fatalf("verdict %+v", v)
	}
	if st := r.ctl.Status(); st.Version != 1 || st.Trial == nil {
		t.Errorf("status: %d, %+v", st.Version, st.Trial)
	}
	first := make(map[int]bool)
	for n := range 500 {
		if r.as(n, "/") == "b" {
			first[n] = true
		}
	}
	if k := len(first); k < 60 || k > 150 {
		t.Errorf("%d of 500 clients are served by the staged version, want about 100", k)
	}
	for n := range 500 {
		if got := r.as(n, "/") == "b"; got != first[n] {
			t.Fatalf("client %d changes its version", n)
		}
	}
	// nothing else is changed meanwhile
	if v := r.apply(trusting(a, "{name: more, match: {path: /more}, pool: app}, ")); v.Result != control.Failed || !strings.Contains(v.Message, "another change is being tried") {
		t.Errorf("a change during a trial: %+v", v)
	}
	if v := r.version(2); v.Verdict != history.Staged {
		t.Errorf("version 2: %+v", v)
	}
	if v, err := r.ctl.EndTrial(t.Context(), true, control.Origin{Kind: "api"}); err != nil || v.Result != control.Applied || v.Version != 2 {
		t.Fatalf("promote: %+v, %v", v, err)
	}
	for n := range 50 {
		if got := r.as(n, "/"); got != "b" {
			t.Fatalf("after the promotion client %d gets %q", n, got)
		}
	}
	if st := r.ctl.Status(); st.Version != 2 || st.Trial != nil || r.version(2).Verdict != history.Applied {
		t.Errorf("status: %d, %+v, %+v", st.Version, st.Trial, r.version(2))
	}
	if err := r.ctl.Trial(); err == nil || err.Ended != "promoted" {
		t.Errorf("trial: %+v", err)
	}
}

// It goes on by itself, and the running version's clients are what it is
// compared with.
func TestStagePromotesItself(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, trusting(a, "")).start()
	e := r.trialEnds(func() {
		r.stage(trusting(b, ""), control.ApplyOptions{Stage: []int{30, 60, 100}, Hold: 300 * time.Millisecond})
	})
	if e.What != "promoted" || e.Version != 2 {
		t.Fatalf("event %+v", e)
	}
	if got := r.as(1, "/"); got != "b" {
		t.Errorf("got %q", got)
	}
}

func TestStageRollsBack(t *testing.T) {
	a, bad := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(500, "bad"))
	r := newRig(t, trusting(a, "")).start()
	e := r.trialEnds(func() { r.stage(trusting(bad, ""), control.ApplyOptions{Stage: []int{50}, Hold: time.Hour}) })
	if e.What != history.RolledBack || !strings.Contains(e.Cause, "100.0 % of") || !strings.Contains(e.Cause, "0.0 % of") {
		t.Fatalf("event %+v", e)
	}
	for n := range 100 {
		if got := r.as(n, "/"); got != "a" {
			t.Fatalf("client %d gets %q", n, got)
		}
	}
	v := r.version(2)
	if v.Verdict != history.RolledBack || v.Guard == nil || v.Guard.Routes[0].Before.ErrorShare != 0 || v.Guard.Routes[0].After.ErrorShare != 100 {
		t.Errorf("version 2: %+v", v)
	}
	if st := r.ctl.Status(); st.Version != 1 {
		t.Errorf("version %d runs", st.Version)
	}
	// its bytes are known to be bad
	if v := r.apply(trusting(bad, "")); v.Result != control.Rejected {
		t.Errorf("again: %+v", v)
	}
	// A restart runs what ran.
	r.restart()
	if got := r.as(1, "/"); got != "a" {
		t.Errorf("after a restart: %q", got)
	}
}

// What leads elsewhere ends a trial: a rollback, the end of Weir.
func TestStageAborts(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, trusting(a, "")).start()
	if _, err := r.ctl.EndTrial(t.Context(), false, control.Origin{}); err != control.ErrNoTrial {
		t.Errorf("nothing to abort: %v", err)
	}
	begin := func() {
		t.Helper()
		if v := r.stage(trusting(b, ""), control.ApplyOptions{Stage: []int{50}, Hold: time.Hour}); v.Result != control.Staged {
			t.Fatal(v)
		}
	}
	begin()
	if e := r.await("trial", func() { r.ctl.EndTrial(t.Context(), false, control.Origin{Author: "ada"}) }); e.What != "aborted" {
		t.Errorf("event %+v", e)
	}
	for n := range 50 {
		if got := r.as(n, "/"); got != "a" {
			t.Fatalf("client %d gets %q", n, got)
		}
	}
	begin() // aborted is not condemned
	r.restart()
	if got := r.as(1, "/"); got != "a" {
		t.Errorf("after a restart: %q", got)
	}
}

// A shadow decides each request a second time, and serves none.
func TestShadow(t *testing.T) {
	a, b := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(200, "b"))
	r := newRig(t, trusting(a, "")).start()
	more := `{name: old, match: {path: /old}, redirect: {to: "https://new.example{uri}"}}, {name: v1, match: {path: /v1}, rewrite: {strip_prefix: /v1}, pool: app}, `
	if v := r.stage(trusting(b, more), control.ApplyOptions{Shadow: time.Hour}); v.Result != control.Staged || v.Trial.Kind != "shadow" {
		t.Fatalf("verdict %+v", v)
	}
	for _, path := range []string{"/", "/old/x?y", "/old/z", "/v1/users", "/"} {
		if got := r.as(7, path); got != "a" {
			t.Errorf("%s: %q", path, got)
		}
	}
	e := r.await("trial", func() { r.ctl.EndTrial(t.Context(), false, control.Origin{Author: "ada"}) })
	if e.What != "aborted" || len(b.Heads()) > 0 {
		t.Errorf("event %+v; the shadow's backend was asked %d times", e, len(b.Heads()))
	}
	s := r.ctl.Trial().Shadowed
	if s.Requests != 5 || s.Differ != 3 || len(s.Differences) != 2 {
		t.Fatalf("seen %+v", s)
	}
	d := s.Differences[0]
	if d.Path != "/old/x" || d.Count != 2 || d.Old.Pool != "app" || d.New.Status != 308 || d.New.Target != "https://new.example/old/x?y" {
		t.Errorf("difference %+v", d)
	}
	if d := s.Differences[1]; d.Old.Target != "/v1/users" || d.New.Target != "/users" || d.New.Route != "web/v1" {
		t.Errorf("difference %+v", d)
	}
	if n := len(r.ctl.Versions()); n != 1 {
		t.Errorf("%d versions", n)
	}
}

// recorded waits until what is recorded is as it should be: a request is recorded
// after its answer, and nothing tells when.
func (r *rig) recorded(ok func([]proxy.Recorded) bool) []proxy.Recorded {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		all := r.ctl.Recorded()
		if ok(all) {
			return all
		}
		if time.Now().After(end) {
			r.t.Fatalf("not within %v: recorded is %+v", patience, all)
		}
	}
}

// What was recorded is decided anew, secrets left out.
func TestReplay(t *testing.T) {
	a := testkit.NewBackend(t, testkit.Answer(200, "a"))
	r := newRig(t, trusting(a, "")).start()
	for _, path := range []string{"/", "/old/x?y", "/old/z?page=2&accessToken=s3cret&x#"} {
		r.as(7, path)
	}
	req, _ := http.NewRequest("GET", "http://"+r.proxy.ListenerAddr("web").String()+"/", nil)
	req.Header.Set("Authorization", "Bearer s3cret")
	req.Header.Set("Cookie", "session=s3cret")
	req.Header.Set("Session_Token", "s3cret")
	if res, err := r.client.Do(req); err != nil {
		t.Fatal(err)
	} else {
		res.Body.Close()
	}
	recorded := r.recorded(func(all []proxy.Recorded) bool { return len(all) >= 4 })
	if len(recorded) != 4 || strings.Contains(fmt.Sprint(recorded), "s3cret") || !strings.Contains(recorded[3].Head, "Authorization: masked") || !strings.Contains(recorded[2].Head, "?page=2&accessToken=masked&x ") {
		t.Errorf("recorded %+v", recorded)
	}
	same, err := r.ctl.Replay([]byte(trusting(a, "") + "# a comment\n"))
	if err != nil || same.Requests != 4 || same.Differ != 0 {
		t.Errorf("the same: %+v, %v", same, err)
	}
	other, err := r.ctl.Replay([]byte(trusting(a, "{name: old, match: {path: /old}, pool: other}, ") + "  \n"))
	if err != nil || len(other.Problems) == 0 {
		t.Errorf("one with problems: %+v, %v", other, err)
	}
	other, err = r.ctl.Replay([]byte(strings.Replace(trusting(a, "{name: old, match: {path: /old}, pool: other}, "), "pools: {", "pools: {other: {backends: []}, ", 1)))
	if err != nil || other.Differ != 2 || len(other.Differences) != 1 {
		t.Fatalf("another: %+v, %v", other, err)
	}
	if d := other.Differences[0]; d.Method != "GET" || d.Path != "/old/x" || d.Count != 2 || d.Old.Pool != "app" || d.New.Pool != "other" {
		t.Errorf("difference %+v", d)
	}
}

// What was no request, or was refused as malformed, is nothing to be replayed; and
// a request is replayed in the version that it came in.
func TestReplayOfOddRequests(t *testing.T) {
	a := testkit.NewBackend(t, testkit.Answer(200, "a"))
	r := newRig(t, trusting(a, "")).start()
	for _, text := range []string{
		"\x16\x03\x01 hello\r\n\r\n", "GET /fold HTTP/1.1\r\nHost: a\r\n bad fold\r\n\r\n",
		"GET /long HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 70_000) + "\r\n\r\n", "GET /old HTTP/1.0\r\n\r\n",
	} {
		c := testkit.Dial(t, r.proxy.ListenerAddr("web").String())
		c.Send(text)
		_, _ = c.TryRead("GET")
	}
	r.as(1, "/last")
	recorded := r.recorded(func(all []proxy.Recorded) bool { return len(all) >= 2 })
	if len(recorded) != 2 || !strings.HasPrefix(recorded[0].Head, "GET /old HTTP/1.0\r\n") {
		t.Errorf("recorded %+v", recorded)
	}
	same, err := r.ctl.Replay([]byte(trusting(a, "") + "# a comment\n"))
	if err != nil || same.Requests != 2 || same.Skipped != 0 || same.Differ != 0 {
		t.Errorf("%+v, %v", same, err)
	}
}

// The ring keeps the latest.
func TestRecordedIsBounded(t *testing.T) {
	a := testkit.NewBackend(t, testkit.Answer(200, "a"))
	r := newRig(t, strings.Replace(trusting(a, ""), "requests: 100", "requests: 4", 1)).start()
	for n := range 20 {
		path := fmt.Sprint("/", n, strings.Repeat("x", n%7*10))
		r.as(n, path)
		kept := r.recorded(func(all []proxy.Recorded) bool {
			return len(all) > 0 && strings.HasPrefix(all[len(all)-1].Head, "GET "+path+" ")
		})
		if len(kept) > 4 {
			t.Fatalf("%+v is kept", kept)
		}
	}
}

// What a shadowed or staged version would listen on is nobody's until it runs.
func TestTrialsDoNotListen(t *testing.T) {
	a := testkit.NewBackend(t, testkit.Answer(200, "a"))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	more := strings.Replace(trusting(a, ""), "listeners: [", fmt.Sprintf(`listeners: [{name: more, address: %q, routes: [{name: all, pool: app}]}, `, addr), 1)
	r := newRig(t, trusting(a, "")).start()
	for _, opts := range []control.ApplyOptions{{Shadow: time.Hour}, {Stage: []int{50}, Hold: time.Hour}} {
		if v := r.stage(more, opts); v.Result != control.Staged {
			t.Fatalf("%+v", v)
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Errorf("%+v: somebody listens on %s", opts, addr)
		}
		promote := opts.Shadow == 0
		if v, err := r.ctl.EndTrial(t.Context(), promote, control.Origin{Kind: "api"}); err != nil || promote != (v.Result == control.Applied) {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A staged version that fails opens a breaker of its own, and not that of the one
// that runs.
func TestTrialsBreakerIsItsOwn(t *testing.T) {
	breaking := func(b *testkit.Backend) string {
		s := strings.Replace(trusting(b, ""), "pool: app}", "pool: app, circuit_breaker: {error_share: 40, min_requests: 10, window: 1m, open: 1h}}", 1)
		s = strings.Replace(s, "min_requests: 20", "min_requests: 100000", 1)
		return strings.Replace(s, "pools: {app: {", "pools: {app: {health: {passive: {consecutive_errors: 0}}, ", 1)
	}
	a, bad := testkit.NewBackend(t, testkit.Answer(200, "a")), testkit.NewBackend(t, testkit.Answer(500, "bad"))
	r := newRig(t, breaking(a)).start()
	if v := r.stage(breaking(bad), control.ApplyOptions{Stage: []int{60}, Hold: time.Hour}); v.Result != control.Staged {
		t.Fatalf("%+v", v)
	}
	got := map[string]int{}
	for n := range 300 {
		got[r.as(n, "/")]++
	}
	rest := 300 - got["a"] - got["bad"]
	if got["a"] < 60 || got["bad"] < 10 || rest < 60 {
		t.Errorf("%v; want about 120 good answers, a few bad ones, and the rest refused by the new version's breaker", got)
	}
}
