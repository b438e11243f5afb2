package control

import (
	"fmt"
	"strings"
	"time"

	"weir/internal/config"
	"weir/pool"
)

// Impact is whom a change touches at this moment, and what becomes of them.
// Everybody else goes on as if there were no change.
type Impact struct {
	Connections int    `json:"connections"` // of clients
	Requests    int    `json:"requests"`    // in flight
	Streams     int    `json:"streams"`     // WebSockets, streams of events: of the requests, or the connections
	Then        string `json:"then"`
}

// String renders an impact for the end of a line.
func (i *Impact) String() string {
	var parts []string
	if i.Connections > 0 {
		parts = append(parts, count(i.Connections, "connection"))
	}
	if i.Requests > 0 {
		parts = append(parts, count(i.Requests, "request")+" in flight")
	}
	if len(parts) == 0 {
		return "nobody uses it now"
	}
	text := strings.Join(parts, ", ")
	if i.Streams > 0 {
		text += fmt.Sprintf(" (%s)", count(i.Streams, "stream"))
	}
	return text + ": " + i.Then
}

// changeOf names a change: listener web, backend api/10.0.0.3:80.
type changeOf struct{ what, name string }

// impacts finds whom the way from what runs to cfg touches: the clients of
// listeners that close, and what runs on routes and backends that leave.
func (c *Controller) impacts(run *view, cfg *config.Config) map[changeOf]*Impact {
	out := make(map[changeOf]*Impact)
	c.closedListeners(run.cfg, cfg, out)
	c.leftRoutes(run.cfg, cfg, out)
	for name, p := range run.pools {
		next, old := cfg.Pool(name), run.cfg.Pool(name)
		left := leavers(p.Status(), next)
		if len(left) == 0 {
			continue
		}
		drain := old.Drain.Timeout
		if next != nil {
			drain = next.Drain.Timeout
		}
		whole := &Impact{Then: within(drain)}
		for _, b := range left {
			i := &Impact{Requests: b.InFlight, Streams: b.Streams, Then: within(drain)}
			whole.Requests += i.Requests
			whole.Streams += i.Streams
			if next != nil {
				out[changeOf{"backend", name + "/" + b.Address}] = i
			}
		}
		if next == nil {
			out[changeOf{"pool", name}] = whole
		}
	}
	return out
}

// leavers are the backends of a pool that next, nil for none, does not list.
func leavers(st pool.Status, next *config.Pool) []pool.BackendStatus {
	stays := make(map[string]bool)
	if next != nil {
		for _, b := range next.Backends {
			stays[b.Address] = true
		}
	}
	var out []pool.BackendStatus
	for _, b := range st.Backends {
		if !stays[b.Address] {
			out = append(out, b)
		}
	}
	return out
}

// within says how long what runs on a backend that leaves may go on.
func within(drain time.Duration) string {
	if drain == 0 {
		return "they go on until they end"
	}
	return "they have " + inWords(drain) + " to end (drain.timeout)"
}

// closedListeners finds the sockets that close. A listener with another name, or another
// listener with the address, keeps one open.
func (c *Controller) closedListeners(old, new *config.Config, out map[changeOf]*Impact) {
	open := make(map[string]bool)
	for i := range new.Listeners {
		open[socketOf(&new.Listeners[i])] = true
	}
	traffic := c.o.Proxy.Status().Listeners
	for i := range old.Listeners {
		l := &old.Listeners[i]
		if open[socketOf(l)] {
			continue
		}
		for _, st := range traffic {
			if st.Name == l.Name && !st.Draining {
				out[changeOf{"listener", l.Name}] = &Impact{Connections: st.Connections, Streams: st.Tunnels, Requests: c.inFlight(l),
					Then: "idle ones are closed, requests are answered first, streams go on until they end"}
			}
		}
	}
}

// inFlight is how many requests came over a listener and are not answered yet.
func (c *Controller) inFlight(l *config.Listener) int {
	n := c.o.Metrics.Route(l.Name, "").InFlight() // on their way to a route
	for i := range l.Routes {
		n += c.o.Metrics.Route(l.Name, l.Routes[i].Name).InFlight()
	}
	return n
}

// leftRoutes finds what runs on routes that go from listeners that stay.
func (c *Controller) leftRoutes(old, new *config.Config, out map[changeOf]*Impact) {
	stays, listens := make(map[routeName]bool), make(map[string]bool)
	for i := range new.Listeners {
		listens[new.Listeners[i].Name] = true
	}
	eachRoute(new, func(n routeName, _ *config.Listener, _ *config.Route) { stays[n] = true })
	eachRoute(old, func(n routeName, _ *config.Listener, _ *config.Route) {
		if listens[n.listener] && !stays[n] {
			out[changeOf{"route", n.String()}] = &Impact{
				Requests: c.o.Metrics.Route(n.listener, n.route).InFlight(), Then: "they are answered as they began",
			}
		}
	})
}

// socketOf is a listener's identity, as the proxy sees it: its address, with its
// name where the system picks the port.
func socketOf(l *config.Listener) string {
	if strings.HasSuffix(l.Address, ":0") {
		return l.Name + "@" + l.Address
	}
	return l.Address
}

// inWords is a duration without the zeros at its end: 5m, not 5m0s.
func inWords(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
