package pool

// NewSteady is New with a jitter that is always r: 0.5 is none.
func NewSteady(name string, o Options, r float64) *Pool {
	return newPool(name, o, func() float64 { return r })
}

// What is decided without a pool.
var (
	Schedule     = schedule
	EjectionCap  = ejectionCap
	EjectionTime = ejectionTime
	Forgive      = forgive
)

// More of it.
var RampPercent = rampPercent

// CountedInFlight adds up what the loops' cursors hold for the bounds of a ring.
func CountedInFlight(p *Pool) (n int64) {
	for i := range p.cursors {
		n += p.cursors[i].inFlight.Load()
	}
	return n
}
