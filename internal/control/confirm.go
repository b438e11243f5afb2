package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"weir/internal/history"
)

// ErrNothingToConfirm is returned by Confirm if no change waits for it.
var ErrNothingToConfirm = errors.New("nothing waits to be confirmed")

// undoAgain is when to try again to undo what could not be undone.
const undoAgain = 10 * time.Second

// Confirm keeps a change that would be undone otherwise (ApplyOptions.Confirm),
// and returns its number.
func (c *Controller) Confirm(ctx context.Context, o Origin) (int, error) {
	return ask(ctx, c, func(context.Context) (int, error) {
		st := c.history.State()
		if st.Unconfirmed == 0 {
			return 0, ErrNothingToConfirm
		}
		n := st.Unconfirmed
		st.Unconfirmed, st.ConfirmBy = 0, time.Time{}
		if err := c.history.SetState(st); err != nil {
			return 0, err
		}
		c.log.Info("configuration confirmed", originFields(o, n)...)
		c.events.send(Event{Kind: "confirmed", Version: n, Origin: o.Kind, Author: o.Author})
		return n, nil
	})
}

// unconfirmed undoes a change that nobody confirmed in time, also when Weir was
// restarted in between.
func (c *Controller) unconfirmed(ctx context.Context, now time.Time) {
	st := c.history.State()
	if st.Unconfirmed == 0 || now.Before(st.ConfirmBy) || now.Before(c.guard.retry) {
		return
	}
	n, run := st.Unconfirmed, c.current.Load()
	why := fmt.Sprintf("nobody confirmed it by %s", st.ConfirmBy.Local().Format(time.TimeOnly))
	st.Unconfirmed, st.ConfirmBy = 0, time.Time{}
	if err := c.history.SetState(st); err != nil { // no room: a rollback would find none either
		c.guard.retry = now.Add(undoAgain)
		c.log.Error("configuration is not confirmed and cannot be undone yet", zap.Int("version", n), zap.Error(err))
		return
	}
	if n != run.version.Number {
		return // something else runs by now
	}
	c.log.Error("configuration is not confirmed, it is undone", zap.Int("version", n))
	c.watch(nil, 0)
	v, err := c.rollback(ctx, 0, Origin{Author: "confirm"})
	if err != nil || v.Result != Applied {
		c.log.Error("configuration that was not confirmed could not be undone", zap.Int("version", n), zap.Error(err), zap.String("message", v.Message))
		return
	}
	c.markRolledBack(n, why)
	c.notify(run.cfg.Guard.Notify, notice{Event: "not_confirmed", Version: n, To: repeats(c.history.List(), v.Version), Running: v.Version, Why: why})
}

// repeats is the number of the version whose bytes version n has again.
func repeats(versions []history.Version, n int) int {
	for _, v := range versions {
		if v.Number == n {
			return v.RollbackOf
		}
	}
	return 0
}
