package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weir/internal/control"
	"weir/internal/history"
)

// config answers the text of the configuration that runs, or it and its
// number as JSON. The ETag is the version, for If-Match.
func (a *api) config(w http.ResponseWriter, r *http.Request) error {
	version, source := a.control.Config()
	w.Header().Set("ETag", etag(version))
	if r.Header.Get("If-None-Match") == etag(version) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if accepts(r, "application/json") {
		return writeJSON(w, map[string]any{"version": version, "source": string(source)})
	}
	return writeYAML(w, source)
}

// apply takes a configuration and answers with the verdict on it.
func (a *api) apply(w http.ResponseWriter, r *http.Request) error {
	ifVersion, err := ifMatch(r.Header.Get("If-Match"))
	if err != nil {
		return err
	}
	opts, err := applyOptions(r.URL.Query())
	if err != nil {
		return err
	}
	opts.IfVersion = ifVersion
	source, err := readBody(w, r, maxConfig)
	if err != nil {
		return err
	}
	v, err := a.control.ApplyWith(r.Context(), source, control.Origin{Kind: "api", Author: author(r)}, opts)
	return a.verdict(w, v, err)
}

// applyOptions reads ?force=true, ?no_guard=true and ?confirm=5m.
func applyOptions(q url.Values) (o control.ApplyOptions, err error) {
	for key, values := range q {
		value := values[len(values)-1]
		switch key {
		case "force":
			o.Force, err = strconv.ParseBool(value)
		case "no_guard":
			o.NoGuard, err = strconv.ParseBool(value)
		case "confirm":
			if o.Confirm, err = time.ParseDuration(value); err == nil && o.Confirm <= 0 {
				err = errors.New("not a time to come")
			}
		default:
			err = errors.New("not known")
		}
		if err != nil {
			return o, newProblem(http.StatusBadRequest, "", fmt.Sprintf("%s=%s; want force=true, no_guard=true or confirm=5m", printable(key, 64), printable(value, 64)))
		}
	}
	return o, nil
}

// confirm keeps a change that would be undone otherwise.
func (a *api) confirm(w http.ResponseWriter, r *http.Request) error {
	n, err := a.control.Confirm(r.Context(), control.Origin{Kind: "api", Author: author(r)})
	switch {
	case errors.Is(err, control.ErrNothingToConfirm):
		return newProblem(http.StatusConflict, "nothing-to-confirm", err.Error()).titled("Nothing to confirm")
	case errors.Is(err, control.ErrClosed):
		return newProblem(http.StatusServiceUnavailable, "shutting-down", err.Error()).titled("Shutting down")
	case err != nil:
		return err
	}
	return writeJSON(w, map[string]int{"version": n})
}

// rollback runs an earlier version again: {"to":12}; without a number, the
// one before.
func (a *api) rollback(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		To int `json:"to"`
	}
	if err := readJSON(w, r, &body, `{"to":12}, or {} for the version before`); err != nil {
		return err
	}
	if body.To < 0 {
		return newProblem(http.StatusBadRequest, "", fmt.Sprintf("%d is not a version number", body.To))
	}
	v, err := a.control.Rollback(r.Context(), body.To, control.Origin{Kind: "rollback", Author: author(r)})
	return a.verdict(w, v, err)
}

// unpin makes the configuration file count again.
func (a *api) unpin(w http.ResponseWriter, r *http.Request) error {
	v, err := a.control.Unpin(r.Context(), control.Origin{Kind: "api", Author: author(r)})
	return a.verdict(w, v, err)
}

// verdict answers with what came of a change.
func (a *api) verdict(w http.ResponseWriter, v control.Verdict, err error) error {
	running, _ := a.control.Config()
	switch {
	case errors.Is(err, control.ErrVersionConflict):
		w.Header().Set("ETag", etag(running))
		p := newProblem(http.StatusPreconditionFailed, "version-conflict",
			fmt.Sprintf("version %d runs, another was expected", running)).titled("Version conflict")
		p.CurrentVersion = running
		return p
	case errors.Is(err, history.ErrNotFound):
		return newProblem(http.StatusNotFound, "no-version", err.Error()).titled("No such version")
	case errors.Is(err, control.ErrNoTarget):
		return newProblem(http.StatusConflict, "no-target", err.Error()).titled("Nothing to roll back to")
	case errors.Is(err, control.ErrClosed):
		return newProblem(http.StatusServiceUnavailable, "shutting-down", err.Error()).titled("Shutting down")
	case v.Result == control.Rejected:
		p := newProblem(http.StatusUnprocessableEntity, "config-rejected", detailOf(v, err)).titled("Configuration rejected")
		p.Result, p.Problems = v.Result, v.Problems
		return p
	case v.Result == control.Failed:
		p := newProblem(http.StatusInternalServerError, "config-failed", detailOf(v, err)).titled("Configuration could not be put in force")
		p.Result = v.Result
		return p
	case err != nil:
		return err
	}
	w.Header().Set("ETag", etag(v.Version))
	return writeJSON(w, v)
}

// detailOf says in a sentence why a change was not made.
func detailOf(v control.Verdict, err error) string {
	switch {
	case v.Message != "":
		return v.Message
	case len(v.Problems) == 0 && err != nil:
		return err.Error()
	default:
		return fmt.Sprintf("the configuration has %d problems; nothing has changed", len(v.Problems))
	}
}

// etag is the entity tag of a version.
func etag(version int) string { return strconv.Quote(strconv.Itoa(version)) }

// ifMatch reads an If-Match header: 0 for none or any, else one version.
func ifMatch(header string) (int, error) {
	text := strings.TrimSpace(header)
	if text == "" || text == "*" {
		return 0, nil
	}
	n, err := strconv.Atoi(strings.Trim(text, `"`))
	if err != nil || n < 1 {
		return 0, newProblem(http.StatusBadRequest, "", fmt.Sprintf("If-Match is %s; want one version, such as %s", printable(text, 64), etag(12)))
	}
	return n, nil
}

// accepts reports whether the Accept header asks for a media type by name.
func accepts(r *http.Request, mediaType string) bool {
	return strings.Contains(r.Header.Get("Accept"), mediaType)
}

// writeYAML answers with the text of a configuration.
func writeYAML(w http.ResponseWriter, source []byte) error {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Content-Length", strconv.Itoa(len(source)))
	_, _ = w.Write(source)
	return nil
}
