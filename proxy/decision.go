package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"

	"weir/internal/metrics"
	"weir/internal/route"
)

// Decision is what a configuration makes of a request, as far as that can be
// said without a backend.
type Decision struct {
	Route  string `json:"route"`            // listener/route; "" if none matches
	Pool   string `json:"pool,omitempty"`   // where it goes; "" if Weir answers itself
	Status int    `json:"status,omitempty"` // of Weir's own answer; 0: a backend's
	Target string `json:"target,omitempty"` // path and query that the backend gets, or where the client is sent
	Host   string `json:"host,omitempty"`   // that the backend gets
}

// String is the decision in one line.
func (d Decision) String() string {
	switch {
	case d.Status != 0 && d.Target != "":
		return fmt.Sprintf("route %s: %d to %s", d.Route, d.Status, d.Target)
	case d.Status != 0 && d.Route != "":
		return fmt.Sprintf("route %s: %d", d.Route, d.Status)
	case d.Status != 0:
		return fmt.Sprintf("no route: %d", d.Status)
	}
	return fmt.Sprintf("route %s: pool %s gets %s for %s", d.Route, d.Pool, d.Target, d.Host)
}

// decided is a decision that is not in words yet: no strings are made of what is
// equal anyway.
type decided struct {
	site   *site
	status int
}

// decide works out what lc makes of the request that ex has read. ex is left
// with lc's site.
func (ex *exchange) decide(lc *listenerConfig) decided {
	ex.lc = lc
	var ok bool
	if ex.site, ok = lc.routes.Lookup(&ex.matching); !ok {
		ex.site = nil
		return decided{nil, http.StatusNotFound}
	}
	s := ex.site
	if !ex.oneReading() {
		return decided{s, http.StatusBadRequest}
	}
	if reason := ex.forbidden(); reason != metrics.NoReason {
		return decided{s, reason.Status()}
	}
	switch {
	case ex.isLastHop():
		return decided{s, ex.lastHopStatus()}
	case s.redirect != nil:
		return decided{s, s.redirect.status}
	case s.respond != nil:
		return decided{s, s.respond.status}
	}
	return decided{s, 0}
}

// tell puts into words what decide has found.
func (ex *exchange) tell(d decided) Decision {
	out := Decision{Status: d.status}
	if d.site == nil {
		return out
	}
	out.Route = d.site.listener + "/" + d.site.name
	switch {
	case d.site.redirect != nil && d.status == d.site.redirect.status:
		out.Target = string(d.site.redirect.location(nil, ex))
	case d.status == 0:
		out.Pool = d.site.poolName
		out.Target, out.Host = string(ex.appendTarget(nil)), string(ex.host)
		if d.site.rewrite.host != "" {
			out.Host = d.site.rewrite.host
		}
	}
	return out
}

// same reports whether two decisions come to the same for a request, without
// making words of them where nothing can differ.
func (ex *exchange) same(one, other decided) bool {
	a, b := one.site, other.site
	switch {
	case one.status != other.status || (a == nil) != (b == nil):
		return false
	case a == nil:
		return true
	case a.name != b.name || a.listener != b.listener:
		return false
	case one.status != 0:
		return a.redirect == nil || b.redirect == nil || bytes.Equal(a.redirect.location(nil, ex), b.redirect.location(nil, ex))
	case a.poolName != b.poolName || a.rewrite.host != b.rewrite.host:
		return false
	case a.rewrite.plain() && b.rewrite.plain() && a.paths == b.paths:
		return true
	}
	return ex.tell(one).Target == ex.tellAs(b, other).Target
}

// tellAs is tell for a decision that ex was not left with.
func (ex *exchange) tellAs(s *site, d decided) Decision {
	was := ex.site
	ex.site = s
	defer func() { ex.site = was }()
	return ex.tell(d)
}

// plain reports whether a rewrite leaves paths as they are.
func (rw *rewrite) plain() bool { return rw.strip == "" && rw.add == "" && rw.regex == nil }

// Request is a request without its body, as it was recorded.
type Request struct {
	Listener string     `json:"listener"`
	Client   netip.Addr `json:"client_ip"`
	Head     string     `json:"head"` // request line and header lines, as the client sent them
	Body     int64      `json:"body"` // bytes announced; -1: not known
}

// Decide says what the snapshot makes of a request. The error is about the
// request: it is none, or for a listener that the snapshot does not have.
func (sn *Snapshot) Decide(r Request) (Decision, error) {
	for _, lc := range sn.listeners {
		if lc.name != r.Listener {
			continue
		}
		ex := new(exchange)
		if err := ex.restore(r, lc); err != nil {
			return Decision{}, err
		}
		return ex.tell(ex.decide(lc)), nil
	}
	return Decision{}, fmt.Errorf("there is no listener %q", r.Listener)
}

// restore makes ex one that has read the head of a recorded request.
func (ex *exchange) restore(r Request, lc *listenerConfig) error {
	b := []byte(r.Head)
	end := bytes.IndexByte(b, '\n') + 1
	if !ex.line.parse(b[:end]) {
		return fmt.Errorf("the request line is malformed: %.80q", r.Head)
	}
	ex.method, ex.http10 = ex.line.method, ex.line.http10
	if err := ex.head.parse(b[end:], lc.limits.Headers); err != nil {
		return err
	}
	ex.client, ex.body.length = r.Client, r.Body
	if wrong := ex.readTarget(); wrong != "" {
		return fmt.Errorf("%s: %.80q", wrong, r.Head)
	}
	ex.match()
	return nil
}

// match fills in what routes are looked up by.
func (ex *exchange) match() {
	query := ex.target.query
	if len(query) > 0 {
		query = query[1:]
	}
	ex.matching = route.Request{
		Method: ex.method, Host: ex.host, Path: ex.target.path, Query: query,
		Client: ex.client, Header: &ex.head,
	}
}
