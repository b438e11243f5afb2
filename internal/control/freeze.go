package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"weir/internal/history"
)

// Held is the verdict on a change that is right and comes during a freeze: it is
// recorded and not applied. A file that holds it has that state.
const Held = "held"

// ErrNotFrozen is returned by Thaw if there is nothing to thaw.
var ErrNotFrozen = errors.New("configuration is not frozen")

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
// applied. Rollbacks, also the guard's, and changes with Force go on. A freeze
// survives a restart; another one takes its place. The error is about d, or that
// the freeze cannot be recorded.
func (c *Controller) Freeze(ctx context.Context, d time.Duration, why string, o Origin) (Frozen, error) {
	if d <= 0 || d > longestFreeze {
		return Frozen{}, fmt.Errorf("freeze for %v; want a time up to %v", d, longestFreeze)
	}
	return ask(ctx, c, func(context.Context) (Frozen, error) {
		now := time.Now().UTC().Truncate(time.Millisecond)
		st := c.history.State()
		st.Freeze = history.Freeze{Since: now, Until: now.Add(d), By: o.Author, Why: why}
		if err := c.history.SetState(st); err != nil {
			return Frozen{}, err
		}
		c.gauges.frozen.Set(1)
		c.log.Warn("configuration is frozen: changes are recorded and not applied",
			zap.Time("until", st.Freeze.Until), zap.String("why", why), zap.String("author", o.Author))
		c.events.send(Event{Kind: "frozen", Cause: why, Version: c.current.Load().version.Number, Origin: o.Kind, Author: o.Author})
		return Frozen(st.Freeze), nil
	})
}

// Thaw ends a freeze: the file counts again, and is applied if it has changed.
// What else was held stays in the history, for whoever wants to apply it. The
// error is ErrNotFrozen.
func (c *Controller) Thaw(ctx context.Context, o Origin) (Verdict, error) {
	return ask(ctx, c, func(ctx context.Context) (Verdict, error) {
		if !c.frozen(time.Now()) {
			return c.refuse(ErrNotFrozen.Error()), ErrNotFrozen
		}
		return c.thaw(ctx, "by "+o.Author, o), nil
	})
}

func (c *Controller) frozen(now time.Time) bool { return now.Before(c.history.State().Freeze.Until) }

// thawTick ends a freeze whose time is over.
func (c *Controller) thawTick(ctx context.Context, now time.Time) {
	if f := c.history.State().Freeze; !f.Until.IsZero() && !now.Before(f.Until) {
		c.thaw(ctx, "its time is over", Origin{Kind: "file"})
	}
}

func (c *Controller) thaw(ctx context.Context, why string, o Origin) Verdict {
	st := c.history.State()
	st.Freeze = history.Freeze{}
	if err := c.history.SetState(st); err != nil {
		c.log.Warn("configuration state is not recorded", zap.Error(err))
	}
	c.gauges.frozen.Set(0)
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
func (c *Controller) hold(source []byte, hash string, o Origin, fromFile bool) Verdict {
	f := c.history.State().Freeze
	until := f.Until.Local().Format("2006-01-02 15:04:05")
	v := c.refuse(fmt.Sprintf("it is right, and held: the configuration is frozen until %s (%s)", until, f.Why))
	v.Result = Held
	if !c.holds(hash) {
		held, err := c.history.Append(history.Version{
			Origin: o.Kind, Author: o.Author, Verdict: history.Held, Note: "frozen until " + until + ": not applied",
		}, source)
		if err != nil {
			c.log.Error("held configuration is not recorded", zap.Error(err))
		}
		v.Held = held.Number
	}
	if fromFile {
		next := *c.current.Load()
		next.file = File{Path: c.o.Path, State: Held, Since: time.Now(), Message: v.Message, bytes: source, hash: hash}
		c.current.Store(&next)
	}
	c.log.Warn("configuration held: it is frozen", append(originFields(o, v.Version), zap.Int("held", v.Held), zap.Time("until", f.Until))...)
	c.events.send(Event{Kind: Held, Version: v.Held, Origin: o.Kind, Author: o.Author, Cause: v.Message})
	return v
}

// holds reports whether the latest word on these bytes is that they are held.
func (c *Controller) holds(hash string) bool {
	versions := c.history.List()
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].Hash == hash {
			return versions[i].Verdict == history.Held
		}
	}
	return false
}
