//go:build e2e

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginx is a real backend that names itself in X-Backend.
type nginx struct {
	t       *testing.T
	name    string
	address string
	dir     string
	cmd     *exec.Cmd
}

// nginxConfig is one process without a master, so that kill -9 ends it whole.
const nginxConfig = `
daemon off; master_process off; pid DIR/pid; error_log DIR/error.log;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000; keepalive_timeout 60s; default_type text/plain;
  client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
  server {
    listen ADDRESS backlog=1024;
    location / { add_header X-Backend NAME; return 200 "NAME\n"; }
    location /healthz { return 200 "ok\n"; }
  }
}
`

// startNginx runs a backend until t ends; without nginx the test is skipped.
func startNginx(t *testing.T, name string) *nginx {
	t.Helper()
	return startNginxAt(t, name, freeAddress(t))
}

// startNginxAt is startNginx at a given address.
func startNginxAt(t *testing.T, name, address string) *nginx {
	t.Helper()
	n := &nginx{t: t, name: name, address: address, dir: t.TempDir()}
	conf := strings.NewReplacer("DIR", n.dir, "ADDRESS", n.address, "NAME", name).Replace(nginxConfig)
	if err := os.WriteFile(filepath.Join(n.dir, "nginx.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.kill)
	n.start()
	return n
}

// start runs nginx and waits until it listens.
func (n *nginx) start() {
	n.t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			n.t.Skip("nginx is not installed (apt-get install nginx-light); this test needs it as a backend")
		}
	}
	n.cmd = exec.Command(program, "-p", n.dir, "-c", filepath.Join(n.dir, "nginx.conf"))
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	eventually(n.t, 10*time.Second, "nginx "+n.name+" listens", func() bool {
		c, err := net.Dial("tcp", n.address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// kill ends it without a chance to finish anything.
func (n *nginx) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	n.cmd = nil
}

// startThree runs the backends a, b and c.
func startThree(t *testing.T) (a, b, c *nginx) {
	t.Helper()
	return startNginx(t, "a"), startNginx(t, "b"), startNginx(t, "c")
}
