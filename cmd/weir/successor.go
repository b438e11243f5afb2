package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"go.uber.org/zap"

	"weir/internal/handover"
	"weir/internal/loop"
)

// takeOver tells everybody who waits for it that this process serves. Where it
// replaces another one, connections of that one are taken until its probation is
// over. stop ends this; orderly says that this process was told to leave: the
// other one need not come back.
func (w *instance) takeOver(start func(func(context.Context) error)) (stop func(orderly bool)) {
	if left := w.o.inherited.Drop(); len(left) > 0 {
		w.log.Warn("sockets were passed that no listener uses: they are closed", zap.Strings("addresses", left))
	}
	old := w.o.inherited.Replaces()
	if old == nil {
		w.notified(w.o.notifier.Ready(w.serves()))
		return func(bool) {}
	}
	if err := old.Ready(thisBuild().String()); err != nil {
		w.log.Warn("upgrade: the process before this one is gone", zap.Error(err))
	}
	var failed atomic.Bool
	ended := make(chan struct{})
	start(func(context.Context) error {
		defer close(ended)
		old.Run(w.adopt, func() {
			w.probation.Store(false)
			if !failed.Load() {
				w.own()
				w.notified(w.o.notifier.Main(os.Getpid()))
				w.notified(w.o.notifier.Ready(w.serves()))
				w.log.Info("upgrade: the process before this one does not come back")
			}
		})
		return nil
	})
	return func(orderly bool) {
		failed.Store(!orderly)
		if orderly {
			old.Leaving()
		}
		old.Close()
		<-ended
	}
}

// own makes the files of inherited unix sockets go with this process. Until now
// they belonged to one that might have come back.
func (w *instance) own() {
	w.proxy.OwnSockets(w.o.inherited.Owned(handover.Proxy))
	if len(w.o.inherited.Owned(handover.Admin)) > 0 {
		w.gate.Own(true)
	}
}

// adopt takes a connection that the process before this one gives away.
func (w *instance) adopt(c handover.Conn) {
	err := w.proxy.Adopt(c.Key, loop.Resting{FD: c.FD, Remote: c.Remote, Local: c.Local, Tag: c.Tag, Left: c.Left})
	if err != nil {
		w.log.Debug("upgrade: a connection is closed", zap.Error(err))
	}
}

// serves is a line for service managers.
func (w *instance) serves() string {
	version, _ := w.control.Config()
	return fmt.Sprintf("serves version %d", version)
}
