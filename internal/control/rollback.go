package control

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"weir/internal/config"
	"weir/internal/history"
)

// rollback commits the bytes of an earlier version as a new one, from what is
// still compiled if possible: no parsing, and no probing of backends that stay.
func (c *Controller) rollback(ctx context.Context, to int, o Origin) (Verdict, error) {
	began := time.Now()
	run := c.current.Load()
	if c.trial != nil { // who goes back does not want to go forward
		c.abortTrial("aborted", "by a rollback"+by(o))
	}
	o.Kind = "rollback"
	target, err := rollbackTarget(c.history.List(), run.version, to)
	if err != nil {
		return c.refuse(err.Error()), err
	}
	if never := target.Verdict == history.Held || target.Verdict == history.Staged; never && c.frozen(began) {
		err := fmt.Errorf("%w: version %d never ran, and the configuration is %v", ErrNoTarget, target.Number, Frozen(c.history.State().Freeze))
		return c.refuse(err.Error()), err
	}
	ch, err := c.revive(target)
	if err != nil {
		return c.fail(file{}, o, false, err), nil
	}
	disk := readFile(c.o.Path)
	ch.meta = history.Version{Origin: o.Kind, Author: o.Author, RollbackOf: target.Number}
	ch.pin = run.pinAgainst(disk, target.Hash, fmt.Sprintf("rolled back to version %d%s", target.Number, by(o)))
	v, err := c.carry(ctx, ch, disk)
	if err != nil {
		return c.fail(disk, o, false, err), nil
	}
	c.condemn(run.version, target, v, o)
	return c.report(run, plan(run.cfg, ch.cfg), v, o, began), nil
}

// revive makes a change of a version that ran before.
func (c *Controller) revive(v history.Version) (change, error) {
	_, source, err := c.history.Get(v.Number)
	if err != nil {
		return change{}, err
	}
	ch := change{source: source, round: rollbackRound}
	if ch.before = c.recall(v.Hash); ch.before != nil {
		ch.cfg = ch.before.cfg
		return ch, nil
	}
	// The environment may have changed since, so this can fail.
	if ch.cfg, err = config.Parse(fmt.Sprintf("version %d", v.Number), source, c.o.Env); err != nil {
		return change{}, err
	}
	return ch, nil
}

// condemn marks the version that was rolled back, so that neither a start nor
// a later rollback leads to it by itself. Going forward to a newer version
// condemns nothing.
func (c *Controller) condemn(bad, target, now history.Version, o Origin) {
	if target.Number > history.First(c.history.List(), bad).Number {
		return
	}
	note := fmt.Sprintf("rolled back to version %d as version %d%s", target.Number, now.Number, by(o))
	if err := c.history.Mark(bad.Number, history.RolledBack, note); err != nil {
		c.log.Warn("rolled back version is not marked", zap.Int("version", bad.Number), zap.Error(err))
	}
}
