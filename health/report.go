package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	maxWeight = 1000 // percent
	maxReason = 200  // bytes
)

// Report is what an address says of itself. What it does not mention stays as it
// was.
type Report struct {
	Weight  int    // percent of the configured weight, 0 to 1000; 0: no new work. -1: not said
	Admin   string // "ready", "drain" or "maint"; "": not said
	Up      *bool  // fit to serve, or not; nil: not said
	MaxConn int    // requests at once, 0 without limit; -1: not said
	Reason  string // one line for people; "": none
}

// silent is the Report that says nothing.
var silent = Report{Weight: -1, MaxConn: -1}

// Err is the failure that the Report speaks of; nil if it speaks of none.
func (r Report) Err() error {
	switch {
	case r.Up == nil || *r.Up:
		return nil
	case r.Reason == "":
		return errors.New("agent says down")
	}
	return fmt.Errorf("agent says down: %s", r.Reason)
}

// ParseReport reads the answer of an agent: a JSON object, or else one line of
// words with spaces, tabs or commas between them, as HAProxy's agents say them:
//
//	75%                     Weight
//	maxconn:30              MaxConn
//	ready, drain, maint     Admin
//	up                      Up
//	down, failed, stopped   Up, and not so
//	# reason                Reason: the rest of the line
//
// Of several words for one thing the last counts. Words that mean nothing here
// are passed over, unless there are no others: agents speak to other proxies too.
func ParseReport(answer string) (Report, error) {
	answer = strings.TrimSpace(answer)
	if strings.HasPrefix(answer, "{") {
		return parseJSON(answer)
	}
	line, _, _ := strings.Cut(answer, "\n")
	line, _, _ = strings.Cut(line, "\r")
	line, reason, _ := strings.Cut(line, "#")
	r, understood := silent, false
	for word := range strings.FieldsFuncSeq(line, isBlank) {
		ok, err := r.take(strings.ToLower(word))
		if err != nil {
			return silent, err
		}
		understood = understood || ok
	}
	if !understood {
		return silent, fmt.Errorf("agent says %.64q, which means nothing", line)
	}
	r.Reason = oneLine(reason, maxReason)
	return r, nil
}

// ParseHeartbeat reads what an address says of itself unasked: nothing at all, or
// {}, which is no more than that it is there, or what ParseReport reads.
func ParseHeartbeat(said string) (Report, error) {
	if strings.Trim(said, "{} \t\r\n") == "" {
		return silent, nil
	}
	return ParseReport(said)
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == ',' }

// take enters one word. ok is false if it means nothing.
func (r *Report) take(word string) (ok bool, err error) {
	switch word {
	case "ready", "drain", "maint":
		r.Admin = word
		return true, nil
	case "up":
		r.Up = new(true)
		return true, nil
	case "down", "fail", "failed", "stopped":
		r.Up = new(false)
		return true, nil
	}
	if n, ok := strings.CutSuffix(word, "%"); ok {
		r.Weight, err = number(word, n, maxWeight)
		return true, err
	}
	if n, ok := strings.CutPrefix(word, "maxconn:"); ok {
		r.MaxConn, err = number(word, n, math.MaxInt32)
		return true, err
	}
	return false, nil
}

// number reads digits, which word is made of, as a number of at most limit.
func number(word, digits string, limit uint64) (int, error) {
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n > limit {
		return -1, fmt.Errorf("agent says %.64q, which is no number up to %d", word, limit)
	}
	return int(n), nil
}

// object is a report as JSON: {"load": 0.4}, a load between 0 and 1, or
// {"weight": 75}, a percentage; and what the words say, too: {"up": false,
// "reason": "disk full"}, {"admin": "drain"}, {"maxconn": 30}.
type object struct {
	Load, Weight  *float64
	Up            *bool
	Admin, Reason string
	MaxConn       *int
}

// parseJSON reads an object. A weight goes before a load; whatever else is there
// is its own.
func parseJSON(answer string) (Report, error) {
	var said object
	if err := json.Unmarshal([]byte(answer), &said); err != nil {
		return silent, fmt.Errorf("agent answer: %w", err)
	}
	if said.Load == nil && said.Weight == nil && said.Up == nil && said.Admin == "" && said.MaxConn == nil {
		return silent, errors.New("agent answer has neither load, weight, up, admin nor maxconn")
	}
	r := silent
	r.Up, r.Reason = said.Up, oneLine(said.Reason, maxReason)
	if said.MaxConn != nil {
		if r.MaxConn = *said.MaxConn; r.MaxConn < 0 || r.MaxConn > math.MaxInt32 {
			return silent, fmt.Errorf("agent says maxconn %d, want 0 to %d", r.MaxConn, math.MaxInt32)
		}
	}
	switch said.Admin {
	case "", "ready", "drain", "maint":
		r.Admin = said.Admin
	case "maintenance": // as everybody else here calls it
		r.Admin = "maint"
	default:
		return silent, fmt.Errorf("agent says admin %.64q, want ready, drain or maint", said.Admin)
	}
	var err error
	r.Weight, err = said.weight()
	if err != nil {
		return silent, err
	}
	return r, nil
}

// weight is what the object says of it; -1: nothing.
func (o *object) weight() (int, error) {
	switch {
	case o.Weight != nil:
		if *o.Weight < 0 || *o.Weight > maxWeight {
			return -1, fmt.Errorf("agent says weight %v, want 0 to %d", *o.Weight, maxWeight)
		}
		return int(math.Round(*o.Weight)), nil
	case o.Load != nil:
		if *o.Load < 0 || *o.Load > 1 {
			return -1, fmt.Errorf("agent says load %v, want 0 to 1", *o.Load)
		}
		// When all are full, somebody must go on: a load takes nobody out.
		return max(1, int(math.Round(100*(1-*o.Load)))), nil
	}
	return -1, nil
}
