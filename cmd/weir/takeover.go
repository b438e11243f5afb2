package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"weir/internal/admin"
	"weir/internal/control"
	"weir/internal/handover"
	"weir/internal/loop"
)

// recoverTimeout bounds the way back.
const recoverTimeout = 30 * time.Second

// takeover is one upgrade, as the old process sees it.
type takeover struct {
	w     *instance
	o     admin.UpgradeOptions
	gone  chan struct{} // closed here when this process was replaced for good
	began time.Time
	steps chan admin.UpgradeStep // has room for all

	child  *handover.Child
	proven atomic.Bool       // this process does not come back
	build  string            // what the child says it is
	kept   []handover.Socket // descriptors of what the child listens on
}

// run goes through the upgrade. ctx ends when this process is told to leave. It
// reports whether this process is done.
func (a *takeover) run(ctx context.Context) bool {
	w := a.w
	defer a.release()
	if err := w.control.HandOver(ctx); err != nil {
		a.tell(admin.UpgradeFailed, err.Error())
		return false
	}
	if err := a.launch(ctx); err != nil {
		if a.child != nil {
			a.child.Kill()
		}
		message := err.Error() + "; this process goes on"
		a.takeBack(message, nil)
		a.tell(admin.UpgradeFailed, message)
		return false
	}
	stop, drained := a.standAside()
	w.upgrader.successor.Store(a.child)
	a.tell(admin.UpgradeReady, "")
	if err := a.watch(ctx); err != nil {
		w.upgrader.successor.Store(nil)
		stop()
		<-drained
		a.comeBack(err.Error() + "; this process serves again")
		return false
	}
	a.proven.Store(true)
	// Not before: a service manager ends the service with the process that counts,
	// and this one could not come back. And by this one, before it is gone.
	w.notified(w.o.notifier.Main(a.child.PID))
	a.child.Proven()
	if ctx.Err() != nil {
		stop() // the way out is that of any process that is told to leave
		<-drained
		return true
	}
	a.tell(admin.UpgradeDone, "")
	a.release() // it would hold the address otherwise, with nobody who accepts
	<-drained
	a.child.Release()
	close(a.gone)
	return true
}

// tell says what has happened to whoever asked, and to the log.
func (a *takeover) tell(step, message string) {
	s := admin.UpgradeStep{
		Step: step, Program: a.w.o.program, Build: a.build, Message: message,
		TookMS: float64(time.Since(a.began).Microseconds()) / 1000,
	}
	fields := []zap.Field{zap.String("program", s.Program), zap.Duration("took", time.Since(a.began))}
	if a.child != nil {
		s.PID = a.child.PID
		fields = append(fields, zap.Int("new_pid", s.PID))
	}
	if a.build != "" {
		fields = append(fields, zap.String("build", a.build))
	}
	switch step {
	case admin.UpgradeStarting:
		a.w.log.Info("upgrade: the new process starts; changes of the configuration are refused until it serves", fields...)
	case admin.UpgradeReady:
		s.Probation = time.Now().Add(a.o.Probation)
		a.w.log.Info("upgrade: the new process serves, this one finishes what it has",
			append(fields, zap.Time("probation_until", s.Probation))...)
	case admin.UpgradeDone:
		a.w.log.Info("upgrade: done, this process leaves", fields...)
	default:
		a.w.log.Error("upgrade "+step, append(fields, zap.String("cause", message))...)
	}
	a.steps <- s
}

// launch starts the new process and waits until it serves.
func (a *takeover) launch(ctx context.Context) (err error) {
	if err := a.collect(); err != nil {
		return err
	}
	if a.child, err = handover.Start(a.w.o.program, a.w.o.args, a.kept); err != nil {
		return err
	}
	a.tell(admin.UpgradeStarting, "")
	late := time.NewTimer(a.o.ReadyTimeout)
	defer late.Stop()
	select {
	case a.build = <-a.child.Ready():
		return nil
	case <-a.child.Ended():
		return fmt.Errorf("the new process ended before it served: %s", a.child.How())
	case <-late.C:
		return fmt.Errorf("the new process did not serve within %v", a.o.ReadyTimeout)
	case <-ctx.Done():
		return errors.New("this process was told to leave")
	}
}

// collect gets descriptors of all that this process listens on.
func (a *takeover) collect() error {
	list, err := a.w.proxy.Sockets()
	for _, s := range list {
		a.kept = append(a.kept, handover.Socket{Kind: handover.Proxy, Key: s.Key, Address: s.Address, FD: s.FD, Owned: s.Owned})
	}
	if err != nil {
		return err
	}
	ln, ok := a.w.gate.Listener().(syscall.Conn)
	if !ok {
		return errors.New("admin API: nothing listens")
	}
	fd, err := handover.Dup(ln)
	if err != nil {
		return fmt.Errorf("admin API: %w", err)
	}
	a.kept = append(a.kept, handover.Socket{Kind: handover.Admin, Key: a.w.adminAt, Address: a.w.gate.Addr().String(), FD: fd, Owned: a.w.gate.Owns()})
	return nil
}

// standAside leaves everything new to the child, and finishes what is here until
// stop. drained is closed when nothing is left, or the grace period is over.
func (a *takeover) standAside() (stop func(), drained <-chan struct{}) {
	w := a.w
	w.leaving.Store(true)
	w.gate.Aside()
	w.proxy.HandOver(func(key string, r loop.Resting) error {
		err := a.child.Give(handover.Conn{Key: key, FD: r.FD, Remote: r.Remote, Local: r.Local, Tag: r.Tag, Left: r.Left})
		if err != nil && (!a.proven.Load() || errors.Is(err, handover.ErrBusy)) {
			return loop.ErrLater // if the child is gone, the connection is needed here
		}
		return err
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.shutdown(ctx)
	}()
	return stop, done
}

// watch waits for the end of the probation. An error says that the child did not
// live to see it.
func (a *takeover) watch(ctx context.Context) error {
	end := time.NewTimer(a.o.Probation)
	defer end.Stop()
	select {
	case <-end.C:
	case <-ctx.Done():
	case <-a.child.Leaving(): // somebody wanted that
	case <-a.child.Ended():
		select {
		case <-a.child.Leaving():
		default:
			return fmt.Errorf("the new process died on probation: %s", a.child.How())
		}
	}
	return nil
}

// comeBack serves again, on the sockets that were kept.
func (a *takeover) comeBack(why string) {
	w := a.w
	var owned []string // files of unix sockets
	ownedAdmin := false
	for _, s := range a.kept {
		switch {
		case s.Owned && s.Kind == handover.Proxy:
			owned = append(owned, s.Key)
		case s.Owned:
			ownedAdmin = true
		}
	}
	a.takeBack(why, func() error {
		defer w.proxy.OwnSockets(owned)
		return w.proxy.Reopen(a.reclaim)
	})
	ln, err := a.find(handover.Admin, w.adminAt)
	if err == nil && ln != nil {
		w.gate.Return(ln)
		w.gate.Own(ownedAdmin)
	}
	if err != nil {
		w.log.Error("admin API: cannot listen again", zap.Error(err))
	}
	w.leaving.Store(false)
	w.notified(w.o.notifier.Ready(w.serves()))
	a.tell(admin.UpgradeRolledBack, why)
}

// takeBack makes this process the writer again.
func (a *takeover) takeBack(why string, reopen func() error) {
	ctx, cancel := context.WithTimeout(context.Background(), recoverTimeout)
	defer cancel()
	if err := a.w.control.TakeBack(ctx, why, reopen); err != nil && !errors.Is(err, control.ErrClosed) {
		a.w.log.Error("upgrade: not all is as before", zap.Error(err))
	}
}

// reclaim is the proxy's way to its sockets.
func (a *takeover) reclaim(key, _ string) (net.Listener, error) { return a.find(handover.Proxy, key) }

// find makes a listener of a descriptor that was kept.
func (a *takeover) find(kind, key string) (net.Listener, error) {
	i := slices.IndexFunc(a.kept, func(s handover.Socket) bool { return s.Kind == kind && s.Key == key })
	if i < 0 {
		return nil, nil
	}
	fd := a.kept[i].FD
	a.kept = slices.Delete(a.kept, i, i+1)
	return handover.Listener(fd)
}

// release closes the descriptors that are left.
func (a *takeover) release() {
	for _, s := range a.kept {
		handover.CloseFD(s.FD)
	}
	a.kept = nil
}
