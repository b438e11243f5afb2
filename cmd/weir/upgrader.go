package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/internal/admin"
	"weir/internal/handover"
)

// upgrader replaces this process by a new one of the same program, which may
// have been replaced on disk, and comes back if that one fails. A nil one cannot.
type upgrader struct {
	w       *instance
	gone    chan struct{} // closed when this process was replaced for good
	running sync.WaitGroup

	successor atomic.Pointer[handover.Child] // that serves in this process's place

	mu    sync.Mutex
	ctx   context.Context // until the process is told to leave; nil: it does not serve yet, or not any more
	under bool            // an upgrade is under way, or on probation
}

func newUpgrader(w *instance) *upgrader { return &upgrader{w: w, gone: make(chan struct{})} }

// enable lets upgrades begin until stop, which waits for the one that is under way.
func (u *upgrader) enable(ctx context.Context) (stop func()) {
	if u == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	u.mu.Lock()
	u.ctx = ctx
	u.mu.Unlock()
	return func() {
		u.mu.Lock()
		u.ctx = nil
		u.mu.Unlock()
		cancel()
		u.running.Wait()
	}
}

// replaced is closed when a new process has taken this one's place for good.
func (u *upgrader) replaced() <-chan struct{} {
	if u == nil {
		return nil
	}
	return u.gone
}

func (u *upgrader) wasReplaced() bool {
	select {
	case <-u.replaced():
		return true
	default:
		return false
	}
}

// start is what the admin API begins an upgrade with.
func (u *upgrader) start() func(admin.UpgradeOptions) (<-chan admin.UpgradeStep, error) {
	if u == nil {
		return nil
	}
	return u.begin
}

// signalled begins an upgrade with the defaults; the log tells of it.
func (u *upgrader) signalled() {
	if _, err := u.begin(admin.UpgradeOptions{ReadyTimeout: admin.DefaultReadyTimeout, Probation: admin.DefaultProbation}); err != nil {
		u.w.log.Warn("no upgrade", zap.Error(err))
	}
}

// passOn gives a signal to the process that serves in this one's place. It
// reports false if there is none.
func (u *upgrader) passOn(sig os.Signal) bool {
	if u == nil {
		return false
	}
	child := u.successor.Load()
	if child != nil {
		child.Signal(sig)
	}
	return child != nil
}

// begin starts an upgrade unless something speaks against it.
func (u *upgrader) begin(o admin.UpgradeOptions) (<-chan admin.UpgradeStep, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.ctx == nil:
		return nil, errors.New("this process starts, or is about to leave")
	case u.under:
		return nil, errors.New("an upgrade is under way")
	case u.w.probation.Load():
		return nil, errors.New("this process is on probation after an upgrade: the one before it may still come back; wait for the end, which the log tells")
	case os.Getpid() == 1:
		return nil, errors.New("this is process 1: the container ends with it, and with that its successor; replace the container instead")
	}
	u.under = true
	a := &takeover{gone: u.gone, w: u.w, o: o, began: time.Now(), steps: make(chan admin.UpgradeStep, 8)} // more than there are
	ctx := u.ctx
	u.running.Go(func() {
		defer close(a.steps)
		if a.run(ctx) {
			return // this process is done
		}
		u.mu.Lock()
		u.under = false
		u.mu.Unlock()
	})
	return a.steps, nil
}
