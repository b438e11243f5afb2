package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Defaults of an upgrade, and what they may be at most.
const (
	DefaultReadyTimeout = 10 * time.Second
	DefaultProbation    = time.Minute
	maxUpgradeTime      = time.Hour
)

// UpgradeOptions are what can be asked of an upgrade. What is executed is not
// among them: whoever has the token could run anything.
type UpgradeOptions struct {
	ReadyTimeout time.Duration // that the new process may take to serve
	Probation    time.Duration // that it must live before this one leaves
}

// What comes of an upgrade.
const (
	UpgradeStarting   = "starting"    // the new process was started
	UpgradeReady      = "ready"       // it serves, this one finishes what it has
	UpgradeFailed     = "failed"      // it was not ready: nothing has changed
	UpgradeRolledBack = "rolled_back" // it died on probation: this process serves again
	UpgradeDone       = "done"        // probation is over
)

// UpgradeStep is one of them.
type UpgradeStep struct {
	Step      string    `json:"step"`
	PID       int       `json:"pid,omitempty"`   // of the new process
	Program   string    `json:"program"`         // what was executed
	Build     string    `json:"build,omitempty"` // what the new process says it is
	Message   string    `json:"message,omitempty"`
	TookMS    float64   `json:"took_ms"` // since the upgrade began
	Probation time.Time `json:"probation_until,omitzero"`
}

// upgrade replaces this process and answers with each step as it comes, a JSON
// object a line: up to the verdict on the start, with ?wait=true up to the end
// of the probation. It goes on when the client leaves.
func (a *api) upgrade(w http.ResponseWriter, r *http.Request) error {
	o, wait, err := upgradeOptions(r.URL.Query())
	if err != nil {
		return err
	}
	if a.upgrader == nil {
		return newProblem(http.StatusConflict, "no-upgrade", "this Weir cannot be replaced").titled("No upgrade")
	}
	steps, err := a.upgrader(o)
	if err != nil {
		return newProblem(http.StatusConflict, "no-upgrade", err.Error()).titled("No upgrade")
	}
	rc := http.NewResponseController(w)
	// Both times are bounded, and a silent stream is none that is stuck.
	if err := rc.SetWriteDeadline(time.Now().Add(o.ReadyTimeout + o.Probation + writeTimeout)); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for s := range steps {
		if e.Encode(s) != nil || rc.Flush() != nil {
			return nil // the client is gone
		}
		if s.Step == UpgradeReady && !wait {
			return nil
		}
	}
	return nil
}

// upgradeOptions reads ?ready_timeout=10s&probation=60s&wait=true.
func upgradeOptions(q url.Values) (o UpgradeOptions, wait bool, err error) {
	o = UpgradeOptions{DefaultReadyTimeout, DefaultProbation}
	for key, values := range q {
		value := values[len(values)-1]
		switch key {
		case "ready_timeout":
			o.ReadyTimeout, err = upgradeTime(value, time.Millisecond)
		case "probation":
			o.Probation, err = upgradeTime(value, 0)
		case "wait":
			wait, err = strconv.ParseBool(value)
		default:
			err = errors.New("not known")
		}
		if err != nil {
			return o, false, newProblem(http.StatusBadRequest, "", fmt.Sprintf("%s=%s: %v; want ready_timeout=10s, probation=60s or wait=true",
				printable(key, 64), printable(value, 64), err))
		}
	}
	return o, wait, nil
}

func upgradeTime(text string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && (d < least || d > maxUpgradeTime) {
		err = fmt.Errorf("want %v to %v", least, maxUpgradeTime)
	}
	return d, err
}
