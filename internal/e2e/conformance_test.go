//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/conformance"
)

// The three configurations are as plain as they can be: what conformance.Target
// asks for, and otherwise the program's own defaults.
const (
	weirTarget = `
admin: {address: "ADMIN"}
log: {level: error, access: false}
defaults:
  timeouts: {response: 300ms, client_header: 1500ms, client_body_idle: 1s}
listeners:
  - name: web
    address: LISTEN
    protocol: http
    routes:
      - {name: local, match: {path: /local}, respond: {status: 403, body: "no"}}
      - {name: all, pool: origin}
pools:
  origin:
    backends: [{address: "ORIGIN"}]
    health: {passive: {consecutive_errors: 0}}
`
	nginxTarget = `
daemon off; master_process off; pid DIR/pid; error_log DIR/error.log crit;
events { worker_connections 1024; }
http {
  access_log off; client_max_body_size 0; client_header_timeout 1500ms; client_body_timeout 1s;
  client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
  upstream origin { server ORIGIN max_fails=0; keepalive 8; }
  server {
    listen LISTEN;
    location /local { return 403; }
    location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_read_timeout 300ms;
      proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
}
`
	haproxyTarget = `
global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 1500ms
  timeout http-request 1500ms
  timeout server 300ms
  retries 1
  option forwardfor
  http-reuse always
frontend web
  bind LISTEN
  http-request deny deny_status 403 if { path_beg /local }
  default_backend origin
backend origin
  server a ORIGIN
`
)

// peer is a program in front of an origin of its own, of the same kind.
type peer struct {
	name     string
	target   conformance.Target
	verdicts map[string]conformance.Verdict // by case
}

func newPeer(t *testing.T, name string) *peer {
	t.Helper()
	origin, err := conformance.NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(origin.Close)
	return &peer{name: name, target: conformance.Target{Origin: origin}, verdicts: make(map[string]conformance.Verdict)}
}

// startPeer runs another proxy until t ends; without it the test is skipped.
func startPeer(t *testing.T, program, config string, args ...string) *peer {
	t.Helper()
	at, err := exec.LookPath(program)
	if err != nil {
		if at, err = exec.LookPath("/usr/sbin/" + program); err != nil {
			t.Skipf("%s is not installed (apt-get install nginx-light haproxy); this test compares Weir with it", program)
		}
	}
	p, dir := newPeer(t, program), t.TempDir()
	p.target.Address = freeAddress(t)
	file := filepath.Join(dir, "config")
	config = strings.NewReplacer("DIR", dir, "LISTEN", p.target.Address, "ORIGIN", p.target.Origin.Addr()).Replace(config)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(at, append(args, file)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, 10*time.Second, program+" listens", func() bool {
		c, err := net.Dial("tcp", p.target.Address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return p
}

// try runs all cases.
func (p *peer) try(t *testing.T, cases []conformance.Case) {
	for _, c := range cases {
		p.verdicts[c.ID] = conformance.Run(t.Context(), p.target, c)
	}
}

// Weir is nowhere laxer than nginx and HAProxy. Proxies are ranked, per case,
// by what they do with a message that the RFCs call invalid: refusing it comes
// before passing it on repaired, that before passing on what is forbidden, and
// that before a desync. Weir is stricter, equal or laxer by this rank; a
// message that is legal, or left to the proxy, ranks nobody. The verdicts of the
// cases are another thing: to repair can be as right as to refuse, and to
// refuse something legal is wrong.
func TestConformance(t *testing.T) {
	peers := []*peer{
		newPeer(t, "Weir"),
		startPeer(t, "nginx", nginxTarget, "-c"),
		startPeer(t, "haproxy", haproxyTarget, "-db", "-f"),
	}
	// one loop: all clients share its connections to the origin
	w := start(t, strings.ReplaceAll(weirTarget, "ORIGIN", peers[0].target.Origin.Addr()), "--loops", "1")
	peers[0].target.Address = w.listen
	cases := append(conformance.Requests(), conformance.Responses()...)
	var running sync.WaitGroup
	for _, p := range peers {
		running.Go(func() { p.try(t, cases) })
	}
	running.Wait()
	for _, c := range cases {
		for _, other := range peers[1:] {
			if relation(c, peers[0], other) == "laxer" {
				t.Errorf("%s (%s: %s; %s): Weir %v, %s %v", c.ID, c.Group, c.Title, c.Ref, peers[0].verdicts[c.ID], other.name, other.verdicts[c.ID])
			}
		}
	}
	report := table(cases, peers)
	t.Logf("\n%s", report[:strings.Index(report, "## Cases")])
	if os.Getenv("WEIR_WRITE_DOCS") == "1" {
		if err := os.WriteFile("../../docs/conformance.md", []byte(report), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// relation is what Weir is, compared with another proxy.
func relation(c conformance.Case, weir, other *peer) string {
	a, b := weir.verdicts[c.ID].Outcome, other.verdicts[c.ID].Outcome
	switch {
	case !c.Invalid():
		return "unranked"
	case a < b:
		return "stricter"
	case a > b:
		return "laxer"
	}
	return "equal"
}

// table is docs/conformance.md.
func table(cases []conformance.Case, peers []*peer) string {
	var b strings.Builder
	b.WriteString("# Malformed and borderline messages: Weir, nginx, HAProxy\n\n" +
		"Written by `WEIR_WRITE_DOCS=1 go test -tags e2e -run TestConformance ./internal/e2e/`; the cases are in\n" +
		"`internal/conformance/testdata`. nginx and HAProxy are Debian's, plainly configured:\n" +
		"some of what they pass on they can be told to take out.\n\n" +
		"*ok* counts the cases in which the RFCs have nothing to say against what the proxy did. *stricter* and *laxer*\n" +
		"count, among the messages that the RFCs call invalid, how Weir ranks against the other: to refuse ranks before to pass\n" +
		"on repaired, that before to pass on what is forbidden, and that before a desync.\n\n" +
		"| group | cases | Weir ok | nginx ok | HAProxy ok | against nginx: stricter / equal / laxer | against HAProxy |\n" +
		"| --- | ---: | ---: | ---: | ---: | --- | --- |\n")
	groups := make(map[string][]conformance.Case)
	for _, c := range cases {
		groups[c.Group] = append(groups[c.Group], c)
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		b.WriteString(row(name, groups[name], peers))
	}
	b.WriteString(row("**all**", cases, peers))
	b.WriteString("\n## Cases in which they differ\n\nOnly messages that the RFCs call invalid.\n\n" +
		"| case | message | demanded by | Weir | nginx | HAProxy |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, c := range cases {
		if relation(c, peers[0], peers[1])+relation(c, peers[0], peers[2]) != "equalequal" && c.Invalid() {
			fmt.Fprintf(&b, "| `%s` | %s: %s | %s |", c.ID, c.Group, strings.ReplaceAll(c.Title, "|", `\|`), c.Ref)
			for _, p := range peers {
				fmt.Fprintf(&b, " %v |", p.verdicts[c.ID].Outcome)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// row is one line of the summary.
func row(name string, cases []conformance.Case, peers []*peer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | %d |", name, len(cases))
	for _, p := range peers {
		ok := 0
		for _, c := range cases {
			if p.verdicts[c.ID].Kind == conformance.OK {
				ok++
			}
		}
		fmt.Fprintf(&b, " %d |", ok)
	}
	for _, other := range peers[1:] {
		count := make(map[string]int)
		for _, c := range cases {
			count[relation(c, peers[0], other)]++
		}
		fmt.Fprintf(&b, " %d / %d / %d |", count["stricter"], count["equal"], count["laxer"])
	}
	return b.String() + "\n"
}
