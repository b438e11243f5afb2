package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

func (d *decoder) listeners(v value, base Defaults, pools poolSet, taken endpoints) []Listener {
	var ls []Listener
	in := v.list()
	if v.node.Kind == yaml.SequenceNode && len(in) == 0 {
		v.bad("without one nothing is served", "there is no listener")
	}
	seen := names{}
	for _, v := range in {
		t := v.table()
		l := defaultListener(base)
		if name, ok := t.require("name", "metrics and commands call the listener by it"); ok {
			if _, ok = t.text("name", &l.Name); ok && name.checkName(l.Name) {
				seen.unique(name, rename, "the listener", l.Name)
			}
		}
		t.listen(&l, taken)
		t.oneOf("protocol", &l.Protocol, "http")
		t.oneOf("proxy_protocol", &l.ProxyProtocol, "off", "accept", "require")
		t.networks("trusted_proxies", &l.TrustedProxies)
		t.pathHandling(&l.PathHandling)
		if routes, ok := t.require("routes", "write routes: [] for a listener that answers 404 to everything"); ok {
			own := base
			own.PathHandling = l.PathHandling
			l.Routes = d.routes(routes, l.Name, own, pools)
		}
		t.done()
		ls = append(ls, l)
	}
	return ls
}

// listen reads a listener's address and takes it.
func (t *table) listen(l *Listener, taken endpoints) {
	v, ok := t.require("address", "such as 127.0.0.1:8080, or :8080 for all addresses")
	if ok {
		_, ok = t.text("address", &l.Address)
	}
	if !ok {
		return
	}
	e, err := parseEndpoint(l.Address)
	switch {
	case err != nil:
		v.bad("", "%v", err)
	case e.unix == "" && e.host != "" && !e.ip.IsValid():
		// Resolving it could fail at the next start, or give another address.
		v.bad(fmt.Sprintf("such as 127.0.0.1:%d, or :%d for all addresses", e.port, e.port),
			"%q: a listener needs an address of this machine, not a name", l.Address)
	default:
		if who, ok := taken.take(e, fmt.Sprintf("listener %q", l.Name)); !ok {
			v.bad("use another port", "%s has %s already", who, l.Address)
		}
	}
}

// routes reads a listener's routes. A route without a name gets one that stays
// the same while routes are added after it, for metrics have it as a label.
func (d *decoder) routes(v value, listener string, base Defaults, pools poolSet) []Route {
	var rs []Route
	seen := names{}
	for i, in := range v.list() {
		r := d.route(in, base, pools)
		if r.Name == "" {
			r.Name = fmt.Sprintf("%s-%d", listener, i)
		}
		in.path += ".name"
		seen.unique(in, rename, "the route", r.Name)
		rs = append(rs, r)
	}
	return rs
}

func (d *decoder) route(v value, base Defaults, pools poolSet) Route {
	t := v.table()
	defer t.done()
	r := defaultRoute(base)
	if name, ok := t.text("name", &r.Name); ok && r.Name != "" {
		name.checkName(r.Name)
	}
	t.get("match").table().match(&r.Match)
	t.access(&r)
	t.get("rewrite").table().rewrite(&r.Rewrite)
	if t.pathHandling(&r.PathHandling) {
		t.checkRaw(&r)
	}
	t.get("request_headers").table().headerRules(&r.RequestHeaders, true)
	t.get("response_headers").table().headerRules(&r.ResponseHeaders, false)
	t.action(&r, pools)
	t.get("retries").table().retries(&r.Retries)
	t.get("hedge").table().hedge(&r.Hedge)
	t.get("circuit_breaker").table().circuitBreaker(&r.CircuitBreaker)
	t.boolean("compress", &r.Compress)
	t.upgrades(&r.Upgrades)
	t.get("timeouts").table().timeouts(&r.Timeouts, oneRoute)
	t.get("limits").table().limits(&r.Limits, oneRoute)
	return r
}

// action reads what becomes of a request: exactly one of three.
func (t *table) action(r *Route, pools poolSet) {
	// `pool: ""` is no pool, but a pool that could not be read is one: that it
	// is wrong has been said, and that nothing was chosen would not be true.
	var chosen []string
	pool, read := t.text("pool", &r.Pool)
	if r.Pool != "" || pool.given() && !read {
		chosen = append(chosen, "pool")
	}
	if v := t.get("redirect"); v.node != nil {
		chosen = append(chosen, "redirect")
		r.Redirect = v.redirect()
	}
	if v := t.get("respond"); v.node != nil {
		chosen = append(chosen, "respond")
		r.Respond = v.respond()
	}
	switch {
	case len(chosen) > 1:
		t.bad("keep one", "this route has %s; a request can only go one way", strings.Join(chosen, " and "))
	case len(chosen) == 0 && t.ok:
		t.bad("give it a pool, a redirect or a respond", "this route does nothing with a request")
	}
	if r.Pool == "" {
		return
	}
	p, ok := pools[r.Pool]
	if !ok {
		fix := "there are no pools"
		if !t.d.full() && len(pools) > 0 {
			fix = didYouMean(r.Pool, pools.names())
		}
		pool.bad(fix, "no pool named %q", r.Pool)
		return
	}
	r.Timeouts, r.Limits = p.Timeouts, p.Limits // the route's own are read after this
}

func (v value) redirect() *Redirect {
	t := v.table()
	defer t.done()
	r := defaultRedirect()
	to, ok := t.require("to", "such as https://www.example.com/")
	if ok {
		_, ok = t.text("to", &r.To)
	}
	switch {
	case !ok:
	case r.To == "":
		to.bad("such as https://www.example.com/", "empty")
	case !to.checkLine(r.To):
	case strings.Contains(r.To, " "):
		to.bad("write %20 for a space", "%q is not a URL", r.To)
	default:
		to.checkVariables(r.To)
	}
	if v, ok := t.integer("status", &r.Status, 300, 399); ok {
		switch r.Status {
		case 301, 302, 303, 307, 308:
		default:
			v.bad("one of 301, 302, 303, 307, 308", "status %d is not a redirect with a Location", r.Status)
		}
	}
	return &r
}

var redirectVariable = regexp.MustCompile(`\{([^{}]*)\}`)

// checkVariables reports parts of a redirect's target that look like a variable
// and are none: they would be sent to clients as they stand.
func (v value) checkVariables(to string) {
	known := []string{"host", "path", "query", "uri"}
	for _, m := range redirectVariable.FindAllStringSubmatch(to, -1) {
		if !slices.Contains(known, m[1]) {
			v.bad(didYouMean(m[1], known), "%s is not a part of the request", m[0])
		}
	}
}

func (v value) respond() *Respond {
	t := v.table()
	defer t.done()
	r := defaultRespond()
	t.integer("status", &r.Status, 200, 599)
	if body, ok := t.text("body", &r.Body); ok && r.Body != "" && (r.Status == 204 || r.Status == 304) {
		body.bad("use status 200, or remove the body", "an answer with status %d has no body", r.Status)
	}
	if kind, ok := t.text("content_type", &r.ContentType); ok {
		kind.checkLine(r.ContentType)
	}
	return &r
}
