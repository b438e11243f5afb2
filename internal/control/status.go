package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"weir/health"
	"weir/internal/config"
	"weir/internal/history"
	"weir/pool"
	"weir/proxy"
)

// Status is what runs and where it comes from, for people and programs.
type Status struct {
	Version  int           `json:"version"` // 0: nothing runs yet
	Hash     string        `json:"hash"`
	Since    time.Time     `json:"since"` // the version runs
	Origin   string        `json:"origin"`
	Author   string        `json:"author,omitempty"`
	Started  time.Time     `json:"started"` // this process runs something
	Ready    bool          `json:"ready"`
	Pinned   *Pin          `json:"pinned,omitempty"`
	Frozen   *Frozen       `json:"frozen,omitempty"`
	Guard    *Guarded      `json:"guard,omitempty"`       // a change that is being watched
	Trial    *Trial        `json:"trial,omitempty"`       // a change that is tried first
	Confirm  *Unconfirmed  `json:"unconfirmed,omitempty"` // a change that is undone unless it is confirmed
	File     File          `json:"file"`
	Override []Override    `json:"overrides,omitempty"`      // what the operator has said of backends
	Restart  []Change      `json:"restart_needed,omitempty"` // settings that differ from what this process started with
	History  HistoryStatus `json:"history"`
	Traffic  proxy.Status  `json:"traffic"` // listeners, requests in flight
	Pools    []pool.Status `json:"pools"`
	Warnings []string      `json:"warnings,omitempty"` // what the operator should look at, a sentence each
}

// Pin says since when and why the file is ignored.
type Pin struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Unconfirmed is a version that is undone unless it is confirmed in time.
type Unconfirmed struct {
	Version int       `json:"version"`
	By      time.Time `json:"by"`
}

// HistoryStatus is where versions are kept, and how many are.
type HistoryStatus struct {
	Dir      string   `json:"dir"`
	Versions int      `json:"versions"`
	Damaged  []string `json:"damaged,omitempty"`
}

// Status describes this moment.
func (c *Controller) Status() Status {
	v := c.current.Load()
	if v == nil {
		return Status{File: File{Path: c.o.Path}, Pools: []pool.Status{}}
	}
	s := Status{
		Version: v.version.Number, Hash: v.version.Hash, Since: v.since,
		Origin: v.version.Origin, Author: v.version.Author, Started: v.started,
		Ready: c.o.Proxy.Ready(), File: v.file, Traffic: c.o.Proxy.Status(), Pools: poolStatus(v),
		Restart: waiting(c.boot, v.cfg),
		History: HistoryStatus{Dir: c.history.Dir(), Versions: len(c.history.List())},
	}
	if f := c.history.State().Freeze; time.Now().Before(f.Until) {
		s.Frozen = (*Frozen)(&f)
	}
	s.Override = c.Overrides()
	s.Guard = c.guarded.Load().guarded()
	if t := c.tried.Load(); t != nil && t.Ended == "" {
		s.Trial = t
	}
	if st := c.history.State(); st.Unconfirmed != 0 {
		s.Confirm = &Unconfirmed{Version: st.Unconfirmed, By: st.ConfirmBy}
	}
	if v.pin.Pinned {
		s.Pinned = &Pin{Since: v.pin.Since, Reason: v.pin.Reason}
	}
	for _, err := range c.history.Damaged() {
		s.History.Damaged = append(s.History.Damaged, err.Error())
	}
	// The watcher tells of edits, and not of a file that has gone.
	if _, err := os.Stat(c.o.Path); errors.Is(err, fs.ErrNotExist) {
		s.File.State, s.File.Problems = Missing, nil
	}
	s.Warnings = append(append(warnings(s), c.overrideWarnings()...), c.mirror.warnings()...)
	return s
}

// waiting lists the settings of now that only a restart puts in force.
func waiting(boot, now *config.Config) []Change {
	old, new := &config.Config{Admin: boot.Admin}, &config.Config{Admin: now.Admin}
	old.History.Dir, new.History.Dir = boot.History.Dir, now.History.Dir
	return plan(old, new)
}

// warnings names what is not as the operator may think.
func warnings(s Status) []string {
	var w []string
	switch s.File.State {
	case Rejected:
		w = append(w, fmt.Sprintf("%s was rejected; version %d goes on", s.File.Path, s.Version))
	case Held:
		w = append(w, fmt.Sprintf("%s was edited and is held; version %d goes on", s.File.Path, s.Version))
	case Missing:
		w = append(w, fmt.Sprintf("%s is missing; version %d goes on", s.File.Path, s.Version))
	}
	if s.Pinned != nil {
		w = append(w, fmt.Sprintf("pinned, %s is ignored: %s", s.File.Path, s.Pinned.Reason))
	}
	if s.Frozen != nil {
		w = append(w, fmt.Sprintf("%v: changes are recorded and not applied; weir thaw ends that", s.Frozen))
	}
	if s.Confirm != nil {
		w = append(w, fmt.Sprintf("version %d is undone at %s unless it is confirmed: weir confirm",
			s.Confirm.Version, s.Confirm.By.Local().Format(time.TimeOnly)))
	}
	for _, o := range s.Traffic.Circuits {
		w = append(w, fmt.Sprintf("route %s/%s: its circuit breaker is open since %s", o.Listener, o.Route, o.Since.Format(time.DateTime)))
	}
	for _, ch := range s.Restart {
		w = append(w, ch.String())
	}
	return append(w, s.History.Damaged...)
}

// Pools describes all pools, by name, and those that are no longer configured
// while requests run there.
func (c *Controller) Pools() []pool.Status {
	v := c.current.Load()
	if v == nil {
		return nil
	}
	return poolStatus(v)
}

func poolStatus(v *view) []pool.Status {
	out := make([]pool.Status, 0, len(v.pools))
	for _, name := range slices.Sorted(maps.Keys(v.pools)) {
		out = append(out, v.pools[name].Status())
	}
	for _, name := range slices.Sorted(maps.Keys(v.retired)) {
		if st := v.retired[name].Status(); len(st.Leaving) > 0 {
			out = append(out, st)
		}
	}
	return out
}

// Pool describes one pool; false if there is none of that name.
func (c *Controller) Pool(name string) (pool.Status, bool) {
	p := c.find(name)
	if p == nil {
		return pool.Status{}, false
	}
	st := p.Status()
	return st, !st.Removed || len(st.Leaving) > 0
}

// find is the pool of that name, one that is leaving included; nil if there is
// none.
func (c *Controller) find(name string) *pool.Pool {
	v := c.current.Load()
	switch {
	case v == nil:
		return nil
	case v.pools[name] != nil:
		return v.pools[name]
	}
	return v.retired[name]
}

// Heartbeat enters that a backend is there, with what it says of itself
// (health.ParseHeartbeat). It is not logged: what follows from it is, by the
// pool, if anything does. The error is a *pool.UnknownBackendError if there is no
// such pool or backend, a *pool.NoHeartbeatError, or about what is said.
func (c *Controller) Heartbeat(poolName, address, said string) (pool.Pulse, error) {
	r, err := health.ParseHeartbeat(said)
	if err != nil {
		return pool.Pulse{}, err
	}
	v := c.current.Load()
	if v == nil || v.pools[poolName] == nil {
		return pool.Pulse{}, &pool.UnknownBackendError{Pool: poolName, Address: address}
	}
	return v.pools[poolName].Heartbeat(address, r)
}

// BackendHistory is the latest changes of a backend, oldest first; nil if there is
// no such pool or backend.
func (c *Controller) BackendHistory(poolName, address string) []pool.Event {
	p := c.find(poolName)
	if p == nil {
		return nil
	}
	events, _ := p.History(address) // an unknown one has none
	return events
}

// Config returns the running version and its bytes, which are not to be
// changed; 0 before Start.
func (c *Controller) Config() (version int, source []byte) {
	v := c.current.Load()
	if v == nil {
		return 0, nil
	}
	return v.version.Number, v.source
}

// Running returns the configuration that runs; nil before Start. It is not to
// be changed.
func (c *Controller) Running() *config.Config {
	if v := c.current.Load(); v != nil {
		return v.cfg
	}
	return nil
}

// Versions lists the versions that are kept, oldest first.
func (c *Controller) Versions() []history.Version {
	if c.current.Load() == nil {
		return nil
	}
	return c.history.List()
}

// VerifyHistory reads all versions that are kept and compares them with their
// hashes: how many are right, and a sentence for each that is not.
func (c *Controller) VerifyHistory() (right int, damaged []string) {
	if c.current.Load() == nil {
		return 0, nil
	}
	right, wrong := c.history.Verify()
	for _, err := range wrong {
		damaged = append(damaged, err.Error())
	}
	return right, damaged
}

// Version returns one version and its bytes, or history.ErrNotFound.
func (c *Controller) Version(n int) (history.Version, []byte, error) {
	if c.current.Load() == nil {
		return history.Version{}, nil, fmt.Errorf("version %d: %w", n, history.ErrNotFound)
	}
	v, source, err := c.history.Get(n)
	if errors.Is(err, history.ErrNotFound) {
		err = fmt.Errorf("%w; %s", err, kept(c.history.List()))
	}
	return v, source, err
}

// Diff is what leads from version A to version B.
type Diff struct {
	A       int      `json:"a"`
	B       int      `json:"b"`       // 0: not a version
	Changes []Change `json:"changes"` // in meaning
	Lines   []string `json:"lines"`   // Changes, one line each
	Text    string   `json:"text"`    // unified, of the bytes; empty if they are equal
	Note    string   `json:"note,omitempty"`
}

// Diff compares two versions, in meaning and as text. If one cannot be read as
// a configuration any more, there is the text alone and a Note. The error is
// history.ErrNotFound for a version that is not kept.
func (c *Controller) Diff(a, b int) (Diff, error) {
	_, new, err := c.Version(b)
	if err != nil {
		return Diff{}, err
	}
	d, err := c.DiffSource(a, fmt.Sprintf("version %d", b), new)
	d.B = b
	return d, err
}

// DiffSource is Diff from version a to what source says, which is called name.
func (c *Controller) DiffSource(a int, name string, source []byte) (Diff, error) {
	_, old, err := c.Version(a)
	if err != nil {
		return Diff{}, err
	}
	d := Diff{A: a, Changes: []Change{}, Lines: []string{}}
	d.Text = unified(fmt.Sprintf("version %d", a), name, string(old), string(source))
	before, errA := config.Parse(fmt.Sprintf("version %d", a), old, c.o.Env)
	after, errB := config.Parse(name, source, c.o.Env)
	if err := errors.Join(errA, errB); err != nil {
		d.Note = "compared as text only: " + err.Error()
		return d, nil
	}
	d.Changes = append(d.Changes, plan(before, after)...)
	d.Lines = lines(d.Changes)
	return d, nil
}

// Events returns the last events, oldest first, and a function that subscribes
// to those that follow. A subscription's channel is closed when its ctx ends
// or the Controller closes; a reader that is too slow misses events. Between
// the two calls an event may come twice or, if there are many, not at all: IDs
// tell.
func (c *Controller) Events() (past []Event, subscribe func(ctx context.Context) <-chan Event) {
	return c.events.history(), c.events.subscribe
}
