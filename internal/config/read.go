package config

import (
	"math"
	"strings"
	"time"
)

// config reads the whole. Pools come before listeners, whatever the order of
// the file: a route starts from the timeouts and limits of its pool.
func (d *decoder) config(root value) *Config {
	c := defaultConfig()
	t := root.table()
	d.admin(t.get("admin").table(), &c.Admin)
	d.history(t.get("history").table(), &c.History)
	t.get("guard").table().guard(&c.Guard)
	d.log(t.get("log").table(), &c.Log)
	t.get("record").table().record(&c.Record)

	def := t.get("defaults").table()
	def.pathHandling(&c.Defaults.PathHandling)
	def.get("timeouts").table().timeouts(&c.Defaults.Timeouts, everywhere)
	def.get("limits").table().limits(&c.Defaults.Limits, everywhere)
	def.done()

	pools := d.pools(t.get("pools"), c.Defaults)
	c.Pools = pools.sorted()
	if v, ok := t.require("listeners", "without one nothing is served"); ok {
		taken := endpoints{}
		if e, err := parseEndpoint(c.Admin.Address); err == nil {
			taken.take(e, "the admin API")
		}
		c.Listeners = d.listeners(v, c.Defaults, pools, taken)
	}
	t.done()
	return &c
}

func (d *decoder) admin(t *table, a *Admin) {
	defer t.done()
	v, ok := t.text("address", &a.Address)
	token, read := t.text("token_file", &a.TokenFile)
	if !ok {
		return
	}
	e, err := parseEndpoint(a.Address)
	switch {
	case err != nil:
		v.bad("", "%v", err)
	case !e.private() && a.TokenFile == "" && (read || !token.given()):
		v.bad("set admin.token_file, or use 127.0.0.1 or unix:/path",
			"%q can be reached from other machines and nothing asks them for a token", a.Address)
	}
}

func (d *decoder) history(t *table, h *History) {
	defer t.done()
	t.text("dir", &h.Dir)
	t.integer("keep", &h.Keep, 2, noMost) // the running version and the one to go back to
	t.duration("max_age", &h.MaxAge, orNone)
	t.boolean("git", &h.Git)
}

func (t *table) guard(g *Guard) {
	const leastWindow, mostWindow = time.Second, time.Hour
	defer t.done()
	t.boolean("enabled", &g.Enabled)
	t.span("window", &g.Window, leastWindow, mostWindow)
	t.integer("min_requests", &g.MinRequests, 1, noMost)
	t.integer("max_error_increase", &g.MaxErrorIncrease, 0, 100)
	t.decimal("max_latency_factor", &g.MaxLatencyFactor, 1.1, 1000)
	notify := t.get("notify").table()
	if list := notify.get("exec"); list.given() && len(list.list()) > 0 {
		list.argv(&g.Notify.Exec, "such as [/usr/local/bin/tell, weir]")
	}
	notify.done()
}

func (t *table) record(r *Record) {
	const most = 100_000
	defer t.done()
	t.integer("requests", &r.Requests, 0, most)
	t.fraction("sample", &r.Sample)
}

func (d *decoder) log(t *table, l *Log) {
	defer t.done()
	t.oneOf("level", &l.Level, "debug", "info", "warn", "error")
	t.boolean("access", &l.Access)
	t.oneOf("access_format", &l.AccessFormat, "json")
	t.fraction("sample", &l.Sample)
}

// scope says where timeouts and limits are being read.
type scope bool

const (
	everywhere scope = true  // in defaults
	oneRoute   scope = false // on a pool or route
)

// early reports a key that takes effect before a request's route is known, and
// so cannot differ between routes.
func (t *table) early(s scope, block, key string) bool {
	if s == everywhere {
		return false
	}
	if v := t.get(key); v.given() {
		v.bad("set it under defaults."+block, "%s is decided before the route of a request is known", key)
	}
	return true
}

func (t *table) timeouts(to *Timeouts, s scope) {
	defer t.done()
	if !t.early(s, "timeouts", "client_header") {
		t.duration("client_header", &to.ClientHeader, orNone)
	}
	t.duration("client_body_idle", &to.ClientBodyIdle, orNone)
	if !t.early(s, "timeouts", "client_idle") {
		t.duration("client_idle", &to.ClientIdle, orNone)
	}
	if !t.early(s, "timeouts", "client_half_closed") {
		t.duration("client_half_closed", &to.ClientHalfClosed, orNone)
	}
	t.duration("connect", &to.Connect, orNone)
	t.duration("response", &to.Response, orNone)
	t.duration("stream_idle", &to.StreamIdle, orNone)
	t.duration("request", &to.Request, orNone)
}

func (t *table) limits(l *Limits, s scope) {
	// A header is held in memory whole, so it has bounds that cannot be switched off.
	const leastHeader, mostHeader, mostHeaders = 1 << 10, 16 << 20, 10000
	const mostRate = 1 << 30 // no client is that fast, and rate times seconds still fits
	defer t.done()
	if !t.early(s, "limits", "header_bytes") {
		n := int64(l.HeaderBytes)
		t.size("header_bytes", &n, leastHeader, mostHeader)
		l.HeaderBytes = int(n)
	}
	if !t.early(s, "limits", "headers") {
		t.integer("headers", &l.Headers, 1, mostHeaders)
	}
	t.size("body_bytes", &l.BodyBytes, 0, math.MaxInt64)
	t.size("min_rate", &l.MinRate, 0, mostRate)
	if !t.early(s, "limits", "connections") {
		t.integer("connections", &l.Connections, 0, noMost)
	}
	if !t.early(s, "limits", "connections_per_ip") {
		t.integer("connections_per_ip", &l.ConnectionsPerIP, 0, noMost)
	}
}

// maxName keeps names short enough for metrics and tables.
const maxName = 100

// checkName reports a name that cannot be part of a URL, a metric label and a
// command's argument (POOL/BACKEND) as it stands.
func (v value) checkName(s string) bool {
	odd := func(r rune) bool { return notInName(r) && r != '.' }
	switch {
	case s == "":
		v.bad("", "a name cannot be empty")
	case len(s) > maxName:
		v.bad("", "a name of %d bytes; at most %d are possible", len(s), maxName)
	case strings.ContainsFunc(s, odd) || strings.ContainsAny(s[:1], "-."):
		v.bad("use letters, digits, - _ and . and begin with a letter, a digit or _", "%q is not a name", s)
	default:
		return true
	}
	return false
}

const rename = "give one of them another name"

// names finds a name's second use.
type names map[string]int // line of the first

func (n names) unique(v value, fix, what, s string) {
	if first, taken := n[s]; taken {
		v.bad(fix, "%s %q is here twice; first on line %d", what, s, first)
		return
	}
	n[s] = v.at.Line
}

// endpoints are the addresses that are listened on and by whom, by port.
type endpoints map[uint16][]taken

type taken struct {
	endpoint
	who string
}

// take gives e to who, unless somebody has it or a part of it.
func (es endpoints) take(e endpoint, who string) (owner string, ok bool) {
	for _, t := range es[e.port] {
		if e.overlaps(t.endpoint) {
			return t.who, false
		}
	}
	es[e.port] = append(es[e.port], taken{e, who})
	return who, true
}
