package proxy

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/internal/basicauth"
	"weir/internal/ratelimit"
)

// tidyEvery is how often memory that nobody uses is looked for.
const tidyEvery = time.Minute

// keeper holds what rate limits and password files remember. It is the server's,
// and not a configuration's: a change neither forgives nor forgets.
type keeper struct {
	log     *zap.Logger
	epoch   time.Time
	limiter *ratelimit.Limiter // of all routes, so that what it may take is bounded once

	mu     sync.Mutex                  // Prepare, Commit and tidy; never a request
	guards map[string]*basicauth.Guard // by the file's path
	limits bool                        // some route has a rate limit
	timer  *time.Timer                 // while there is anything to tidy
	closed bool
}

func newKeeper(log *zap.Logger) *keeper {
	return &keeper{log: log, epoch: time.Now(), limiter: ratelimit.New(), guards: make(map[string]*basicauth.Guard)}
}

// guard is the one of a file, which is read if it is new. The error names the
// file and the line.
func (k *keeper) guard(path string) (*basicauth.Guard, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g := k.guards[path]; g != nil {
		return g, nil
	}
	g, err := basicauth.New(path, func(err error) {
		k.log.Error("basic_auth: the users of before stay in force", zap.String("users_file", path), zap.Error(err))
	})
	if err != nil {
		return nil, fmt.Errorf("basic_auth: %w", err)
	}
	k.guards[path] = g
	return g, nil
}

// retain keeps what the routes of a configuration use and forgets the rest. sites
// need only be those that use anything.
func (k *keeper) retain(sites []*site) {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.guards)
	k.limits = false
	for _, s := range sites {
		k.limits = k.limits || s.limit != nil
		if s.guard != nil {
			k.guards[s.usersFile] = s.guard
		}
	}
	k.start()
}

// start sets the timer of tidy. Its caller holds mu.
func (k *keeper) start() {
	if k.timer == nil && !k.closed && (k.limits || len(k.guards) > 0) {
		k.timer = time.AfterFunc(tidyEvery, k.tidy)
	}
}

// tidy gives memory back and has changed files read, on a goroutine of the
// timer.
func (k *keeper) tidy() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limiter.Trim(k.now(time.Now()))
	for _, g := range k.guards {
		g.Refresh()
	}
	k.timer = nil
	k.start()
}

// now is the clock of the limiter: ns since the start.
func (k *keeper) now(t time.Time) int64 { return int64(t.Sub(k.epoch)) }

func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
}
