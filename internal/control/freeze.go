package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"weir/internal/history"
)

// Held is the verdict on a change that is right and comes during a freeze: it is
// recorded and not applied. A file that holds it has that state.
const Held = "held"

// ErrNotFrozen is returned by Thaw if there is nothing to thaw.
var ErrNotFrozen = errors.New("the configuration is not frozen")

// ErrWrongTime is returned for a time that is not to come, or too long.
var ErrWrongTime = errors.New("wrong time")

// longestFreeze keeps a freeze from being forgotten.
const longestFreeze = 30 * 24 * time.Hour

// Frozen says until when and why changes are only recorded.
type Frozen struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	By    string    `json:"by,omitempty"`
	Why   string    `json:"why,omitempty"`
}

// Freeze makes changes wait for d: they are checked and recorded, and not
// applied; a staged version stays at its share of the clients. Rollbacks, also
// the guard's, and changes with Force go on. A freeze survives a restart; another
// one takes its place. The error is about d, or that the freeze cannot be recorded.
func (c *Controller) Freeze(ctx context.Context, d time.Duration, why string, o Origin) (Frozen, error) {
	if d <= 0 || d > longestFreeze {
		return Frozen{}, fmt.Errorf("%w: freeze for %v; want a time up to %v", ErrWrongTime, d, longestFreeze)
	}
	return ask(ctx, c, func(context.Context) (Frozen, error) {
		now := time.Now().UTC().Truncate(time.Millisecond)
		st := c.history.State()
		st.Freeze = history.Freeze{Since: now, Until: now.Add(d), By: o.Author, Why: why}
		if err := c.history.SetState(st); err != nil {
			return Frozen{}, err
		}
		c.gauges.setFrozen(st.Freeze.Until)
		c.log.Warn("configuration is frozen: changes are recorded and not applied",
			zap.Time("until", st.Freeze.Until), zap.String("why", why), zap.String("author", o.Author))
		c.events.send(Event{Kind: "frozen", Cause: Frozen(st.Freeze).String(), Version: c.current.Load().version.Number, Origin: o.Kind, Author: o.Author})
		return Frozen(st.Freeze), nil
	})
}

// String is "frozen until 2026-11-25 14:00:00 (incident 123)", in local time.
func (f Frozen) String() string {
	s := "frozen until " + f.Until.Local().Format(time.DateTime)
	if f.Why != "" {
		s += " (" + f.Why + ")"
	}
	return s
}

// Thaw ends a freeze: the file counts again, and is applied if it was held. What
// else was held stays in the history, for whoever wants to apply it. The error is
// ErrNotFrozen, or that the end cannot be recorded; then the freeze goes on.
func (c *Controller) Thaw(ctx context.Context, o Origin) (Verdict, error) {
	return ask(ctx, c, func(ctx context.Context) (Verdict, error) {
		if !c.frozen(time.Now()) {
			return c.refuse(ErrNotFrozen.Error()), ErrNotFrozen
		}
		if err := c.endFreeze(); err != nil {
			return c.refuse(err.Error()), err
		}
		return c.thawed(ctx, strings.TrimSpace("ended"+by(o)), o), nil
	})
}

func (c *Controller) frozen(now time.Time) bool { return now.Before(c.history.State().Freeze.Until) }

// thawTick ends a freeze whose time is over. It counts no more, whether that can
// be recorded or not.
func (c *Controller) thawTick(ctx context.Context, now time.Time) {
	if f := c.history.State().Freeze; f.Until.IsZero() || now.Before(f.Until) || f == c.guard.thawed {
		return
	}
	c.guard.thawed = c.history.State().Freeze
	if err := c.endFreeze(); err != nil {
		c.log.Warn("configuration state is not recorded", zap.Error(err))
	}
	c.thawed(ctx, "its time is over", Origin{Kind: "file"})
}

func (c *Controller) endFreeze() error {
	st := c.history.State()
	st.Freeze = history.Freeze{}
	return c.history.SetState(st)
}

// thawed tells that a freeze has ended, and takes the file up if it was held.
func (c *Controller) thawed(ctx context.Context, why string, o Origin) Verdict {
	c.gauges.setFrozen(time.Time{})
	run := c.current.Load()
	c.log.Info("configuration is thawed", zap.String("cause", why))
	c.events.send(Event{Kind: "thawed", Cause: why, Version: run.version.Number, Origin: o.Kind, Author: o.Author})
	if run.file.State != Held {
		v := c.refuse("the freeze is over")
		v.Result = Unchanged
		return v
	}
	return c.reread(ctx, Origin{Kind: "file", Author: o.Author})
}

// hold is the verdict on a change that comes during a freeze.
func (c *Controller) hold(disk file, source []byte, hash string, o Origin, fromFile bool) Verdict {
	f := Frozen(c.history.State().Freeze)
	held := c.heldAs(hash)
	if held == 0 {
		v, err := c.history.Append(history.Version{
			Origin: o.Kind, Author: o.Author, Verdict: history.Held, Note: f.String(),
		}, source)
		if err != nil {
			return c.fail(disk, o, fromFile, err)
		}
		held = v.Number
	}
	v := c.refuse(fmt.Sprintf("held as version %d: %v; weir thaw ends that", held, f))
	v.Result, v.Held = Held, held
	if fromFile {
		c.showHeld(disk, v.Message)
	}
	c.gauges.applies.WithLabelValues(Held).Inc()
	c.log.Warn("configuration held: it is frozen", append(originFields(o, v.Version), zap.Int("held", held), zap.Time("until", f.Until))...)
	c.events.send(Event{Kind: Held, Version: held, Origin: o.Kind, Author: o.Author, Cause: v.Message})
	return v
}

// showHeld makes the status say that the file waits. A pin that ignored it does
// so no more: whoever lifted it wants the file to count, once it may.
func (c *Controller) showHeld(disk file, message string) {
	old := c.current.Load()
	next := *old
	next.pin = history.State{}
	next.file = File{Path: c.o.Path, State: Held, Since: time.Now(), Message: message, bytes: disk.source, hash: disk.hash}
	c.current.Store(&next)
	if old.pin.Pinned {
		st := c.history.State()
		st.Pinned, st.FileHash, st.Reason, st.Since = false, "", "", time.Time{}
		if err := c.restore(st); err != nil {
			c.log.Warn("configuration state is not recorded", zap.Error(err))
		}
		c.notePin(old, next.pin)
	}
}

// heldAs is the version as which these bytes are held, if that is the last word on
// them; else 0.
func (c *Controller) heldAs(hash string) int {
	for _, v := range slices.Backward(c.history.List()) {
		if v.Hash == hash && v.Verdict == history.Held {
			return v.Number
		} else if v.Hash == hash {
			return 0
		}
	}
	return 0
}
