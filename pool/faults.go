package pool

import (
	"fmt"
	"strconv"
)

// Faults says which outcomes of requests are errors of a backend: what takes it
// out (Passive), and what Errors of its status counts. What is left out counts
// neither for the backend nor against it, but a status that is left out is an
// answer like any other. 4xx and clients that leave are never errors.
type Faults struct {
	outcomes uint16    // bit o: Outcome o is one
	statuses [2]uint64 // the same for the statuses from 500 to 599
}

// Statuses that can be faults.
const (
	leastFault = 500
	mostFault  = 599
)

// everyFault is what counts where nobody has said anything else.
var everyFault = FaultsOf([]string{"connect", "timeout", "reset", "bad_response", "502", "503", "504"})

// FaultsOf makes Faults of the words of a configuration: connect, timeout,
// reset, bad_response and statuses from 500 to 599. It panics at others, which
// no configuration has.
func FaultsOf(words []string) *Faults {
	f := &Faults{outcomes: 1 << BadStatus} // which statuses are, is asked before: see Answered
	for _, w := range words {
		switch w {
		case "connect":
			f.outcomes |= 1<<ConnectRefused | 1<<ConnectTimeout
		case "timeout":
			f.outcomes |= 1 << ResponseTimeout
		case "reset":
			f.outcomes |= 1 << Reset
		case "bad_response":
			f.outcomes |= 1 << BadResponse
		default:
			f.addStatus(w)
		}
	}
	return f
}

func (f *Faults) addStatus(word string) {
	n, err := strconv.Atoi(word)
	if err != nil || n < leastFault || n > mostFault {
		panic("BUG: " + word + " is no error of a backend")
	}
	n -= leastFault
	f.statuses[n/64] |= 1 << (n % 64)
}

// outcome reports whether o is an error of the backend.
func (f *Faults) outcome(o Outcome) bool { return f.outcomes&(1<<o) != 0 }

// status reports whether an answer with that status is one.
func (f *Faults) status(n int) bool {
	if n < leastFault || n > mostFault {
		return false
	}
	n -= leastFault
	return f.statuses[n/64]&(1<<(n%64)) != 0
}

// Answered is the Outcome of an answer with that status, if nothing else is wrong
// with it: BadStatus if the pool takes it for an error of the backend, else
// Success.
func (l *Lease) Answered(status int) Outcome {
	if status < leastFault || !l.b.pool.faults.Load().status(status) {
		return Success
	}
	l.b.lastStatus.Store(uint32(status))
	return BadStatus
}

// lastError is the latest error, for people.
func (b *Backend) lastError() string {
	o := Outcome(b.lastBad.Load())
	if n := b.lastStatus.Load(); o == BadStatus && n != 0 {
		return fmt.Sprintf("status %d", n)
	}
	return o.String()
}
