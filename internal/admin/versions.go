package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"weir/internal/history"
)

// versions answers which versions are kept, oldest first, and which runs. With
// ?verify=true each is read and compared with its hash before, which costs.
func (a *api) versions(w http.ResponseWriter, r *http.Request) error {
	if text := r.URL.Query().Get("verify"); text != "" {
		verify, err := strconv.ParseBool(text)
		if err != nil {
			return newProblem(http.StatusBadRequest, "", fmt.Sprintf("verify is %q; want true or false", printable(text, 64)))
		}
		if verify {
			return a.secret(a.verified)(w, r)
		}
	}
	return writeJSON(w, a.versionList())
}

func (a *api) versionList() map[string]any {
	running, _ := a.control.Config()
	list := a.control.Versions()
	if list == nil {
		list = []history.Version{}
	}
	return map[string]any{"running": running, "versions": list}
}

// verified answers the list with how many versions are right, and what is wrong
// with the others.
func (a *api) verified(w http.ResponseWriter, _ *http.Request) error {
	right, damaged := a.control.VerifyHistory()
	if damaged == nil {
		damaged = []string{}
	}
	list := a.versionList()
	list["verified"], list["damaged"] = right, damaged
	return writeJSON(w, list)
}

// versionDocument is one version with its text.
type versionDocument struct {
	history.Version
	Source string `json:"source"`
}

// version answers one version: its text where YAML is asked for, else what
// is known about it together with the text.
func (a *api) version(w http.ResponseWriter, r *http.Request) error {
	n, err := pathVersion(r, "version")
	if err != nil {
		return err
	}
	v, source, err := a.control.Version(n)
	if err != nil {
		return versionError(err)
	}
	if accepts(r, "yaml") || r.URL.Query().Has("raw") {
		return writeYAML(w, source)
	}
	return writeJSON(w, versionDocument{v, string(source)})
}

// diff answers what changes from one version to another.
func (a *api) diff(w http.ResponseWriter, r *http.Request) error {
	from, err := pathVersion(r, "version")
	if err != nil {
		return err
	}
	to, err := pathVersion(r, "against")
	if err != nil {
		return err
	}
	d, err := a.control.Diff(from, to)
	if err != nil {
		return versionError(err)
	}
	return writeJSON(w, d)
}

// diffSource answers what changes from one version to the body; ?name= is what the
// body is called.
func (a *api) diffSource(w http.ResponseWriter, r *http.Request) error {
	from, err := pathVersion(r, "version")
	if err != nil {
		return err
	}
	source, err := readBody(w, r, maxConfig)
	if err != nil {
		return err
	}
	name := printable(r.URL.Query().Get("name"), 256)
	if name == "" {
		name = "the body"
	}
	d, err := a.control.DiffSource(from, name, source)
	if err != nil {
		return versionError(err)
	}
	return writeJSON(w, d)
}

// pathVersion reads a version number of the path.
func pathVersion(r *http.Request, name string) (int, error) {
	text := r.PathValue(name)
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, newProblem(http.StatusBadRequest, "", fmt.Sprintf("%q is not a version number", printable(text, 64)))
	}
	return n, nil
}

// versionError tells a version that is not kept from one that cannot be read.
func versionError(err error) error {
	if errors.Is(err, history.ErrNotFound) {
		return newProblem(http.StatusNotFound, "no-version", err.Error()).titled("No such version")
	}
	return err
}
