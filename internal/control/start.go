package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"weir/internal/config"
	"weir/internal/history"
)

// Start opens the history and runs the file, or the newest good version if the
// file is wrong, missing, pinned or was rolled back; it says so loudly. The
// error means that there is nothing to run, that what there is cannot listen,
// or that Strict forbids it; then nothing is left behind.
func (c *Controller) Start(ctx context.Context) error {
	disk := readFile(c.o.Path)
	f := seen{path: c.o.Path, hash: disk.hash, err: disk.err}
	var cfg *config.Config
	if f.err == nil {
		cfg, f.err = config.Parse(c.o.Path, disk.source, c.o.Env)
	}
	dir := historyDir(c.o.Path, guessDir(disk.source, c.o.Env))
	if cfg != nil {
		dir = historyDir(c.o.Path, cfg.History.Dir)
	}
	var err error
	// Nothing is removed before the configuration says how many to keep.
	if c.history, err = history.Open(dir, math.MaxInt); err != nil {
		c.history = nil
		return fmt.Errorf("%w; history.dir in %s can name another place", err, c.o.Path)
	}
	if err := c.startWith(ctx, disk, f, cfg); err != nil {
		c.history.Close()
		c.history = nil
		return err
	}
	return nil
}

func (c *Controller) startWith(ctx context.Context, disk file, f seen, cfg *config.Config) error {
	for _, err := range c.history.Damaged() {
		c.log.Error("history", zap.String("dir", c.history.Dir()), zap.Error(err))
	}
	c.loadOverrides(time.Now())
	c.settleTrials()
	versions := c.history.List()
	d, err := decide(f, versions, c.history.State(), time.Now(), c.o.Strict)
	if err != nil {
		return fmt.Errorf("%w (looked in %s)", err, c.history.Dir())
	}
	ch := change{source: disk.source, cfg: cfg, meta: history.Version{Origin: "start"}}
	if !d.file {
		if ch, err = c.earlier(versions, d.version); err != nil {
			return errors.Join(err, f.err)
		}
	}
	ch.pin, ch.round = d.pin, probeRound
	if ch.pin.Pinned && ch.pin.Since.IsZero() {
		ch.pin.Since = time.Now().UTC().Truncate(time.Millisecond)
	}
	c.boot = ch.cfg
	v, err := c.carry(ctx, ch, disk)
	if no := (unrecorded{}); errors.As(err, &no) && !c.o.Strict && len(goodVersions(versions)) > 0 {
		// A full disk must not keep Weir from running what is on it.
		f.err = err
		d = decision{state: Rejected, loud: fmt.Sprintf("%s cannot be recorded: version %d runs, the newest good one", c.o.Path, goodVersions(versions)[0].Number)}
		if ch, err = c.earlier(versions, math.MaxInt); err == nil {
			ch.round = probeRound
			c.boot = ch.cfg
			v, err = c.carry(ctx, ch, disk)
		}
	}
	if err != nil {
		return err
	}
	if d.state == Rejected {
		c.startRejected(disk, f.err)
	}
	if c.frozen(time.Now()) {
		c.gauges.setFrozen(c.history.State().Freeze.Until)
	}
	if d.state == Held {
		c.startHeld(disk, d.loud)
	}
	if d.loud != "" {
		c.log.Warn(d.loud, zap.Int("version", v.Number))
	}
	if d.file {
		c.gauges.applies.WithLabelValues(Applied).Inc()
		c.events.send(Event{Kind: Applied, Version: v.Number, Origin: "start"})
	}
	c.log.Info("configuration runs", zap.Int("version", v.Number), zap.Bool("new", d.file),
		zap.String("history", c.history.Dir()))
	return nil
}

// startHeld records a file that was edited while Weir was down and comes into a
// freeze, and shows it.
func (c *Controller) startHeld(disk file, message string) {
	if c.heldAs(disk.hash) == 0 {
		_, err := c.history.Append(history.Version{
			Origin: "start", Verdict: history.Held, Note: Frozen(c.history.State().Freeze).String(),
		}, disk.source)
		if err != nil {
			c.log.Error("held configuration is not recorded", zap.Error(err))
		}
	}
	c.showHeld(disk, message)
}

// settleTrials ends on paper the trials that a crash has ended. One that had been
// promoted runs.
func (c *Controller) settleTrials() {
	running := c.history.State().Running
	for _, v := range c.history.List() {
		var err error
		switch {
		case v.Verdict != history.Staged:
		case v.Number == running:
			err = c.history.Mark(v.Number, history.Applied, "")
		default:
			err = c.history.Mark(v.Number, history.RolledBack, "Weir ended while it was tried")
		}
		if err != nil {
			c.log.Warn("version is not marked", zap.Int("version", v.Number), zap.Error(err))
		}
	}
}

// earlier loads version n or, if it does not parse any more, the newest good
// one before it that does: the environment may be another than then.
func (c *Controller) earlier(versions []history.Version, n int) (change, error) {
	var errs []error
	for _, v := range goodVersions(versions) {
		if v.Number > n {
			continue
		}
		ch, err := c.revive(v)
		if err == nil {
			ch.meta = v
			return ch, nil
		}
		c.log.Error("version cannot be run", zap.Int("version", v.Number), zap.Error(err))
		errs = append(errs, err)
	}
	return change{}, fmt.Errorf("nothing to run: no version that is kept is usable: %w", errors.Join(errs...))
}

// startRejected tells what is wrong with the file that is not run.
func (c *Controller) startRejected(disk file, err error) {
	var problems config.Problems
	errors.As(err, &problems)
	message := ""
	if problems == nil {
		message = err.Error()
	}
	c.showRejected(disk.source, problems, message)
	c.gauges.applies.WithLabelValues(Rejected).Inc()
	c.logProblems(problems)
	c.events.send(Event{Kind: Rejected, Origin: "start", Version: c.current.Load().version.Number, Cause: err.Error()})
}
