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

// keeper holds what rate limits and password files remember. It is theirs, and
// not a configuration's: a change neither forgives nor forgets.
type keeper struct {
	log   *zap.Logger
	epoch time.Time

	mu       sync.Mutex                    // Prepare, Commit and tidy; never a request
	limiters map[string]*ratelimit.Limiter // by listener and route
	guards   map[string]*basicauth.Guard   // by the file's path
	timer    *time.Timer                   // while there is anything to tidy
	closed   bool
}

func newKeeper(log *zap.Logger) *keeper {
	return &keeper{log: log, epoch: time.Now(),
		limiters: make(map[string]*ratelimit.Limiter), guards: make(map[string]*basicauth.Guard)}
}

// limiter is the one of a route, which may be new.
func (k *keeper) limiter(listener, route string) *ratelimit.Limiter {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := listener + "/" + route
	if k.limiters[key] == nil {
		k.limiters[key] = ratelimit.New()
	}
	k.start()
	return k.limiters[key]
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
		k.log.Error("basic_auth", zap.String("users_file", path), zap.Error(err))
	})
	if err != nil {
		return nil, fmt.Errorf("basic_auth: %w", err)
	}
	k.guards[path] = g
	k.start()
	return g, nil
}

// retain keeps what the routes of a configuration use and forgets the rest.
func (k *keeper) retain(sites []*site) {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.limiters)
	clear(k.guards)
	for _, s := range sites {
		if s.limit != nil {
			k.limiters[s.listener+"/"+s.name] = s.limit.limiter
		}
		if s.guard != nil {
			k.guards[s.usersFile] = s.guard
		}
	}
	k.start()
}

// start sets the timer of tidy. Its caller holds mu.
func (k *keeper) start() {
	if k.timer == nil && !k.closed && len(k.limiters)+len(k.guards) > 0 {
		k.timer = time.AfterFunc(tidyEvery, k.tidy)
	}
}

// tidy gives memory back and has changed files read, on a goroutine of the
// timer.
func (k *keeper) tidy() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.limiters {
		l.Trim(k.now(time.Now()))
	}
	for _, g := range k.guards {
		g.Refresh()
	}
	k.timer = nil
	k.start()
}

// now is the clock of the limiters: ns since the start.
func (k *keeper) now(t time.Time) int64 { return int64(t.Sub(k.epoch)) }

func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
}
