package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/internal/config"
)

// Change is one difference between two configurations, in the operator's words.
type Change struct {
	Kind   string `json:"kind"` // added, removed, changed, shadowed
	What   string `json:"what"` // listener, route, pool, backend, setting
	Name   string `json:"name"` // web, web/api, api, api/10.0.0.3:80, log.level
	Detail string `json:"detail,omitempty"`
}

// String renders a change as one line: "pool api: backend 10.0.0.3:80 weight 1 -> 5".
func (c Change) String() string {
	var b strings.Builder
	owner, name, _ := strings.Cut(c.Name, "/")
	switch c.What {
	case "route":
		b.WriteString("listener " + owner + ": route " + name)
	case "backend":
		b.WriteString("pool " + owner + ": backend " + name)
	case "setting":
		b.WriteString(c.Name)
	default:
		b.WriteString(c.What + " " + c.Name)
	}
	switch {
	case c.Kind != "changed" && c.Detail != "":
		b.WriteString(" " + c.Kind + ": " + c.Detail)
	case c.Kind != "changed":
		b.WriteString(" " + c.Kind)
	case c.What == "listener" || c.What == "pool":
		b.WriteString(": " + c.Detail)
	default:
		b.WriteString(" " + c.Detail)
	}
	return b.String()
}

// lines renders a plan, one line a change.
func lines(changes []Change) []string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.String()
	}
	return out
}

// restart is what the text of a change ends in that waits for one.
const restart = " (takes effect after a restart)"

// plan says what differs from old to new, in the order of the file. It is
// empty exactly if both mean the same. old may be nil: everything is added.
// A value that pools and routes merely inherit is named once, where it is set.
func plan(old, new *config.Config) []Change {
	if old == nil {
		old = &config.Config{}
		d := *new // settings have no state before the first configuration
		d.Listeners, d.Pools = nil, nil
		old = &d
	}
	var p planner
	p.settings(old, new)
	p.listeners(old, new)
	for _, q := range new.Pools {
		p.pool(old.Pool(q.Name), q)
	}
	for _, q := range old.Pools {
		if new.Pool(q.Name) == nil {
			p.add("removed", "pool", q.Name, "")
		}
	}
	return p.changes
}

type planner struct {
	changes   []Change
	inherited map[string]bool // changes of defaults, as text without "defaults."
}

func (p *planner) add(kind, what, name, detail string) {
	p.changes = append(p.changes, Change{Kind: kind, What: what, Name: name, Detail: detail})
}

func (p *planner) settings(old, new *config.Config) {
	p.inherited = make(map[string]bool)
	for _, f := range diffFields("admin", old.Admin, new.Admin) {
		p.add("changed", "setting", f.path, f.values()+restart)
	}
	for _, f := range diffFields("history", old.History, new.History) {
		detail := f.values()
		if f.path == "history.dir" {
			detail += restart
		}
		p.add("changed", "setting", f.path, detail)
	}
	own := slices.Concat(diffFields("guard", old.Guard, new.Guard), diffFields("log", old.Log, new.Log), diffFields("record", old.Record, new.Record))
	for _, f := range own {
		p.add("changed", "setting", f.path, f.values())
	}
	for _, f := range diffFields("", old.Defaults, new.Defaults) {
		p.inherited[f.String()] = true
		p.add("changed", "setting", "defaults."+f.path, f.values())
	}
}

func (p *planner) listeners(old, new *config.Config) {
	byName := make(map[string]*config.Listener)
	for i := range old.Listeners {
		byName[old.Listeners[i].Name] = &old.Listeners[i]
	}
	// What a route inherits from its pool is that pool's change, not its own.
	fromPool := make(map[string]map[string]bool)
	for _, q := range new.Pools {
		if o := old.Pool(q.Name); o != nil {
			fromPool[q.Name] = textSet(diffFields("", poolWithoutBackends(*o), poolWithoutBackends(q)))
		}
	}
	for _, l := range new.Listeners {
		o := byName[l.Name]
		delete(byName, l.Name)
		if o == nil {
			p.add("added", "listener", l.Name, fmt.Sprintf("%s, %s", l.Address, count(len(l.Routes), "route")))
		} else {
			p.listener(*o, l, fromPool)
		}
		p.shadowed(o, l)
	}
	for _, o := range old.Listeners {
		if byName[o.Name] != nil {
			p.add("removed", "listener", o.Name, o.Address)
		}
	}
}

func (p *planner) listener(old, new config.Listener, fromPool map[string]map[string]bool) {
	routes, before := new.Routes, old.Routes
	old.Routes, new.Routes = nil, nil
	fields := diffFields("", old, new)
	fromListener := textSet(fields) // nor is what it inherits from its listener
	details := text(fields, func(s string) bool { return p.inherited[s] })
	name := func(r config.Route) string { return r.Name }
	was, is := places(before, name), places(routes, name)
	if reordered(routes, name, was) {
		details = append(details, "routes reordered")
	}
	if len(details) > 0 {
		p.add("changed", "listener", new.Name, strings.Join(details, ", "))
	}
	for _, r := range routes {
		i, both := was[r.Name]
		if !both {
			p.add("added", "route", new.Name+"/"+r.Name, action(r))
			continue
		}
		known := func(s string) bool {
			return p.inherited[s] || fromListener[s] || before[i].Pool == r.Pool && fromPool[r.Pool][s]
		}
		if d := text(diffFields("", before[i], r), known); len(d) > 0 {
			p.add("changed", "route", new.Name+"/"+r.Name, strings.Join(d, ", "))
		}
	}
	for _, o := range before {
		if _, both := is[o.Name]; !both {
			p.add("removed", "route", new.Name+"/"+o.Name, "")
		}
	}
}

// shadowed names the routes of new that get no request any more, or never one,
// because an earlier route gets all that they match. old may be nil.
func (p *planner) shadowed(old *config.Listener, new config.Listener) {
	before := make(map[string]bool)
	if old != nil {
		for k := range old.Shadowed() {
			before[old.Routes[k].Name] = true
		}
	}
	by := new.Shadowed()
	for _, k := range slices.Sorted(maps.Keys(by)) {
		if name := new.Routes[k].Name; !before[name] {
			p.add("shadowed", "route", new.Name+"/"+name, fmt.Sprintf("it gets no requests, route %s comes first and matches all of them", new.Routes[by[k]].Name))
		}
	}
}

func (p *planner) pool(old *config.Pool, new config.Pool) {
	if old == nil {
		p.add("added", "pool", new.Name, fmt.Sprintf("%s, %s", count(len(new.Backends), "backend"), new.Balance))
		return
	}
	known := func(s string) bool { return p.inherited[s] }
	details := text(diffFields("", poolWithoutBackends(*old), poolWithoutBackends(new)), known)
	address := func(b config.Backend) string { return b.Address }
	was, is := places(old.Backends, address), places(new.Backends, address)
	if reordered(new.Backends, address, was) {
		details = append(details, "backends reordered")
	}
	if len(details) > 0 {
		p.add("changed", "pool", new.Name, strings.Join(details, ", "))
	}
	for _, b := range new.Backends {
		i, both := was[b.Address]
		if !both {
			p.add("added", "backend", new.Name+"/"+b.Address, fmt.Sprintf("weight %d", b.Weight))
		} else if d := text(diffFields("", old.Backends[i], b), nil); len(d) > 0 {
			p.add("changed", "backend", new.Name+"/"+b.Address, strings.Join(d, ", "))
		}
	}
	for _, o := range old.Backends {
		if _, both := is[o.Address]; !both {
			p.add("removed", "backend", new.Name+"/"+o.Address, "")
		}
	}
}

func poolWithoutBackends(p config.Pool) config.Pool {
	p.Backends = nil
	return p
}

// places is where each name stands in a list.
func places[T any](list []T, name func(T) string) map[string]int {
	at := make(map[string]int, len(list))
	for i, l := range list {
		at[name(l)] = i
	}
	return at
}

// reordered tells whether what the list has in common with an older one, whose
// places are was, stands in another order.
func reordered[T any](list []T, name func(T) string, was map[string]int) bool {
	last := -1
	for _, l := range list {
		i, both := was[name(l)]
		if !both {
			continue
		}
		if i < last {
			return true
		}
		last = i
	}
	return false
}

// action says in short what a route does.
func action(r config.Route) string {
	switch {
	case r.Redirect != nil:
		return fmt.Sprintf("redirect to %s", r.Redirect.To)
	case r.Respond != nil:
		return fmt.Sprintf("respond %d", r.Respond.Status)
	}
	return "to pool " + r.Pool
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
