package admin

import (
	"errors"
	"net/http"

	"weir/internal/control"
)

// plan answers what a configuration would change, and changes nothing. One that is
// wrong is an answer too: its problems are.
func (a *api) plan(w http.ResponseWriter, r *http.Request) error {
	source, err := readBody(w, r, maxConfig)
	if err != nil {
		return err
	}
	p, err := a.control.Preview(r.Context(), "", source)
	switch {
	case errors.Is(err, control.ErrClosed):
		return newProblem(http.StatusServiceUnavailable, "shutting-down", err.Error()).titled("Shutting down")
	case err != nil:
		return err
	}
	w.Header().Set("ETag", etag(p.Version))
	return writeJSON(w, p)
}
