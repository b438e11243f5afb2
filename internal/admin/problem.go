package admin

import (
	"encoding/json"
	"errors"
	"net/http"

	"weir/internal/control"
)

// problemTypes prefixes the type of every problem that is more than its HTTP
// status. A problem without such a type is "about:blank", as RFC 9457 wants.
const problemTypes = "urn:weir:problem:"

// problem is an answer that says what is wrong, as RFC 9457 describes it. It
// is an error, so that a handler can return it.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	// Problems lists what is wrong with a configuration: file, line, column,
	// path, message, fix.
	Problems any `json:"problems,omitempty"`
	// Result is the verdict's word: rejected, failed or held.
	Result string `json:"result,omitempty"`
	// Held is the version as which a change is kept that is not applied.
	Held int `json:"held,omitempty"`
	// CurrentVersion is the version that runs, where another was expected.
	CurrentVersion int `json:"current_version,omitempty"`
}

// newProblem makes a problem of a kind, or one that is no more than its
// status where kind is empty.
func newProblem(status int, kind, detail string) *problem {
	p := &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
	if kind != "" {
		p.Type = problemTypes + kind
	}
	return p
}

// titled replaces the title, which is the same for all problems of a kind.
func (p *problem) titled(title string) *problem {
	p.Title = title
	return p
}

// Error renders the problem for the log.
func (p *problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// asProblem makes the answer to an error. What is not a problem yet is a
// fault of Weir's: it is reported as such, with its text, because whoever
// may use this API may also read the log.
func asProblem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	if errors.Is(err, control.ErrHandedOver) {
		return newProblem(http.StatusServiceUnavailable, "upgrading", err.Error()).titled("An upgrade is under way")
	}
	return newProblem(http.StatusInternalServerError, "", err.Error())
}

// writeProblem answers with p.
func writeProblem(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	writeJSONBody(w, p.Status, p)
}

// writeJSON answers 200 with v.
func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	writeJSONBody(w, http.StatusOK, v)
	return nil
}

// writeJSONBody writes v indented: half of the readers are people with curl.
// An error of the write is the client's going away, which nobody can be told.
func writeJSONBody(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(v)
}
