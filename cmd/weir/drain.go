package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"weir/pool"
)

const (
	drainPoll     = 200 * time.Millisecond // how often a wait looks at what is left
	drainPatience = 10 * time.Second       // how long after its deadline a drain may take
)

// drainWait waits until nothing runs on a backend any more, and shows progress:
// on a terminal one line that changes every second, elsewhere a line a change.
type drainWait struct {
	name   string // POOL/BACKEND
	path   string
	client *client
	out    io.Writer

	terminal bool   // that is where out leads
	shown    string // the last line
	line     bool   // on a terminal, and not finished yet
}

// run returns the backend as it is in the end. b is how it was when the drain
// began.
func (w *drainWait) run(ctx context.Context, b pool.BackendStatus) (pool.BackendStatus, error) {
	ctx, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer release()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		now := time.Now()
		switch d := b.Drain; {
		case d == nil:
			return b, w.fails("%s is in service again: somebody has ended the drain", w.name)
		case b.InFlight == 0:
			w.say(w.name + ": " + outcomeOf(d, now))
			w.finish()
			return b, nil
		case !d.Until.IsZero() && now.Sub(d.Until) > drainPatience:
			return b, w.fails("%s: %s, %v after the deadline; no new ones come", w.name, workOf(b), drainPatience)
		}
		w.show(b, now)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return b, w.interrupted(b)
		}
		var next pool.BackendStatus // a fresh one: what is not said is not as before
		err := w.client.ask(ctx, question{method: http.MethodGet, path: w.path}, &next)
		var no *refusal
		switch {
		case err == nil:
			b = next
		case ctx.Err() != nil:
			return b, w.interrupted(b)
		case errors.As(err, &no) && no.Status == http.StatusNotFound: // while it was waited for
			w.say(w.name + ": no longer configured, and nothing runs on it")
			w.finish()
			b.InFlight, b.Streams = 0, 0
			return b, nil
		default:
			w.finish()
			return b, err
		}
	}
}

// show prints what is left. Without a terminal the time that is left does not
// make a new line.
func (w *drainWait) show(b pool.BackendStatus, now time.Time) {
	if w.terminal {
		w.say(progressOf(b, now))
		return
	}
	if work := workOf(b); work != w.shown {
		w.shown = work
		fmt.Fprintln(w.out, progressOf(b, now))
	}
}

// say prints a line, over the last one on a terminal.
func (w *drainWait) say(text string) {
	switch {
	case !w.terminal:
		fmt.Fprintln(w.out, text)
	case text != w.shown:
		w.shown, w.line = text, true
		fmt.Fprint(w.out, eraseLine+text)
	}
}

// finish leaves the line on the terminal as it is.
func (w *drainWait) finish() {
	if w.line {
		w.line = false
		fmt.Fprintln(w.out)
	}
}

func (w *drainWait) fails(format string, args ...any) error {
	w.finish()
	return fmt.Errorf(format, args...)
}

func (w *drainWait) interrupted(b pool.BackendStatus) error {
	return w.fails("not waiting any more; the drain of %s goes on: %s", w.name, progressOf(b, time.Now()))
}

// workOf is what runs on a backend: "3 requests and 2 streams still run".
func workOf(b pool.BackendStatus) string {
	requests, streams := max(b.InFlight-b.Streams, 0), min(b.Streams, b.InFlight)
	verb := "run"
	if b.InFlight == 1 {
		verb = "runs"
	}
	switch {
	case b.InFlight == 0:
		return "nothing runs on it"
	case streams == 0:
		return fmt.Sprintf("%s still %s", plural(requests, "request"), verb)
	case requests == 0:
		return fmt.Sprintf("%s still %s", plural(streams, "stream"), verb)
	}
	return fmt.Sprintf("%s and %s still %s", plural(requests, "request"), plural(streams, "stream"), verb)
}

// progressOf is what runs on a backend that drains, and for how long at most.
func progressOf(b pool.BackendStatus, now time.Time) string {
	d := b.Drain
	switch {
	case d == nil || b.InFlight == 0:
		return workOf(b)
	case d.Until.IsZero():
		return workOf(b) + ", with no deadline"
	case !now.Before(d.Until):
		return workOf(b) + ", and the deadline has come"
	}
	return fmt.Sprintf("%s, %v left", workOf(b), roughly(d.Until.Sub(now)))
}

// outcomeOf is how a drain ended.
func outcomeOf(d *pool.DrainStatus, now time.Time) string {
	end := d.Empty
	if end.IsZero() {
		end = now // the last one has just ended
	}
	text := fmt.Sprintf("nothing runs on it, after %v", roughly(end.Sub(d.Since)))
	switch {
	case d.Closed == 0:
		return text
	case d.Closed == 1:
		return text + "; 1 was closed by the deadline"
	}
	return fmt.Sprintf("%s; %d were closed by the deadline", text, d.Closed)
}

// roughly is d in whole seconds, or milliseconds if it is short.
func roughly(d time.Duration) time.Duration {
	if d < 2*time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}
