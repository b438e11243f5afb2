package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// ErrHandedOver is returned for a change while another process is the writer, or
// about to become it.
var ErrHandedOver = errors.New("an upgrade of Weir is under way: nothing is changed until it is over")

// HandOver stops all changes and gives the history to the process that opens it
// next. What runs goes on running. A change that is being made is finished first.
func (c *Controller) HandOver(ctx context.Context) error {
	_, err := ask(ctx, c, func(context.Context) (struct{}, error) {
		if c.trial != nil {
			c.abortTrial("aborted", "Weir is upgraded")
		}
		if w := c.guard.watch; w != nil { // the other process has other counters and cannot go on
			c.proven(w)
		}
		if err := c.history.Release(); err != nil {
			return struct{}{}, err
		}
		c.away = true
		return struct{}{}, nil
	})
	return err
}

// TakeBack undoes HandOver when the other process is gone. why is told to
// everybody; reopen, unless nil, opens the proxy again first. If the other one
// had made changes, they are put in force here as well, and so are edits of the
// file that came meanwhile. An error says what could not be done; the rest was.
func (c *Controller) TakeBack(ctx context.Context, why string, reopen func() error) error {
	_, err := do(ctx, c, func(ctx context.Context) (struct{}, error) {
		if !c.away {
			return struct{}{}, nil
		}
		var failed error
		what := "failed"
		if reopen != nil {
			what, failed = "rolled_back", reopen()
		}
		c.events.send(Event{Kind: "upgrade", What: what, Version: c.current.Load().version.Number, Cause: why})
		if err := c.history.Reclaim(); err != nil {
			return struct{}{}, errors.Join(failed, fmt.Errorf("configuration changes stay refused until a restart: %w", err))
		}
		c.away = false
		if err := c.catchUp(ctx); err != nil {
			failed = errors.Join(failed, err)
		}
		if disk := readFile(c.o.Path); disk.err == nil {
			c.fileChanged(ctx, disk.source, Origin{Kind: "file"})
		}
		return struct{}{}, failed
	})
	return err
}

// catchUp runs the version that the other process ran last.
func (c *Controller) catchUp(ctx context.Context) error {
	st, run := c.history.State(), c.current.Load()
	if st.Running == 0 || st.Running == run.version.Number {
		return nil
	}
	ch, err := c.earlier(c.history.List(), st.Running)
	if err != nil {
		return err
	}
	ch.pin, ch.round = st, rollbackRound
	ch.pin.Running, ch.pin.Unconfirmed, ch.pin.ConfirmBy = 0, 0, time.Time{}
	v, err := c.carry(ctx, ch, readFile(c.o.Path))
	if err != nil {
		return fmt.Errorf("version %d, which the other process ran, could not be put in force; version %d goes on: %w",
			st.Running, run.version.Number, err)
	}
	c.log.Info("configuration runs", zap.Int("version", v.Number), zap.Int("previous", run.version.Number))
	return nil
}

// kicked reads the file for Kick.
func (c *Controller) kicked(ctx context.Context) {
	if c.away {
		c.log.Warn("the configuration file is not read", zap.Error(ErrHandedOver))
		return
	}
	c.reread(ctx, Origin{Kind: "signal"}) // the verdict is in the log
}

// Reload is Kick for those who wait until it is done.
func (c *Controller) Reload(ctx context.Context) error {
	_, err := do(ctx, c, func(ctx context.Context) (struct{}, error) {
		c.kicked(ctx)
		return struct{}{}, nil
	})
	return err
}
