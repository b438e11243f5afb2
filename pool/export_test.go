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
