//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit"
)

// How TestGuardAgainstReload is run; docs/changes.md has the run with the
// defaults of the guard.
var (
	window = flag.Duration("window", 6*time.Second, "guard.window in TestGuardAgainstReload, and how long a change is looked at")
	before = flag.Duration("before", 4*time.Second, "how long there is traffic before each change in it")
	rate   = flag.Int("rate", 200, "requests a second in it, to each proxy")
)

// One change in ten answers is a 500; one makes all answers ten times slower;
// one is fine. Weir undoes the first two by itself and keeps the third. nginx,
// under the same load at the same time, keeps what it was given.
func TestGuardAgainstReload(t *testing.T) {
	named := func(name string, d time.Duration, status int) string {
		return testkit.NewBackend(t, testkit.After(d, testkit.Answer(status, name, "X-Backend: "+name))).Addr()
	}
	good, other := named("good", 5*time.Millisecond, 200), named("other", 5*time.Millisecond, 200)
	failing, slow := named("failing", 5*time.Millisecond, 500), named("slow", 50*time.Millisecond, 200)
	weighted := func(addresses ...string) (backends []share) {
		for i, a := range addresses {
			backends = append(backends, share{a, 9 - 8*min(i, 1)})
		}
		return backends
	}
	w := start(t, guardedConfig(weighted(good)))
	n := startReloadable(t, weighted(good))

	for _, change := range []struct {
		name string
		to   []share
		kept bool
	}{
		{"one in ten answers is a 500", weighted(good, failing), false},
		{"ten times slower", weighted(slow), false},
		{"fine", weighted(good, other), true},
	} {
		n.awaitGood()
		fromWeir, fromNginx := asking(w.listen), asking(n.address)
		time.Sleep(*before) // what the guard compares with
		w.applies(guardedConfig(change.to))
		n.reload(change.to)
		time.Sleep(*window + 2*time.Second) // as long as the guard may take
		atWeir, atNginx := fromWeir(), fromNginx()

		kept, why := w.verdict()
		t.Logf("%s: kept %v (%s)\n  weir:  %v\n  nginx: %v", change.name, kept, why, atWeir, atNginx)
		if kept != change.kept {
			t.Errorf("%s: kept is %v, want %v: %s", change.name, kept, change.kept, why)
		}
		if atWeir.lost+atNginx.lost > 0 {
			t.Errorf("%s: %d and %d requests were not answered at all", change.name, atWeir.lost, atNginx.lost)
		}
		if !change.kept && (atWeir.harmed == 0 || atWeir.harmed >= atNginx.harmed/2) {
			t.Errorf("%s: %d requests harmed, %d by nginx; want some, and far fewer", change.name, atWeir.harmed, atNginx.harmed)
		}
		n.reload(weighted(good))
		if change.kept {
			w.applies(guardedConfig(weighted(good)))
		}
	}
}

// share is a backend and its weight.
type share struct {
	address string
	weight  int
}

func guardedConfig(backends []share) string {
	var b strings.Builder
	fmt.Fprintf(&b, "admin: {address: \"ADMIN\"}\nlog: {access: false}\nguard: {window: %v}\n", *window)
	b.WriteString("listeners:\n  - {name: web, address: LISTEN, routes: [{name: all, pool: web}]}\npools:\n  web:\n    backends:\n")
	for _, s := range backends {
		fmt.Fprintf(&b, "      - {address: %q, weight: %d}\n", s.address, s.weight)
	}
	return b.String()
}

// applies puts yaml in force, whatever has been said of it before.
func (w *weir) applies(yaml string) {
	w.t.Helper()
	if code, answer, err := w.call("PUT", "/v1/config?force=true", w.fill(yaml)); err != nil || code != 200 {
		w.t.Fatalf("PUT /v1/config: %d %s, %v", code, answer, err)
	}
}

// verdict is whether the last change that was not the guard's still runs, and
// what the guard says of it.
func (w *weir) verdict() (kept bool, why string) {
	w.t.Helper()
	var list struct {
		Versions []struct {
			Number int
			Author string
			Guard  *struct{ Verdict, Why string }
		}
	}
	w.get("/v1/versions", &list)
	last := len(list.Versions) - 1
	if list.Versions[last].Author == "guard" {
		kept, last = false, last-1
	} else {
		kept = true
	}
	if g := list.Versions[last].Guard; g != nil {
		why = strings.TrimSuffix(g.Verdict+": "+g.Why, ": ")
	}
	return kept, why
}

// asked is what became of requests.
type asked struct {
	answers, lost int
	harmed        int           // answered by a backend that fails or is slow
	harm          time.Duration // from the first such answer to the start of the last such request
}

func (a asked) String() string {
	return fmt.Sprintf("%d answers, %d of them harmed within %v", a.answers, a.harmed, a.harm.Round(time.Millisecond))
}

// asking asks at the rate, whether or not earlier requests have been answered,
// until the returned function is called.
func asking(address string) (stop func() asked) {
	var (
		mu          sync.Mutex
		sum         asked
		first, last time.Time
		wg          sync.WaitGroup
		done        = make(chan struct{})
		transport   = &http.Transport{MaxIdleConnsPerHost: 100}
		client      = http.Client{Transport: transport, Timeout: 10 * time.Second}
	)
	one := func() {
		began := time.Now()
		res, err := client.Get("http://" + address + "/")
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			sum.lost++
			return
		}
		sum.answers++
		if by := res.Header.Get("X-Backend"); by == "failing" || by == "slow" {
			if sum.harmed++; sum.harmed == 1 {
				first = time.Now()
			}
			if began.After(last) {
				last = began
			}
		}
	}
	wg.Go(func() {
		due := time.NewTicker(time.Second / time.Duration(*rate))
		defer due.Stop()
		for {
			select {
			case <-due.C:
				wg.Go(one)
			case <-done:
				return
			}
		}
	})
	return func() asked {
		close(done)
		wg.Wait()
		transport.CloseIdleConnections()
		sum.harm = max(last.Sub(first), 0)
		return sum
	}
}

// reloadable is an nginx that proxies, with a master process to reload it.
type reloadable struct {
	t            *testing.T
	address, dir string
	cmd          *exec.Cmd
}

const reloadableConfig = `
daemon off; pid DIR/pid; error_log DIR/error.log; worker_processes 1; user root;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000;
  client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
  upstream web { SERVERS keepalive 64; }
  server {
    listen ADDRESS backlog=1024;
    location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`

func startReloadable(t *testing.T, backends []share) *reloadable {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed (apt-get install nginx-light); this test compares with it")
	}
	n := &reloadable{t: t, address: freeAddress(t), dir: t.TempDir()}
	n.write(backends)
	n.cmd = exec.Command(program, "-p", n.dir, "-c", filepath.Join(n.dir, "nginx.conf"))
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // the master takes its workers along
		_ = n.cmd.Wait()
	})
	eventually(t, 10*time.Second, "nginx answers", func() bool {
		res, err := http.Get("http://" + n.address + "/")
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil
	})
	return n
}

func (n *reloadable) write(backends []share) {
	n.t.Helper()
	servers := ""
	for _, s := range backends {
		servers += fmt.Sprintf("server %s weight=%d; ", s.address, s.weight)
	}
	conf := strings.NewReplacer("DIR", n.dir, "ADDRESS", n.address, "SERVERS", servers).Replace(reloadableConfig)
	if err := os.WriteFile(filepath.Join(n.dir, "nginx.conf"), []byte(conf), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// reload puts other backends in force, as nginx -s reload does.
func (n *reloadable) reload(backends []share) {
	n.t.Helper()
	n.write(backends)
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		n.t.Fatal(err)
	}
}

// awaitGood waits until the last reload has reached new connections.
func (n *reloadable) awaitGood() {
	n.t.Helper()
	inARow := 0
	eventually(n.t, 10*time.Second, "nginx has only the good backend", func() bool {
		if testkit.Get(n.t, n.address, "/").Header("X-Backend") == "good" {
			inARow++
		} else {
			inARow = 0
		}
		return inARow == 20
	})
}
