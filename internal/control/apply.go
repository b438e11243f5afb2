package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"weir/internal/config"
	"weir/internal/history"
)

const (
	probeRound    = 3 * time.Second // that new backends may take for a first probe
	rollbackRound = time.Second     // the same in a rollback: somebody is waiting for it to end

	maxFile = 64 << 20 // bytes of a file that are read; what is too long is for Parse to say
)

// change is a configuration that has been parsed, and how it is to be recorded.
type change struct {
	source []byte
	cfg    *config.Config
	before *compiled       // an earlier run of it
	meta   history.Version // what Append does not assign; with a Number: it exists, and is only run
	pin    history.State   // what holds for the file afterwards
	round  time.Duration   // at most, for first probes

	guarded   bool          // what it does to traffic is watched
	confirmIn time.Duration // 0: it need not be confirmed
}

// apply carries source through the life of a change. fromFile says that it is
// what is on disk now.
func (c *Controller) apply(ctx context.Context, source []byte, o Origin, fromFile bool, opts ApplyOptions) Verdict {
	began := time.Now()
	cfg, err := config.Parse(c.o.Path, source, c.o.Env)
	if err != nil {
		return c.reject(source, o, fromFile, err)
	}
	run := c.current.Load()
	hash := history.Hash(source)
	disk := c.disk(source, fromFile)
	if hash == run.version.Hash {
		return c.unchanged(disk, o)
	}
	if bad := undone(c.history.List(), hash); bad != nil && !opts.Force {
		return c.refuseUndone(*bad, disk, o, fromFile)
	}
	if !opts.Force && c.frozen(began) {
		return c.hold(disk, source, hash, o, fromFile)
	}
	if c.trial != nil {
		return c.fail(disk, o, fromFile, errTrial)
	}
	v, err := c.carry(ctx, change{
		source: source, cfg: cfg, round: probeRound,
		meta: history.Version{Origin: o.Kind, Author: o.Author},
		pin:  run.pinAgainst(disk, hash, "another configuration than the file's was applied"+by(o)),

		guarded: !opts.NoGuard, confirmIn: opts.Confirm,
	}, disk)
	if err != nil {
		return c.fail(disk, o, fromFile, err)
	}
	verdict := c.report(run, plan(run.cfg, cfg), v, o, began)
	verdict.Warnings = c.introduced(run, cfg, source)
	return verdict
}

// applyTried is apply for a change that is tried first.
func (c *Controller) applyTried(ctx context.Context, source []byte, o Origin, opts ApplyOptions) (Verdict, error) {
	cfg, err := config.Parse(c.o.Path, source, c.o.Env)
	if err != nil {
		return c.reject(source, o, false, err), nil
	}
	if hash := history.Hash(source); hash == c.current.Load().version.Hash {
		return c.unchanged(c.disk(source, false), o), nil
	} else if bad := undone(c.history.List(), hash); bad != nil && !opts.Force {
		return c.refuseUndone(*bad, file{}, o, false), nil
	}
	if !opts.Force && c.frozen(time.Now()) {
		return c.hold(file{}, source, history.Hash(source), o, false), nil
	}
	return c.try(ctx, source, cfg, o, opts)
}

// carry takes ch from prepare to commit and publishes it. An error means that
// nothing has changed. disk is what the file holds.
func (c *Controller) carry(ctx context.Context, ch change, disk file) (history.Version, error) {
	s, err := c.stage(ch.cfg, ch.before)
	if err != nil {
		return history.Version{}, err
	}
	round, cancel := context.WithTimeout(ctx, ch.round)
	s.wait(round)
	cancel()
	v, err := c.record(ch)
	if err != nil {
		s.discard()
		return history.Version{}, err
	}
	var w *watch
	if ch.guarded {
		w = c.watchFrom(c.current.Load(), ch.cfg) // its "before" ends here
	}
	began := time.Now()
	s.commit(v.Number, c.enforce)
	c.committed = time.Since(began)
	c.publish(ch, s, v, disk)
	c.watch(w, v.Number)
	return v, nil
}

// record makes ch a version. The pin is written before it: should a crash come
// in between, the file is ignored with nothing to show for it, which is better
// than a file that undoes a rollback.
func (c *Controller) record(ch change) (history.Version, error) {
	before := c.history.State()
	v := ch.meta
	if v.Number == 0 {
		c.retain(ch.cfg)
		st := ch.pin
		st.Running, st.Freeze = before.Running, before.Freeze
		if st.Pinned {
			if err := c.restore(st); err != nil {
				return history.Version{}, unrecorded{err}
			}
		}
		var err error
		if v, err = c.history.Append(v, ch.source); err != nil {
			return history.Version{}, unrecorded{errors.Join(err, c.restore(before))}
		}
	}
	st := ch.pin
	st.Running, st.Freeze = v.Number, before.Freeze
	switch {
	case ch.confirmIn > 0:
		st.Unconfirmed, st.ConfirmBy = v.Number, time.Now().UTC().Add(ch.confirmIn).Truncate(time.Millisecond)
	case ch.meta.Number != 0: // a start: what waited waits on
		st.Unconfirmed, st.ConfirmBy = before.Unconfirmed, before.ConfirmBy
	}
	if err := c.restore(st); err != nil {
		// The version exists and is the newest: a restart runs it all the same.
		c.log.Warn("configuration state is not recorded", zap.Error(err))
	}
	return v, nil
}

// unrecorded marks an error of the history: the configuration itself may be right.
type unrecorded struct{ error }

// Unwrap is the history's error.
func (u unrecorded) Unwrap() error { return u.error }

// restore makes st the recorded state, if it is not that already.
func (c *Controller) restore(st history.State) error {
	if st == c.history.State() {
		return nil
	}
	return c.history.SetState(st)
}

// publish shows readers what has been committed.
func (c *Controller) publish(ch change, s *stage, v history.Version, disk file) {
	now := time.Now()
	next := &view{
		version: v, source: ch.source, cfg: ch.cfg, pools: s.pools, keys: s.keys, retired: s.retired(),
		since: now, started: now, pin: ch.pin,
		file: c.fileStatus(disk, ch.pin, v.Hash),
	}
	old := c.current.Load()
	if old != nil {
		next.started = old.started
	}
	c.current.Store(next)
	c.remember(v.Hash, s)
	c.follow(ch.cfg)
	c.gauges.version.Set(float64(v.Number))
	c.gauges.last.Set(float64(now.UnixMilli()) / 1000)
	c.notePin(old, ch.pin)
}

// retain makes what is kept of the history what cfg says.
func (c *Controller) retain(cfg *config.Config) {
	c.history.SetKeep(cfg.History.Keep)
	c.history.SetMaxAge(cfg.History.MaxAge)
}

// follow adopts the settings that are control's own.
func (c *Controller) follow(cfg *config.Config) {
	c.retain(cfg) // at a start there is no new version, which does it
	c.mirror.poke()
	if c.o.Level == nil {
		return
	}
	if level, err := zapcore.ParseLevel(cfg.Log.Level); err == nil { // config has checked it
		c.o.Level.SetLevel(level)
	}
}

// unchanged is the verdict on the bytes that run already. If they are the
// file's as well, there is nothing left to ignore in it.
func (c *Controller) unchanged(disk file, o Origin) Verdict {
	old := c.current.Load()
	next := *old
	if disk.hash == old.version.Hash {
		next.pin = history.State{}
		next.file = c.fileStatus(disk, next.pin, old.version.Hash)
	}
	c.current.Store(&next)
	st := next.pin
	st.Running = old.version.Number
	before := c.history.State()
	st.Unconfirmed, st.ConfirmBy, st.Freeze = before.Unconfirmed, before.ConfirmBy, before.Freeze
	if err := c.restore(st); err != nil {
		c.log.Warn("configuration state is not recorded", zap.Error(err))
	}
	c.notePin(old, next.pin)
	if o.Kind != "file" {
		c.log.Info("configuration unchanged", originFields(o, old.version.Number)...)
	}
	n := old.version.Number
	return Verdict{Result: Unchanged, Version: n, Previous: n}
}

// undone is the version with these bytes that the guard has undone, if that is
// the last word on them.
func undone(versions []history.Version, hash string) *history.Version {
	n := condemned(versions, hash)
	for i := range versions {
		if v := &versions[i]; v.Number == n && v.Guard != nil && v.Guard.Verdict == Bad {
			return v
		}
	}
	return nil
}

// refuseUndone is the verdict on bytes that have done harm before.
func (c *Controller) refuseUndone(bad history.Version, disk file, o Origin, fromFile bool) Verdict {
	v := c.refuse(fmt.Sprintf("these are the bytes of version %d, which the guard has undone (%s); change them, or apply them with --force",
		bad.Number, bad.Guard.Why))
	if fromFile {
		c.showRejected(disk.source, nil, v.Message)
	}
	c.gauges.applies.WithLabelValues(Rejected).Inc()
	c.log.Error("configuration rejected, nothing has changed", append(originFields(o, v.Version), zap.String("cause", v.Message))...)
	c.events.send(Event{Kind: Rejected, Version: v.Version, Origin: o.Kind, Author: o.Author, Cause: v.Message})
	return v
}

// reject is the verdict on bytes that do not parse: every problem is logged,
// and shown in the status if it is the file that is wrong.
func (c *Controller) reject(source []byte, o Origin, fromFile bool, err error) Verdict {
	var problems config.Problems
	errors.As(err, &problems)
	v := c.refuse("")
	v.Problems = problems
	if fromFile {
		c.showRejected(source, problems, "")
	}
	c.gauges.applies.WithLabelValues(Rejected).Inc()
	c.log.Error("configuration rejected, nothing has changed",
		append(originFields(o, v.Version), zap.Int("problems", len(problems)))...)
	c.logProblems(problems)
	c.events.send(Event{Kind: Rejected, Version: v.Version, Origin: o.Kind, Author: o.Author, Cause: err.Error()})
	return v
}

func (c *Controller) logProblems(problems config.Problems) {
	for _, p := range problems {
		c.log.Error("configuration problem", zap.String("file", p.File), zap.Int("line", p.Line),
			zap.Int("column", p.Column), zap.String("path", p.Path), zap.String("problem", p.Message), zap.String("fix", p.Fix))
	}
}

// fail is the verdict on a configuration that is right and could not be put in
// force.
func (c *Controller) fail(disk file, o Origin, fromFile bool, err error) Verdict {
	v := c.refuse(err.Error())
	v.Result = Failed
	if fromFile {
		c.showRejected(disk.source, nil, err.Error())
	}
	c.gauges.applies.WithLabelValues(Rejected).Inc()
	c.log.Error("configuration could not be put in force, nothing has changed",
		append(originFields(o, v.Version), zap.Error(err))...)
	c.events.send(Event{Kind: Failed, Version: v.Version, Origin: o.Kind, Author: o.Author, Cause: err.Error()})
	return v
}

// refuse is a verdict that leaves everything as it is.
func (c *Controller) refuse(message string) Verdict {
	n := c.current.Load().version.Number
	return Verdict{Result: Rejected, Version: n, Previous: n, Message: message}
}

// report tells once, everywhere, that v has replaced run.
func (c *Controller) report(run *view, changes []Change, v history.Version, o Origin, began time.Time) Verdict {
	took := time.Since(began)
	verdict := Verdict{
		Result: Applied, Version: v.Number, Previous: run.version.Number,
		Plan: changes, TookMS: milliseconds(took), CommitMS: milliseconds(c.committed),
	}
	if len(changes) == 0 {
		verdict.Message = "it means the same as before"
	}
	if w := c.guard.watch; w != nil {
		verdict.Watched = w.until
	}
	if st := c.history.State(); st.Unconfirmed == v.Number {
		verdict.ConfirmBy = st.ConfirmBy
	}
	c.gauges.applies.WithLabelValues(result(v)).Inc()
	c.log.Info("configuration applied", append(originFields(o, v.Number),
		zap.Int("previous", run.version.Number), zap.Duration("took", took), zap.Duration("commit", c.committed), zap.Strings("plan", lines(changes)))...)
	c.events.send(Event{Kind: result(v), Version: v.Number, Origin: o.Kind, Author: o.Author})
	return verdict
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func result(v history.Version) string {
	if v.RollbackOf != 0 {
		return history.RolledBack
	}
	return Applied
}

func originFields(o Origin, version int) []zap.Field {
	fields := []zap.Field{zap.Int("version", version), zap.String("origin", o.Kind)}
	if o.Author != "" {
		fields = append(fields, zap.String("author", o.Author))
	}
	return fields
}

func by(o Origin) string {
	if o.Author == "" {
		return ""
	}
	return " by " + o.Author
}

// file is what the configuration file holds at one moment.
type file struct {
	source []byte
	hash   string // empty if it cannot be read
	err    error
}

// disk is the file as it is now. fromFile says that source was just read from it.
func (c *Controller) disk(source []byte, fromFile bool) file {
	if fromFile {
		return file{source: source, hash: history.Hash(source)}
	}
	return readFile(c.o.Path)
}

func readFile(path string) file {
	f, err := os.Open(path)
	if err != nil {
		return file{err: err}
	}
	defer f.Close()
	source, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return file{err: fmt.Errorf("read %s: %w", path, err)}
	}
	return file{source: source, hash: history.Hash(source)}
}

// pinAgainst is the pin that keeps the file from replacing what has hash. There
// is none if the file says the same, or does not exist: one that appears later
// is an edit. One that holds already goes on, for another reason.
func (v *view) pinAgainst(disk file, hash, reason string) history.State {
	if disk.hash == "" || disk.hash == hash {
		return history.State{}
	}
	pin := history.State{
		Pinned: true, FileHash: disk.hash, Reason: reason,
		Since: time.Now().UTC().Truncate(time.Millisecond),
	}
	if v.pin.Pinned && v.pin.FileHash == disk.hash {
		pin.Since = v.pin.Since
	}
	return pin
}
