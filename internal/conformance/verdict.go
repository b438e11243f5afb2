package conformance

import "fmt"

// Kind is what a case has shown of the proxy.
type Kind string

// The kinds, the worst first. Malformed includes what is well-formed and yet
// must not arrive, such as a field of another hop.
const (
	Desync    Kind = "desync"    // two parties disagree where a message ends, or the next client suffers
	Malformed Kind = "malformed" // something forbidden was passed on
	Lax       Kind = "lax"       // forwarded, though repaired, where it must be refused
	Wrong     Kind = "wrong"     // a legal message refused or changed, or refused in the wrong way
	Slow      Kind = "slow"      // no decision in time
	OK        Kind = "ok"
)

// Outcome is what the proxy did with the message, whatever it should have done.
type Outcome int

// The outcomes, the most careful first.
const (
	Refused  Outcome = iota // an error, a close, a visible cut, or it waits for the rest
	Repaired                // passed on with nothing forbidden in it
	Relayed                 // passed on with what is forbidden
	Confused                // see Desync
)

// String says it in the words of the table.
func (o Outcome) String() string {
	return [...]string{"refused", "passed on clean", "passed on malformed", "confused"}[o]
}

// Verdict is the judgement of one case.
type Verdict struct {
	Kind    Kind
	Outcome Outcome
	Why     string // a sentence; empty if there is nothing to say
}

// String is the verdict in one line.
func (v Verdict) String() string {
	if v.Why == "" {
		return fmt.Sprintf("%s (%s)", v.Kind, v.Outcome)
	}
	return fmt.Sprintf("%s (%s): %s", v.Kind, v.Outcome, v.Why)
}
