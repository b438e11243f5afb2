package admin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"weir/internal/control"
	"weir/pool"
)

// status answers what runs, in one document.
func (a *api) status(w http.ResponseWriter, _ *http.Request) error {
	st := a.control.Status()
	st.Ready = a.isReady()
	return writeJSON(w, st)
}

// pools answers all pools with their backends.
func (a *api) pools(w http.ResponseWriter, _ *http.Request) error {
	pools := a.control.Pools()
	if pools == nil {
		pools = []pool.Status{}
	}
	return writeJSON(w, map[string]any{"pools": pools})
}

// pool answers one pool with its backends.
func (a *api) pool(w http.ResponseWriter, r *http.Request) error {
	st, err := a.findPool(r)
	if err != nil {
		return err
	}
	return writeJSON(w, st)
}

// Backend is one backend and what has happened to it.
type Backend struct {
	pool.BackendStatus
	History []pool.Event `json:"history"` // the latest changes, oldest first
}

// backend answers one backend of a pool, one that is leaving included.
func (a *api) backend(w http.ResponseWriter, r *http.Request) error {
	st, err := a.findPool(r)
	if err != nil {
		return err
	}
	for _, b := range slices.Concat(st.Backends, st.Leaving) {
		if b.Address == r.PathValue("address") {
			return writeJSON(w, Backend{b, a.control.BackendHistory(st.Name, b.Address)})
		}
	}
	return noBackend(st.Name, r.PathValue("address"))
}

// change takes a backend out of service, or back, or gives it another weight:
// {"admin":"drain","timeout":"2m"}, {"weight":3}. The answer is the backend as it
// is then; requests that it has may still run.
func (a *api) change(w http.ResponseWriter, r *http.Request) error {
	const want = `{"admin":"ready"}, {"admin":"drain"}, {"admin":"maintenance"}, the latter two with "timeout":"2m" for another deadline than the pool's, or {"weight":3}; a weight of -1 is the configured one again; "for":"2h" and "why":"disk" may be added`
	var body struct {
		Admin   *pool.Admin `json:"admin"`
		Timeout *string     `json:"timeout"`
		Weight  *int        `json:"weight"`
		lasting
	}
	if err := readJSON(w, r, &body, want); err != nil {
		return err
	}
	if body.Admin == nil && body.Weight == nil {
		return newProblem(http.StatusBadRequest, "", "nothing to change; want "+want)
	}
	timeout, err := drainTimeout(body.Timeout, body.Admin)
	if err != nil {
		return err
	}
	name, address := r.PathValue("pool"), r.PathValue("address")
	if _, err := a.findPool(r); err != nil {
		return err
	}
	origin := control.Origin{Kind: "api", Author: author(r)}
	last, err := body.lasting.read()
	if err != nil {
		return err
	}
	if body.Weight != nil {
		if err := a.control.WeighFor(name, address, *body.Weight, last, origin); err != nil {
			return whyUnchanged(err)
		}
	}
	if body.Admin != nil {
		if body.Timeout != nil {
			last.Within = &timeout
		}
		if err := a.control.MarkFor(name, address, *body.Admin, last, origin); err != nil {
			return whyUnchanged(err)
		}
	}
	return a.backend(w, r)
}

// drainTimeout reads how long what runs on a backend has; it goes with the states
// in which it gets no more.
func drainTimeout(text *string, state *pool.Admin) (time.Duration, error) {
	if text == nil {
		return 0, nil
	}
	if state == nil || *state == pool.Ready {
		return 0, newProblem(http.StatusBadRequest, "", `a timeout is for {"admin":"drain"} and {"admin":"maintenance"}`)
	}
	d, err := time.ParseDuration(*text)
	if err != nil || d < 0 {
		return 0, newProblem(http.StatusBadRequest, "", fmt.Sprintf("timeout %q; want a duration such as 2m, or 0s for no deadline", *text))
	}
	return d, nil
}

// whyUnchanged is the answer where a backend could not be changed.
func whyUnchanged(err error) error {
	var unknown *pool.UnknownBackendError
	if errors.As(err, &unknown) {
		return noBackend(unknown.Pool, unknown.Address)
	}
	if errors.Is(err, control.ErrClosed) {
		return stateProblem(err)
	}
	return newProblem(http.StatusBadRequest, "", err.Error())
}

// findPool is the pool that a request's path names.
func (a *api) findPool(r *http.Request) (pool.Status, error) {
	name := r.PathValue("pool")
	st, ok := a.control.Pool(name)
	if !ok {
		return pool.Status{}, newProblem(http.StatusNotFound, "no-pool", fmt.Sprintf("there is no pool %q", name)).titled("No such pool")
	}
	return st, nil
}

// noBackend is the answer about a backend that a pool does not have.
func noBackend(pool, address string) error {
	return newProblem(http.StatusNotFound, "no-backend", fmt.Sprintf("pool %q has no backend %q", pool, address)).titled("No such backend")
}
