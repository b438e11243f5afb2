package config

import (
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// poolSet is the pools by name. A pool that has problems is in it too, so that
// routes to it are not reported as well.
type poolSet map[string]Pool

func (ps poolSet) names() []string { return slices.Sorted(maps.Keys(ps)) }

func (ps poolSet) sorted() []Pool {
	var all []Pool
	for _, name := range ps.names() {
		all = append(all, ps[name])
	}
	return all
}

func (d *decoder) pools(v value, base Defaults) poolSet {
	ps := poolSet{}
	pairs, _ := v.pairs()
	for _, p := range pairs {
		name := p.value
		name.at = p.keyAt
		name.checkName(p.key)
		ps[p.key] = d.pool(p.value, p.key, base)
	}
	return ps
}

func (d *decoder) pool(v value, name string, base Defaults) Pool {
	p := defaultPool(name, base)
	t := v.table()
	defer t.done()
	t.oneOf("balance", &p.Balance, "weighted_round_robin", "round_robin")
	if bs, ok := t.require("backends", "write backends: [] for a pool that is empty on purpose"); ok {
		p.Backends = d.backends(bs)
	}
	h := t.get("health").table()
	p.Health.Active = d.active(h.get("active"))
	d.passive(h.get("passive").table(), &p.Health.Passive)
	h.done()

	k := t.get("keepalive").table()
	k.integer("idle_per_backend", &p.KeepAlive.IdlePerBackend, 0, noMost)
	k.duration("idle_timeout", &p.KeepAlive.IdleTimeout, positive)
	k.done()
	t.oneOf("send_proxy_protocol", &p.SendProxyProtocol, "off", "v1", "v2")

	t.get("timeouts").table().timeouts(&p.Timeouts, oneRoute)
	t.get("limits").table().limits(&p.Limits, oneRoute)
	return p
}

// backends reads a pool's backends. Two with one address would be one backend
// with two weights: what is known of a backend is known by its address.
func (d *decoder) backends(v value) []Backend {
	var bs []Backend
	taken := names{}
	idle := 0
	for _, in := range v.list() {
		b, ok := d.backend(in, taken)
		if b.Weight == 0 {
			idle++
		}
		if ok {
			bs = append(bs, b)
		}
	}
	if idle > 0 && idle == len(v.node.Content) {
		v.bad("give one of them a weight of 1 or more", "every backend has weight 0, so none gets a request")
	}
	return bs
}

func (d *decoder) backend(v value, taken names) (b Backend, ok bool) {
	b = defaultBackend()
	if v.given() && v.node.Value != "" {
		v.bad("write {address: "+v.node.Value+"}", "want a mapping with an address, not %s", v.describe())
		return b, false
	}
	t := v.table()
	defer t.done()
	t.integer("weight", &b.Weight, 0, 65535)
	t.integer("tier", &b.Tier, 0, noMost)
	t.integer("max_requests", &b.MaxRequests, 0, noMost)
	at, ok := t.require("address", "such as 127.0.0.1:9001")
	if !ok {
		return b, false
	}
	if _, ok = t.text("address", &b.Address); !ok {
		return b, false
	}
	e, err := parseEndpoint(b.Address)
	switch {
	case err != nil:
		at.bad("", "%v", err)
	case e.unix == "" && (e.host == "" || e.ip.IsValid() && e.ip.IsUnspecified()):
		at.bad("such as 127.0.0.1:9001", "%q does not say which host", b.Address)
	case e.unix == "" && e.port == 0:
		at.bad("", "%q: nothing can be reached at port 0", b.Address)
	default:
		taken.unique(at, "remove one of them", "the address", e.key())
		return b, true
	}
	return b, false
}

// active reads a pool's probes. Nothing at all under the key is refused: whether
// it means the defaults or no probes would be anybody's guess.
func (d *decoder) active(v value) *Active {
	if v.node == nil {
		return nil
	}
	if isNull(v.node) {
		v.bad("write active: {} to probe with the defaults, or remove it", "a check with nothing in it")
		return nil
	}
	a := defaultActive()
	t := v.table()
	defer t.done()
	t.oneOf("type", &a.Type, "http", "tcp")
	d.activeHTTP(t, &a)
	t.integer("port", &a.Port, 0, 65535)
	t.duration("interval", &a.Interval, positive)
	// A short interval alone must not be wrong because of a default.
	a.Timeout = min(a.Timeout, a.Interval)
	if v, ok := t.duration("timeout", &a.Timeout, positive); ok && a.Timeout > a.Interval {
		v.bad("a probe must end before the next starts", "%v is longer than the interval %v", a.Timeout, a.Interval)
	}
	t.integer("fall", &a.Fall, 1, noMost)
	t.integer("rise", &a.Rise, 1, noMost)
	return &a
}

// activeHTTP reads what only an http check has. On a tcp check it is refused
// rather than ignored: who writes a path believes that it is asked for.
func (d *decoder) activeHTTP(t *table, a *Active) {
	if a.Type == "tcp" {
		for _, key := range []string{"path", "method", "host", "expect", "body"} {
			if v := t.get(key); v.given() {
				v.bad("use type http, or remove it", "a tcp check connects and sends nothing; it has no %s", key)
			}
		}
		return
	}
	if v, ok := t.text("path", &a.Path); ok && v.checkLine(a.Path) {
		if !strings.HasPrefix(a.Path, "/") || strings.ContainsAny(a.Path, " #") {
			v.bad("such as /healthz", "%q is not a path from /, with or without a query", a.Path)
		}
	}
	if v, ok := t.text("method", &a.Method); ok {
		v.checkMethod(a.Method)
	}
	t.authority("host", &a.Host)
	if v := t.get("expect"); v.given() {
		a.Expect = v.statusRanges()
	}
	if v, ok := t.text("body", &a.Body); ok && a.Body != "" && a.Method == "HEAD" {
		v.bad("use method GET", "an answer to HEAD has no body to look in")
	}
}

// statusRanges reads 200-399, "200,204,300-399", or a list of such.
func (v value) statusRanges() []StatusRange {
	var rs []StatusRange
	parts := []value{v}
	if v.node.Kind == yaml.SequenceNode {
		parts = v.list()
	}
	for _, part := range parts {
		s, ok := part.scalar("a status or a range such as 200-399")
		if !ok {
			continue
		}
		for word := range strings.SplitSeq(s, ",") {
			r, ok := statusRange(strings.TrimSpace(word))
			if !ok {
				part.bad("such as 200-399, or 200,204", "%q is not a status between 100 and 599, or a range of them", strings.TrimSpace(word))
				continue
			}
			rs = append(rs, r)
		}
	}
	if len(parts) == 0 {
		v.bad("such as 200-399", "an empty list: no answer would pass")
	}
	return rs
}

func statusRange(s string) (r StatusRange, ok bool) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	r = StatusRange{From: status(from), To: status(to)}
	return r, 100 <= r.From && r.From <= r.To && r.To <= 599
}

// status reads exactly three digits; 0 if they are not.
func status(s string) int {
	s = strings.TrimSpace(s)
	if len(s) != 3 || !isDigits(s) {
		return 0
	}
	return int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
}

func (d *decoder) passive(t *table, p *Passive) {
	defer t.done()
	t.integer("consecutive_errors", &p.ConsecutiveErrors, 0, noMost)
	first, okFirst := t.duration("ejection", &p.Ejection, positive)
	_, okMax := t.duration("max_ejection", &p.MaxEjection, positive)
	switch {
	case p.Ejection <= p.MaxEjection:
	case okFirst && okMax:
		first.bad("ejections grow from ejection to max_ejection", "%v is longer than max_ejection %v", p.Ejection, p.MaxEjection)
	case okFirst: // the other is a default, which gives way
		p.MaxEjection = p.Ejection
	default:
		p.Ejection = p.MaxEjection
	}
	t.integer("max_ejected", &p.MaxEjected, 0, 100)
}
