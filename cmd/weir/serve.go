package main

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"

	"weir/internal/handover"
)

// serveOptions are the flags of weir run, and where its logs go.
type serveOptions struct {
	config string
	strict bool
	loops  int           // 0: one a processor
	grace  time.Duration // for requests after the first SIGTERM

	stdout io.Writer // access log
	stderr io.Writer // system log

	program   string              // that is executed for an upgrade, with args; empty: there is none
	args      []string            // of this process
	inherited *handover.Inherited // nil: nothing is
	notifier  handover.Notifier
}

// errLeave ends serve at once: a second signal has come.
var errLeave = &exitError{code: exitRefused, err: errors.New("told to leave at once; requests were cut off")}

// flushTimeout bounds the writing of logs when Weir leaves at once.
const flushTimeout = time.Second

// serve runs one Weir until ctx ends or a signal says so, then drains it.
func serve(ctx context.Context, o serveOptions, signals <-chan os.Signal) error {
	w, err := assemble(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	left := make(chan error, 1)
	go func() { left <- w.run(ctx) }()
	for {
		select {
		case err := <-left:
			return err
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP && w.upgrader.passOn(sig):
			case sig == syscall.SIGHUP:
				w.reload(ctx)
			case sig == syscall.SIGUSR2:
				w.upgrader.signalled()
			case ctx.Err() == nil:
				w.log.Info("told to leave: finishing what runs", zap.Stringer("signal", sig), zap.Duration("grace", o.grace))
				cancel()
			default:
				w.log.Warn("told again: leaving at once", zap.Stringer("signal", sig))
				flushed := make(chan struct{})
				go func() { w.flush(); close(flushed) }()
				select {
				case <-flushed:
				case <-time.After(flushTimeout): // whoever reads the logs is stuck
				}
				return errLeave // whatever still runs ends with the process
			}
		}
	}
}

// reload reads the configuration file, and tells a service manager of both ends
// of that. A signal that comes meanwhile is not lost.
func (w *instance) reload(ctx context.Context) {
	if !w.o.notifier.Wanted() || w.reloading.Swap(true) {
		w.control.Kick()
		return
	}
	w.notified(w.o.notifier.Reloading())
	go func() {
		_ = w.control.Reload(ctx) // an error says that Weir is ending
		w.reloading.Store(false)
		if ctx.Err() == nil {
			w.notified(w.o.notifier.Ready(w.serves()))
		}
	}()
}
