package config

import (
	"maps"
	"slices"
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
	t.balance(&p)
	t.duration("slow_start", &p.SlowStart, orNone)
	if bs, ok := t.require("backends", "write backends: [] for a pool that is empty on purpose"); ok {
		p.Backends = d.backends(bs)
	}
	h := t.get("health").table()
	p.Health.Active = d.active(h.get("active"))
	h.get("passive").table().passive(&p.Health.Passive)
	h.get("heartbeat").table().heartbeat(&p.Health.Heartbeat)
	if v, ok := h.text("load_header", &p.Health.LoadHeader); ok && p.Health.LoadHeader != "" {
		v.checkToken("header name", p.Health.LoadHeader)
	}
	h.integer("panic_threshold", &p.Health.PanicThreshold, 0, 100)
	h.done()
	t.boolean("adaptive_concurrency", &p.AdaptiveConcurrency)
	t.get("sticky").table().sticky(&p.Sticky)
	t.get("queue").table().queue(&p.Queue)
	t.get("drain").table().drain(&p.Drain)

	k := t.get("keepalive").table()
	k.integer("idle_per_backend", &p.KeepAlive.IdlePerBackend, 0, noMost)
	k.duration("idle_timeout", &p.KeepAlive.IdleTimeout, positive)
	k.done()
	t.oneOf("send_proxy_protocol", &p.SendProxyProtocol, "off", "v1", "v2")

	t.get("timeouts").table().timeouts(&p.Timeouts, oneRoute)
	t.get("limits").table().limits(&p.Limits, oneRoute)
	return p
}

// balance reads how a pool's requests are shared out.
func (t *table) balance(p *Pool) {
	const leastBound, mostBound = 110, 1000 // closer than 110 % hardly a key would stay where it belongs
	v, ok := t.oneOf("balance", &p.Balance, "weighted_round_robin", "round_robin", "random",
		"least_requests", "peak_ewma", "consistent_hash", "first")
	if (ok || !v.given()) && p.Balance != "consistent_hash" {
		for _, key := range []string{"hash_key", "hash_balance"} {
			if v := t.get(key); v.given() {
				v.bad("use balance: consistent_hash, or remove it", "%s does not look at keys; it has no %s", p.Balance, key)
			}
		}
		return
	}
	t.requestKey("hash_key", &p.HashKey, []string{"client_ip", "path"}, []string{"header", "cookie", "query"})
	if v, ok := t.integer("hash_balance", &p.HashBalance, 0, mostBound); ok && 0 < p.HashBalance && p.HashBalance < leastBound {
		v.bad("0 is no bound", "%d is not between %d and %d", p.HashBalance, leastBound, mostBound)
	}
}

// sticky reads how clients keep their backend.
func (t *table) sticky(s *Sticky) {
	defer t.done()
	if v, ok := t.text("cookie", &s.Cookie); ok && s.Cookie != "" {
		v.checkToken("cookie name", s.Cookie)
	}
	t.duration("ttl", &s.TTL, orNone)
	t.text("secret_file", &s.SecretFile)
	for _, key := range []string{"ttl", "secret_file"} {
		if v := t.key(key); v.given() && s.Cookie == "" && !t.get("cookie").given() {
			v.bad("name the cookie, such as cookie: weir", "there is no cookie that it is for")
		}
	}
}

func (t *table) queue(q *Queue) {
	const mostWaiting = 1_000_000
	defer t.done()
	t.integer("size", &q.Size, 0, mostWaiting)
	t.duration("timeout", &q.Timeout, positive)
}

func (t *table) drain(d *Drain) {
	defer t.done()
	t.duration("timeout", &d.Timeout, orNone)
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
