package admin

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/pool"
)

const heartbeatPath = "/v1/pools/{pool}/backends/{address}/heartbeat"

// heartbeat enters that a backend is there. An empty body says no more than that;
// another is what an agent would answer: {"load":0.4}, {"up":false,"reason":"disk
// full"}, or a line such as "75% drain". The answer says within how many seconds
// the next one has to come, and how the backend stands.
func (a *api) heartbeat(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, maxRequest)
	if err != nil {
		return err
	}
	pulse, err := a.control.Heartbeat(r.PathValue("pool"), r.PathValue("address"), string(body))
	if err != nil {
		return a.whyUnheard(r, err)
	}
	return writeJSON(w, pulse)
}

// whyUnheard is the answer to a heartbeat that nobody wants.
func (a *api) whyUnheard(r *http.Request, err error) error {
	var unwanted *pool.NoHeartbeatError
	if errors.As(err, &unwanted) {
		return newProblem(http.StatusConflict, "no-heartbeat", err.Error()).titled("No heartbeat wanted")
	}
	var unknown *pool.UnknownBackendError
	if !errors.As(err, &unknown) {
		return newProblem(http.StatusBadRequest, "", "the report is not understood: "+err.Error()+
			`; want nothing, or for example {"load":0.4}, {"weight":75}, {"admin":"drain"} or {"up":false,"reason":"disk full"}`)
	}
	if _, err := a.findPool(r); err != nil {
		return err
	}
	return noBackend(unknown.Pool, unknown.Address)
}

// beatLog keeps heartbeats that are refused from flooding the log: whoever sends
// them goes on doing so.
type beatLog struct {
	mu   sync.Mutex
	next time.Time // when one may be logged again
	left int       // how many were not, since the last that was
}

const beatLogEvery = 10 * time.Second

// logBeat says that a heartbeat was refused, and why. One that was not changes
// nothing that the pool does not log itself.
func (a *api) logBeat(r *http.Request, err error) {
	if err == nil {
		return
	}
	l, now := &a.beats, time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		l.left++
		return
	}
	a.log.Warn("heartbeat refused", zap.String("author", author(r)), zap.String("path", printable(r.URL.Path, 256)),
		zap.Int("status", asProblem(err).Status), zap.Error(err), zap.Int("suppressed", l.left))
	l.next, l.left = now.Add(beatLogEvery), 0
}
