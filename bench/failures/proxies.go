package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/template"
	"time"

	"weir/bench/bed"
)

// setup is what the proxies are told beyond their defaults. Each of them has words
// of its own for it, or none.
type setup struct {
	Name      string
	Balance   map[string]string // policy by proxy, in its words; none: the default
	Response  time.Duration     // silence of a backend that has a request
	Tuned     bool              // retries and ejection for every fault
	Checks    time.Duration     // between active checks; 0: there are none
	SlowStart time.Duration
	Queue     int  // requests that may wait; only of Weir, and so are
	Most      int  // requests at a time at one backend; 0: the default
	Frozen    bool // backends are stopped, not killed
	Counted   bool // the attempts at backends must be countable
}

// Timeouts of all proxies.
const (
	connectTimeout = 3 * time.Second
	response       = 60 * time.Second // Weir's and nginx's default
)

// probePath is what active checks ask for.
const probePath = "/healthz"

// proxy is a program to compare.
type proxy struct {
	name   string // of the program, too
	args   []string
	config string // a template; see fields
}

var proxies = []proxy{
	{name: "weir", args: []string{"run", "-c", "CONFIG"}, config: weirConfig},
	{name: "nginx", args: []string{"-p", "DIR", "-c", "CONFIG"}, config: nginxConfig},
	{name: "haproxy", args: []string{"-db", "-f", "CONFIG"}, config: haproxyConfig},
}

// fields is what a proxy's template is filled from.
type fields struct {
	setup
	Policy        string
	Backends      []string
	ConnectMillis int64
	Root          bool
}

// All three: keep-alive on both sides, no access log, as many threads or
// processes as there are processors, the same timeouts.
const weirConfig = `admin: {address: "unix:DIR/admin.sock"}
log: {access: false}
listeners:
  - name: web
    address: LISTEN
    protocol: http
    routes:
      - name: all
        pool: backends
{{- if .Tuned}}
        retries: {on: [connect, reset, timeout, "500"]}
{{- end}}
pools:
  backends:
    timeouts: {connect: {{.ConnectMillis}}ms, response: {{.Response}}}
{{- with .Policy}}
    balance: {{.}}
{{- end}}
{{- if .SlowStart}}
    slow_start: {{.SlowStart}}
{{- end}}
{{- if .Queue}}
    queue: {size: {{.Queue}}, timeout: 5s}
{{- end}}
{{- if .Checks}}
    health: {active: {path: ` + probePath + `, interval: {{.Checks}}}}
{{- end}}
    backends:
{{- range .Backends}}
      - {address: "{{.}}"{{with $.Most}}, max_requests: {{.}}{{end}}}
{{- end}}
`

// nginx has no active checks, no slow start and no queue; its passive ones
// (max_fails=1, fail_timeout=10s) and its retries are on by default. The zone
// makes its processes know the same.
const nginxConfig = `daemon off; worker_processes auto; pid DIR/nginx.pid; error_log DIR/error.log;
{{- if .Root}}
user root;
{{- end}}
events { worker_connections 8192; }
http {
  {{if .Counted}}log_format attempts "$upstream_addr"; access_log DIR/attempts attempts{{else}}access_log off{{end}};
  client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
  keepalive_requests 1000000;
  upstream backends {
    zone backends 256k;
{{- with .Policy}}
    {{.}};
{{- end}}
{{- range .Backends}}
    server {{.}};
{{- end}}
    keepalive 256; keepalive_requests 1000000;
  }
  server {
    listen LISTEN backlog=4096;
    location / {
      proxy_pass http://backends; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_connect_timeout {{.ConnectMillis}}ms; proxy_read_timeout {{.Response.Milliseconds}}ms;
{{- if .Tuned}}
      proxy_next_upstream error timeout http_500;
{{- end}}
    }
  }
}
`

// HAProxy asks the same server again, and after a pause, unless redispatch says
// otherwise; all of its manuals do. Without checks it takes nobody out.
const haproxyConfig = `global
  maxconn 8192
  stats socket DIR/stats.sock
defaults
  mode http
  timeout connect {{.ConnectMillis}}ms
  timeout client 60s
  timeout server {{.Response.Milliseconds}}ms
  http-reuse always
  retries 3
{{- if .Tuned}}
  option redispatch 1
  retry-on conn-failure empty-response junk-response response-timeout 500
{{- else}}
  option redispatch
{{- end}}
frontend web
  bind LISTEN
  default_backend backends
backend backends
  balance {{or .Policy "roundrobin"}}
{{- if .Checks}}
  option httpchk GET ` + probePath + `
  default-server check inter {{.Checks.Milliseconds}}ms fastinter 1s fall 3 rise 2
{{- if .Tuned}} observe layer7 error-limit 5 on-error mark-down{{end}}
{{- if .SlowStart}} slowstart {{.SlowStart.Milliseconds}}ms{{end}}
{{- end}}
{{- range $i, $a := .Backends}}
  server b{{$i}} {{$a}}
{{- end}}
`

// fill makes the configuration of p; LISTEN and DIR are left in it.
func (p proxy) fill(s setup, backends []string) (string, error) {
	t, err := template.New(p.name).Parse(p.config)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, fields{
		setup: s, Policy: s.Balance[p.name], Backends: backends,
		ConnectMillis: connectTimeout.Milliseconds(), Root: os.Geteuid() == 0,
	})
	return b.String(), err
}

// runner starts proxies.
type runner struct {
	options
	dir   string            // every run has one below it
	paths map[string]string // of the programs
	runs  int
}

// running is a proxy before its backends. Its bed ends it.
type running struct {
	*bed.Process
	bed   *bed.Bed
	setup setup
}

// start runs p before backends, waits until it listens and warms it up. The
// caller stops it.
func (r *runner) start(ctx context.Context, p proxy, s setup, backends []string) (*running, error) {
	config, err := p.fill(s, backends)
	if err != nil {
		return nil, err
	}
	r.runs++
	b := bed.New(r.dir)
	name := fmt.Sprintf("%03d-%s-%s", r.runs, strings.ReplaceAll(s.Name, ", ", "-"), p.name)
	address, err := bed.FreeAddress()
	if err != nil {
		return nil, err
	}
	if r.verbose {
		fmt.Fprintf(os.Stderr, "--- %s\n%s", name, config)
	}
	proc, err := b.Run(ctx, bed.Program{Name: name, Path: r.paths[p.name], Args: p.args, Config: config}, address)
	if err != nil {
		b.Stop()
		return nil, err
	}
	warm(ctx, address)
	return &running{Process: proc, bed: b, setup: s}, nil
}

// warm sends some requests that nobody counts: what a proxy does at its start, the
// first probes and connections, is not what is measured.
func warm(ctx context.Context, address string) {
	l := &load{address: address, rate: 500, length: 100 * time.Millisecond, timeout: time.Second}
	l.run(ctx)
}
