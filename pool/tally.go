package pool

// tally is what the loops have counted of a backend, added up: all of it, or
// what came between two looks.
type tally struct {
	requests uint64 // that ended
	errors   uint64 // of these, with a fault
	neutral  uint64 // of these, neither that nor a success
	reports  uint64 // of load
	reported uint64 // the loads, added up; in 1/loadUnit
}

// tally adds up what the loops have counted so far.
func (l *load) tally() (t tally) {
	for i := range l.loops {
		c := &l.loops[i]
		t.requests += c.requests.Load()
		t.errors += c.errors.Load()
		t.neutral += c.neutral.Load()
		t.reports += c.reports.Load()
		t.reported += c.reported.Load()
	}
	return t
}

// since is what came after then.
func (t tally) since(then tally) tally {
	return tally{
		requests: t.requests - then.requests, errors: t.errors - then.errors, neutral: t.neutral - then.neutral,
		reports: t.reports - then.reports, reported: t.reported - then.reported,
	}
}
