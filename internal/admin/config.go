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

// applyOptions reads ?force=true, ?no_guard=true, ?confirm=5m,
// ?stage=5,25,100&hold=30s and ?shadow=10m.
func applyOptions(q url.Values) (o control.ApplyOptions, err error) {
	for key, values := range q {
		value := values[len(values)-1]
		switch key {
		case "force":
			o.Force, err = strconv.ParseBool(value)
		case "no_guard":
			o.NoGuard, err = strconv.ParseBool(value)
		case "confirm":
			o.Confirm, err = someTime(value)
		case "hold":
			o.Hold, err = someTime(value)
		case "shadow":
			o.Shadow, err = someTime(value)
		case "stage":
			o.Stage, err = steps(value)
		default:
			err = errors.New("not known")
		}
		if err != nil {
			return o, newProblem(http.StatusBadRequest, "", fmt.Sprintf("%s=%s; want force=true, no_guard=true, confirm=5m, stage=5,25,100 with hold=30s, or shadow=10m", printable(key, 64), printable(value, 64)))
		}
	}
	switch {
	case len(o.Stage) > 0 && o.Shadow > 0:
		err = newProblem(http.StatusBadRequest, "", "a change is staged or a shadow, not both")
	case len(o.Stage) > 0 && o.Hold == 0:
		o.Hold = defaultHold
	case len(o.Stage) == 0 && o.Hold > 0:
		err = newProblem(http.StatusBadRequest, "", "hold is how long each step of stage lasts; there is no stage")
	case (len(o.Stage) > 0 || o.Shadow > 0) && (o.Confirm > 0 || o.NoGuard):
		err = newProblem(http.StatusBadRequest, "", "a change that is tried first is neither confirmed nor unguarded")
	}
	return o, err
}

const defaultHold = 30 * time.Second

func someTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("not a time to come")
	}
	return d, err
}

// steps reads growing percentages: 5,25,100.
func steps(text string) ([]int, error) {
	var out []int
	last := 0
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(word), "%"))
		if err != nil || n <= last || n > 100 {
			return nil, errors.New("not growing percentages")
		}
		out, last = append(out, n), n
	}
	return out, nil
}

// trial answers with the change that is being tried, or the last one that was.
func (a *api) trial(w http.ResponseWriter, _ *http.Request) error {
	t := a.control.Trial()
	if t == nil {
		return newProblem(http.StatusNotFound, "no-trial", control.ErrNoTrial.Error()).titled("No trial")
	}
	return writeJSON(w, t)
}

// endTrial promotes what is being tried, or aborts it: {"do":"promote"}.
func (a *api) endTrial(w http.ResponseWriter, r *http.Request) error {
	const want = `{"do":"promote"} or {"do":"abort"}`
	var body struct {
		Do string `json:"do"`
	}
	if err := readJSON(w, r, &body, want); err != nil {
		return err
	}
	if body.Do != "promote" && body.Do != "abort" {
		return newProblem(http.StatusBadRequest, "", "want "+want)
	}
	v, err := a.control.EndTrial(r.Context(), body.Do == "promote", control.Origin{Kind: "api", Author: author(r)})
	if errors.Is(err, control.ErrNoTrial) {
		return newProblem(http.StatusConflict, "no-trial", err.Error()).titled("No trial")
	}
	return a.verdict(w, v, err)
}

// replay decides the recorded requests under another configuration.
func (a *api) replay(w http.ResponseWriter, r *http.Request) error {
	source, err := readBody(w, r, maxConfig)
	if err != nil {
		return err
	}
	out, err := a.control.Replay(source)
	switch {
	case len(out.Problems) > 0:
		p := newProblem(http.StatusUnprocessableEntity, "config-rejected", fmt.Sprintf("the configuration has %d problems", len(out.Problems))).titled("Configuration rejected")
		p.Problems = out.Problems
		return p
	case err != nil:
		return newProblem(http.StatusUnprocessableEntity, "config-failed", err.Error()).titled("Configuration could not be compiled")
	}
	return writeJSON(w, out)
}

// recorded answers with the requests that were recorded.
func (a *api) recorded(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, map[string]any{"requests": a.control.Recorded()})
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
	case v.Result == control.Held:
		p := newProblem(http.StatusLocked, "frozen", v.Message).titled("Configuration is frozen")
		p.Result, p.Held, p.CurrentVersion = v.Result, v.Held, v.Version
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
