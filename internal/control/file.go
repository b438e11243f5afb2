package control

import (
	"context"
	"time"

	"go.uber.org/zap"

	"weir/internal/config"
	"weir/internal/history"
)

// What the configuration file is to what runs.
const (
	InSync  = "in_sync" // it runs
	Ignored = "ignored" // pinned; see Held, too
	Missing = "missing"
)

// File is the configuration file as the operator should see it.
type File struct {
	Path     string          `json:"path"`
	State    string          `json:"state"` // in_sync, rejected, ignored, held, missing
	Since    time.Time       `json:"since"` // of the state
	Problems config.Problems `json:"problems,omitempty"`
	Message  string          `json:"message,omitempty"`

	bytes []byte // last looked at; for the watcher
	hash  string
}

// fileStatus is what a file that holds disk is to the running configuration.
func (c *Controller) fileStatus(disk file, pin history.State, running string) File {
	f := File{Path: c.o.Path, Since: time.Now(), bytes: disk.source, hash: disk.hash}
	switch {
	case disk.hash == "":
		f.State = Missing
	case disk.hash == running:
		f.State = InSync
	case pin.Pinned:
		f.State, f.Message = Ignored, pin.Reason
	default:
		f.State = Rejected // or it would be running
	}
	return f
}

// showRejected makes the status say what is wrong with the file.
func (c *Controller) showRejected(source []byte, problems config.Problems, message string) {
	next := *c.current.Load()
	next.file = File{
		Path: c.o.Path, State: Rejected, Since: time.Now(), Problems: problems, Message: message,
		bytes: source, hash: history.Hash(source),
	}
	c.current.Store(&next)
}

// fileChanged judges what the file now holds.
func (c *Controller) fileChanged(ctx context.Context, source []byte, o Origin) Verdict {
	run := c.current.Load()
	hash := history.Hash(source)
	if run.pin.Pinned && hash == run.pin.FileHash {
		return c.ignored(source, o)
	}
	if again := o.Kind == "file" && run.file.hash == hash; again && run.file.State == Rejected || again && run.file.State == Held && c.frozen(time.Now()) {
		return c.refuse("it was " + run.file.State + " before") // and told: the watcher only repeats itself
	}
	return c.apply(ctx, source, o, true, ApplyOptions{})
}

// ignored is the verdict on a file that a pin keeps out.
func (c *Controller) ignored(source []byte, o Origin) Verdict {
	next := *c.current.Load()
	next.file = c.fileStatus(file{source: source, hash: history.Hash(source)}, next.pin, next.version.Hash)
	c.current.Store(&next)
	n := next.version.Number
	c.events.send(Event{Kind: Ignored, Version: n, Origin: o.Kind, Cause: next.pin.Reason})
	c.log.Warn("configuration file is ignored until it is edited again or unpinned",
		append(originFields(o, n), zap.String("reason", next.pin.Reason))...)
	return Verdict{Result: Unchanged, Version: n, Previous: n, Message: "the file is ignored: " + next.pin.Reason}
}

// reread reads the file now and judges it.
func (c *Controller) reread(ctx context.Context, o Origin) Verdict {
	disk := readFile(c.o.Path)
	if disk.err != nil {
		return c.fail(disk, o, false, disk.err)
	}
	return c.fileChanged(ctx, disk.source, o)
}

// unpin reads the file and applies it, pinned or not.
func (c *Controller) unpin(ctx context.Context, o Origin) Verdict {
	disk := readFile(c.o.Path)
	if disk.err != nil {
		return c.fail(disk, o, false, disk.err)
	}
	return c.apply(ctx, disk.source, o, true, ApplyOptions{})
}

// notePin tells everybody whether the file is ignored, when that has changed.
func (c *Controller) notePin(old *view, pin history.State) {
	c.gauges.setPinned(pin.Pinned)
	was := old != nil && old.pin.Pinned
	switch n := c.current.Load().version.Number; {
	case pin.Pinned && (!was || old.pin.Reason != pin.Reason):
		c.log.Warn("configuration pinned: the file is ignored until it is edited again or unpinned",
			zap.Int("version", n), zap.String("reason", pin.Reason))
		c.events.send(Event{Kind: "pinned", Version: n, Cause: pin.Reason})
	case was && !pin.Pinned:
		c.log.Info("configuration unpinned: the file counts again", zap.Int("version", n))
		c.events.send(Event{Kind: "unpinned", Version: n})
	}
}
