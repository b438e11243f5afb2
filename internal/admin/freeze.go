package admin

import (
	"errors"
	"net/http"

	"weir/internal/control"
)

// freeze makes changes wait: {"for":"2h","why":"incident 123"}. The answer says
// since when, until when, by whom and why.
func (a *api) freeze(w http.ResponseWriter, r *http.Request) error {
	const want = `{"for":"2h","why":"incident 123"}`
	var body struct {
		For string `json:"for"`
		Why string `json:"why"`
	}
	if err := readJSON(w, r, &body, want); err != nil {
		return err
	}
	d, err := someTime(body.For)
	if err != nil {
		return newProblem(http.StatusBadRequest, "", `for is "`+printable(body.For, 64)+`"; want a time to come, as in `+want)
	}
	f, err := a.control.Freeze(r.Context(), d, printable(body.Why, maxWhy), control.Origin{Kind: "api", Author: author(r)})
	if err != nil {
		return stateProblem(err)
	}
	return writeJSON(w, f)
}

// maxWhy is how many bytes of a reason are kept.
const maxWhy = 512

// thaw ends a freeze, and answers with what came of the file if it was held.
func (a *api) thaw(w http.ResponseWriter, r *http.Request) error {
	v, err := a.control.Thaw(r.Context(), control.Origin{Kind: "api", Author: author(r)})
	if err != nil {
		return stateProblem(err)
	}
	return a.verdict(w, v, nil)
}

// stateProblem is the answer where something beside the versions could not be
// changed.
func stateProblem(err error) error {
	switch {
	case errors.Is(err, control.ErrNotFrozen):
		return newProblem(http.StatusConflict, "not-frozen", err.Error()).titled("Not frozen")
	case errors.Is(err, control.ErrWrongTime):
		return newProblem(http.StatusBadRequest, "", err.Error())
	case errors.Is(err, control.ErrClosed):
		return newProblem(http.StatusServiceUnavailable, "shutting-down", err.Error()).titled("Shutting down")
	}
	return err
}
