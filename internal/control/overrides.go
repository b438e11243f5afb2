package control

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/pool"
)

// What an Override is about.
const (
	OverrideAdmin  = "admin"  // Value is drain or maintenance
	OverrideWeight = "weight" // Value is the weight
)

const (
	overridesName   = "overrides.json" // beside the versions
	absentKept      = 24 * time.Hour   // overrides of a backend that is not configured any more; a rollback may bring it back
	longestOverride = 365 * 24 * time.Hour
)

// Override is something that the operator has said of a backend while Weir ran,
// and that counts instead of the configuration. It is no part of it: it survives
// changes, rollbacks and restarts, until it is lifted or its time is over.
type Override struct {
	Pool    string    `json:"pool"`
	Backend string    `json:"backend"` // its address, as written
	What    string    `json:"what"`    // admin, weight
	Value   string    `json:"value"`
	By      string    `json:"by,omitempty"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"` // it ends then by itself; zero: it does not
	Why     string    `json:"why,omitempty"`

	// Absent is since when the configuration has no such backend. The override
	// rests, and counts again should the backend come back within a day.
	Absent time.Time `json:"absent_since,omitzero"`
}

// String says what is overridden: pool/address: admin drain.
func (o Override) String() string {
	return fmt.Sprintf("%s/%s: %s %s", o.Pool, o.Backend, o.What, o.Value)
}

func (o Override) same(b Override) bool {
	return o.Pool == b.Pool && o.Backend == b.Backend && o.What == b.What
}

func compareOverrides(a, b Override) int {
	return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.What, b.What))
}

// Lasting is how long an override lasts, and why it is there.
type Lasting struct {
	For    time.Duration  // 0: until it is lifted
	Within *time.Duration // of a drain: how long what runs may go on, 0 for ever; nil: as the pool says
	Why    string
}

// overrides are all there are. Whoever sets one does it on its own goroutine and
// does not wait for a change of the configuration that is under way.
type overrides struct {
	mu     sync.Mutex // held while one is set, put in force and recorded
	list   []Override // by pool, backend and what
	trial  []*pool.Pool
	unkept error     // why the list is not on the disk as it is; nil: it is
	again  time.Time // when to try that again
	closed bool
}

// overridable is a *pool.Pool, or a *pool.Staged on its way there.
type overridable interface {
	Mark(address string, a pool.Admin) error
	SetWeight(address string, weight int) error
}

// put makes a backend be as o says, or as the configuration says if value is "".
func (o Override) put(p overridable, value string) error {
	if o.What == OverrideWeight {
		weight := pool.Configured
		if value != "" {
			n, err := strconv.Atoi(value)
			if err != nil {
				return fmt.Errorf("weight %q is not a number", value)
			}
			weight = n
		}
		return p.SetWeight(o.Backend, weight)
	}
	admin := pool.Ready
	if value != "" {
		if err := admin.UnmarshalText([]byte(value)); err != nil {
			return err
		}
	}
	return p.Mark(o.Backend, admin)
}

// putWithin is put of its own value, with a deadline for what runs.
func (o Override) putWithin(p *pool.Pool, within *time.Duration) error {
	if within == nil || o.What != OverrideAdmin {
		return o.put(p, o.Value)
	}
	var admin pool.Admin
	if err := admin.UnmarshalText([]byte(o.Value)); err != nil {
		return err
	}
	return p.MarkWithin(o.Backend, admin, *within)
}

// override puts o in force and records it; with no Value it lifts it. That it is
// in force and cannot be recorded is no error: a status says so.
func (c *Controller) override(o Override, l Lasting, origin Origin) error {
	switch {
	case l.For < 0 || l.For > longestOverride:
		return fmt.Errorf("%w: for %v; want a time up to %v, or none", ErrWrongTime, l.For, longestOverride)
	case l.For > 0 && o.Value == "":
		return fmt.Errorf("%w: what the configuration says needs no end", ErrWrongTime)
	}
	o.By, o.Why, o.Since = origin.Author, l.Why, time.Now().UTC().Truncate(time.Millisecond)
	if l.For > 0 {
		o.Until = o.Since.Add(l.For)
	}
	s := &c.overrides
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	p := c.find(o.Pool)
	if p == nil {
		return &pool.UnknownBackendError{Pool: o.Pool, Address: o.Backend}
	}
	if err := o.putWithin(p, l.Within); err != nil {
		return err
	}
	if v := c.current.Load(); v.cfg.Pool(o.Pool) == nil || !lists(v, o.Pool, o.Backend) {
		return nil // it has left: only its deadline has moved
	}
	had := len(s.list)
	s.list = slices.DeleteFunc(slices.Clone(s.list), o.same)
	if o.Value == "" && len(s.list) == had {
		return nil // it was so
	}
	c.putTrial(o, o.Value)
	what := "lifted"
	if o.Value != "" {
		what = "set"
		s.list = append(s.list, o)
		slices.SortFunc(s.list, compareOverrides)
	}
	c.keepOverrides()
	c.tellOverride(o, what, origin)
	c.poke()
	return nil
}

// putTrial does the same to the pools of a trial, as far as they have the backend.
// s.mu is held, as for all that follow.
func (c *Controller) putTrial(o Override, value string) {
	for _, p := range c.overrides.trial {
		if p.Name() == o.Pool {
			_ = o.put(p, value) // one that it does not have needs nothing
		}
	}
}

// keepOverrides records the list, and shows how many there are.
func (c *Controller) keepOverrides() {
	s := &c.overrides
	c.showOverrides()
	data, err := json.MarshalIndent(map[string][]Override{"overrides": append([]Override{}, s.list...)}, "", "  ")
	if err == nil {
		err = c.history.Keep(overridesName, append(data, '\n'))
	}
	if err != nil && s.unkept == nil {
		c.log.Error("overrides are in force and not recorded: a restart forgets them", zap.Error(err))
	}
	s.unkept, s.again = err, time.Now().Add(undoAgain)
}

func (c *Controller) showOverrides() {
	n := map[string]int{OverrideAdmin: 0, OverrideWeight: 0}
	for _, o := range c.overrides.list {
		n[o.What]++
	}
	for what, n := range n {
		c.gauges.overrides.WithLabelValues(what).Set(float64(n))
	}
}

func (c *Controller) tellOverride(o Override, what string, origin Origin) {
	c.log.Info("override "+what, zap.String("pool", o.Pool), zap.String("backend", o.Backend), zap.String(o.What, o.Value),
		zap.Time("until", o.Until), zap.String("why", o.Why), zap.String("origin", origin.Kind), zap.String("author", origin.Author))
	cause := o.What
	if o.Value != "" {
		cause += " " + o.Value
	}
	if o.Why != "" {
		cause += ": " + o.Why
	}
	c.events.send(Event{Kind: "override", What: what, Pool: o.Pool, Backend: o.Backend, Cause: cause, Origin: origin.Kind, Author: origin.Author})
}

// loadOverrides reads what an earlier process recorded. What has ended since then
// is not put in force any more.
func (c *Controller) loadOverrides(now time.Time) {
	s := &c.overrides
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := c.history.Kept(overridesName)
	if errors.Is(err, fs.ErrNotExist) {
		c.showOverrides()
		return
	}
	var kept struct {
		Overrides []Override `json:"overrides"`
	}
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil {
		s.unkept, s.again = fmt.Errorf("%s is damaged, no override of before counts: %w", overridesName, err), now.Add(absentKept)
		c.log.Error("overrides", zap.Error(s.unkept))
	}
	s.list = kept.Overrides
	slices.SortFunc(s.list, compareOverrides)
	c.showOverrides()
	c.expireOverrides(now)
}

// enforce commits specs and puts the overrides in force in pools that are about to
// be what runs. Those of backends that are not there rest. Nobody may lift one
// between the two: of a backend that is on its way in it would stay.
func (c *Controller) enforce(specs []*pool.Staged, pools map[string]*pool.Pool) {
	s := &c.overrides
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range specs {
		for _, o := range s.list {
			if o.Pool == st.Pool().Name() {
				_ = o.put(st, o.Value) // it rests, if the backend is not there
			}
		}
		st.Commit()
	}
	changed := false
	now := time.Now().UTC().Truncate(time.Millisecond)
	s.list = slices.Clone(s.list)
	for i := range s.list {
		o := &s.list[i]
		err := error(&pool.UnknownBackendError{Pool: o.Pool, Address: o.Backend})
		if p := pools[o.Pool]; p != nil {
			err = o.put(p, o.Value) // where it is in force already that does nothing
		}
		switch absent := !o.Absent.IsZero(); {
		case err != nil && !absent:
			o.Absent, changed = now, true
			c.log.Warn("override rests: the backend is not configured any more", zap.Stringer("override", o), zap.Error(err))
		case err == nil && absent:
			o.Absent, changed = time.Time{}, true
			c.log.Info("override counts again: the backend is back", zap.Stringer("override", o))
		}
	}
	if changed {
		c.keepOverrides()
	}
}

// enforceTrial does that for the pools that a trial has for itself; none ends it.
func (c *Controller) enforceTrial(pools []*pool.Pool) {
	s := &c.overrides
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trial = pools
	for _, o := range s.list {
		c.putTrial(o, o.Value)
	}
}

// overridesTick ends overrides whose time is over, and records again what could
// not be recorded.
func (c *Controller) overridesTick(now time.Time) {
	s := &c.overrides
	s.mu.Lock()
	defer s.mu.Unlock()
	c.expireOverrides(now)
	if s.unkept != nil && !now.Before(s.again) {
		c.keepOverrides()
	}
}

func (c *Controller) expireOverrides(now time.Time) {
	c.dropOverrides(func(o Override) (how string) {
		switch {
		case !o.Until.IsZero() && !now.Before(o.Until):
			return "expired"
		case !o.Absent.IsZero() && now.Sub(o.Absent) >= absentKept:
			return "dropped"
		}
		return ""
	}, Origin{})
}

// dropOverrides lifts those that how has a word for, and returns how many.
func (c *Controller) dropOverrides(how func(Override) string, origin Origin) int {
	s := &c.overrides
	var stay, gone []Override
	for _, o := range s.list {
		if how(o) == "" {
			stay = append(stay, o)
		} else {
			gone = append(gone, o)
		}
	}
	if len(gone) == 0 {
		return 0
	}
	s.list = stay
	v := c.current.Load()
	for _, o := range gone {
		if v != nil && v.pools[o.Pool] != nil {
			_ = o.put(v.pools[o.Pool], "") // one that is absent needs nothing
		}
		c.putTrial(o, "")
		c.tellOverride(o, how(o), origin)
	}
	c.keepOverrides()
	return len(gone)
}

// overridesDue is when the next override ends; zero: none does.
func (c *Controller) overridesDue() (due time.Time) {
	s := &c.overrides
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.list {
		if !o.Until.IsZero() && (due.IsZero() || o.Until.Before(due)) {
			due = o.Until
		}
	}
	return due
}

// Overrides lists what the operator has said of backends, by pool and backend.
func (c *Controller) Overrides() []Override {
	s := &c.overrides
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// ClearOverrides lifts the overrides of one backend, or with two empty names all
// there are, and returns how many that were. The error is a
// *pool.UnknownBackendError if the backend is not known and has none.
func (c *Controller) ClearOverrides(poolName, address string, o Origin) (int, error) {
	s := &c.overrides
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	n := c.dropOverrides(func(x Override) string {
		if poolName == "" || x.Pool == poolName && x.Backend == address {
			return "lifted"
		}
		return ""
	}, o)
	if v := c.current.Load(); n == 0 && poolName != "" && (v == nil || v.cfg.Pool(poolName) == nil || !lists(v, poolName, address)) {
		return 0, &pool.UnknownBackendError{Pool: poolName, Address: address}
	}
	return n, nil
}

func lists(v *view, poolName, address string) bool {
	for _, b := range v.cfg.Pool(poolName).Backends {
		if b.Address == address {
			return true
		}
	}
	return false
}

// Mark sets the administrative state of a backend and returns once new
// requests respect it. It is an Override, not a version. The error is a
// *pool.UnknownBackendError if there is no such pool or backend.
func (c *Controller) Mark(poolName, address string, a pool.Admin, o Origin) error {
	return c.MarkFor(poolName, address, a, Lasting{}, o)
}

// MarkFor is Mark with an end or a reason. The error may be ErrWrongTime, too.
func (c *Controller) MarkFor(poolName, address string, a pool.Admin, l Lasting, o Origin) error {
	ov := Override{Pool: poolName, Backend: address, What: OverrideAdmin}
	if a != pool.Ready {
		ov.Value = a.String()
	}
	return c.override(ov, l, o)
}

// MarkWithin is Mark with another deadline than the pool's for what runs on the
// backend, 0 for none. It moves that of a drain that goes on, also of a backend
// that is no longer configured.
func (c *Controller) MarkWithin(poolName, address string, a pool.Admin, timeout time.Duration, o Origin) error {
	return c.MarkFor(poolName, address, a, Lasting{Within: &timeout}, o)
}

// Weigh gives a backend another weight than the configured one, until it is
// pool.Configured again. Like Mark it is an Override. The error is a
// *pool.UnknownBackendError, or about the weight.
func (c *Controller) Weigh(poolName, address string, weight int, o Origin) error {
	return c.WeighFor(poolName, address, weight, Lasting{}, o)
}

// WeighFor is Weigh with an end or a reason. The error may be ErrWrongTime, too.
func (c *Controller) WeighFor(poolName, address string, weight int, l Lasting, o Origin) error {
	ov := Override{Pool: poolName, Backend: address, What: OverrideWeight}
	if weight != pool.Configured {
		ov.Value = strconv.Itoa(weight)
	}
	return c.override(ov, l, o)
}

// closeOverrides ends the changing of them: the history is about to be another's.
func (c *Controller) closeOverrides() {
	c.overrides.mu.Lock()
	c.overrides.closed = true
	c.overrides.mu.Unlock()
}

// overrideWarnings are what the operator should know about the record of them.
func (c *Controller) overrideWarnings() []string {
	s := &c.overrides
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unkept == nil {
		return nil
	}
	return []string{"overrides: what is in force is not recorded, a restart forgets it: " + s.unkept.Error()}
}
