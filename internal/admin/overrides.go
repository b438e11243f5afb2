package admin

import (
	"fmt"
	"net/http"

	"weir/internal/control"
)

// lasting is how long something lasts that an operator says, and why it is said:
// part of a body.
type lasting struct {
	For string `json:"for"`
	Why string `json:"why"`
}

func (l lasting) read() (control.Lasting, error) {
	out := control.Lasting{Why: printable(l.Why, maxWhy)}
	if l.For == "" {
		return out, nil
	}
	d, err := someTime(l.For)
	if err != nil {
		return out, newProblem(http.StatusBadRequest, "", fmt.Sprintf("for is %q; want a time to come, such as 30m or 2h", printable(l.For, 64)))
	}
	out.For = d
	return out, nil
}

// overrides answers what operators have said of backends.
func (a *api) overrides(w http.ResponseWriter, _ *http.Request) error {
	list := a.control.Overrides()
	if list == nil {
		list = []control.Override{}
	}
	return writeJSON(w, map[string]any{"overrides": list})
}

// clearOverrides lifts those of ?pool=api&backend=10.0.0.3:9001, or all.
func (a *api) clearOverrides(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	name, address := q.Get("pool"), q.Get("backend")
	if (name == "") != (address == "") || len(q) > 2 || len(q) > 0 && name == "" {
		return newProblem(http.StatusBadRequest, "", "want ?pool=NAME&backend=ADDRESS, or neither to lift all overrides")
	}
	n, err := a.control.ClearOverrides(name, address, control.Origin{Kind: "api", Author: author(r)})
	if err != nil {
		return whyUnchanged(err)
	}
	return writeJSON(w, map[string]int{"lifted": n})
}

// exportOverrides answers the text that runs with the overrides written into it.
func (a *api) exportOverrides(w http.ResponseWriter, r *http.Request) error {
	e, err := a.control.ExportOverrides()
	if err != nil {
		return newProblem(http.StatusConflict, "no-export", err.Error()).titled("Overrides cannot be written")
	}
	if accepts(r, "yaml") {
		return writeYAML(w, []byte(e.Source))
	}
	return writeJSON(w, e)
}
