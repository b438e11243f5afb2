package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"weir/bench/bed"
)

// bench is the origin and the proxies before it, all pinned to one core.
type bench struct {
	bed    *bed.Bed
	core   int
	origin string // address
}

// peer is a proxy that can be compared: its configuration, with LISTEN,
// ORIGIN and DIR to be filled in, and its command line without the program.
type peer struct {
	name, config string
	args         []string // CONFIG stands for the file
	env          []string
}

// Every configuration does the same: keep-alive on both sides, no access log,
// the X-Forwarded headers and the request id that Weir adds.
var peers = []peer{
	{name: "nginx", args: []string{"-p", "DIR", "-c", "CONFIG"}, config: `
daemon off; master_process off; pid DIR/nginx.pid; error_log DIR/nginx.err;
events { worker_connections 8192; multi_accept on; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
  upstream origin { server ORIGIN; keepalive 256; keepalive_requests 100000000; }
  server {
    listen LISTEN backlog=4096;
    location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Request-Id $request_id;
    }
  }
}
`},
	{name: "haproxy", args: []string{"-db", "-f", "CONFIG"}, config: `
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend f
  bind LISTEN
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Request-Id %[uuid]
  default_backend b
backend b
  server s1 ORIGIN
`},
	{name: "caddy", args: []string{"run", "--adapter", "caddyfile", "--config", "CONFIG"}, env: []string{"GOMAXPROCS=1"}, config: `
{
  admin off
  auto_https off
}
http://LISTEN {
  reverse_proxy ORIGIN
}
`},
}

// weirConfig is Weir in the same role.
const weirConfig = `
admin: {address: "unix:DIR/admin.sock"}
log: {level: error, access: false}
listeners:
  - name: web
    address: LISTEN
    protocol: http
    routes: [{name: all, pool: origin}]
pools:
  origin:
    backends: [{address: ORIGIN}]
`

// originConfig answers every request from memory.
const originConfig = `
daemon off; master_process off; pid DIR/origin.pid; error_log DIR/origin.err;
events { worker_connections 8192; multi_accept on; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; default_type text/plain;
  client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
  server { listen LISTEN backlog=4096; location / { return 200 "BODY"; } }
}
`

// target is a proxy that runs.
type target struct {
	name, address string
	pid           int
}

// start brings up the origin, the peers that are installed, and Weir, which
// comes last.
func (b *bench) start(ctx context.Context, o options) ([]target, error) {
	body := strings.Repeat("hello world ", o.size/12+1)[:o.size]
	nginx, err := bed.LookPath("nginx")
	if err != nil {
		return nil, err
	}
	origin := peer{name: "origin", config: strings.ReplaceAll(originConfig, "BODY", body), args: peers[0].args}
	t, err := b.run(ctx, nginx, origin)
	if err != nil {
		return nil, err
	}
	b.origin = t.address
	var targets []target
	for _, name := range o.wanted() {
		i := slices.IndexFunc(peers, func(p peer) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no peer is called %q; there are nginx, haproxy and caddy", name)
		}
		program, err := bed.LookPath(name)
		if err != nil {
			fmt.Fprintf(os.Stderr, "versus: %s is not installed and left out\n", name)
			continue
		}
		if t, err = b.run(ctx, program, peers[i]); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	weir := peer{name: "weir", config: weirConfig, args: []string{"run", "-c", "CONFIG"}, env: []string{"GOMAXPROCS=1"}}
	t, err = b.run(ctx, o.weir, weir)
	return append(targets, t), err
}

// run starts one process, on the core of all.
func (b *bench) run(ctx context.Context, program string, p peer) (target, error) {
	address, err := bed.FreeAddress()
	if err != nil {
		return target{}, err
	}
	proc, err := b.bed.Run(ctx, bed.Program{
		Name: p.name,
		Path: "taskset", // becomes the program: the process keeps its id
		Args: append([]string{"-c", strconv.Itoa(b.core), program}, p.args...),
		Env:  p.env, Config: strings.ReplaceAll(p.config, "ORIGIN", b.origin),
	}, address)
	if err != nil {
		return target{}, err
	}
	return target{name: p.name, address: address, pid: proc.PID}, nil
}
