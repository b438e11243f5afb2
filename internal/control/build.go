package control

import (
	"fmt"
	"net/netip"

	"weir/health"
	"weir/internal/config"
	"weir/internal/proxyproto"
	"weir/pool"
)

// spec is a configured pool as package pool wants it. limit is for the commands
// of all pools.
func spec(p config.Pool, limit health.ExecLimit) pool.Spec {
	s := pool.Spec{
		Name:              p.Name,
		Balance:           p.Balance,
		HashBalanceFactor: float64(p.HashBalance) / 100,
		SlowStart:         p.SlowStart,
		PanicThreshold:    p.Health.PanicThreshold,
		Queue:             pool.QueueSpec{Size: p.Queue.Size, Timeout: p.Queue.Timeout},
		Heartbeat:         p.Health.Heartbeat.TTL,
		FollowLoad:        p.Health.LoadHeader != "",
		DrainTimeout:      p.Drain.Timeout,
		Passive: pool.Passive{
			Enforce:           p.Health.Passive.Enforce,
			ConsecutiveErrors: p.Health.Passive.ConsecutiveErrors,
			Ejection:          p.Health.Passive.Ejection,
			MaxEjection:       p.Health.Passive.MaxEjection,
			MaxEjected:        p.Health.Passive.MaxEjected,
			HalfOpen:          p.Health.Passive.HalfOpen,
			Count:             pool.FaultsOf(p.Health.Passive.Count),
		},
		AdaptiveConcurrency: p.AdaptiveConcurrency,
	}
	if r := p.Health.Passive.SuccessRate; r.Enabled {
		s.Passive.SuccessRate = pool.SuccessRate{
			Interval: r.Interval, Deviations: r.Deviations, MinBackends: r.MinBackends, MinRequests: r.MinRequests,
		}
	}
	for _, b := range p.Backends {
		weight := b.Weight
		if weight == 0 {
			weight = pool.NoTraffic
		}
		s.Backends = append(s.Backends, pool.BackendSpec{
			Address: b.Address, Weight: weight, Tier: b.Tier, MaxRequests: b.MaxRequests,
		})
	}
	if a := p.Health.Active; a != nil {
		s.Check = &pool.CheckSpec{
			Check:    check(*a, hello(p), limit),
			Key:      checkKey(*a) + p.SendProxyProtocol,
			Interval: a.Interval, DownInterval: a.DownInterval,
			Timeout: a.Timeout,
			Fall:    a.Fall,
			Rise:    a.Rise,
		}
	}
	return s
}

// hello is how probes of a pool's backends begin: with a PROXY header that names
// nobody, where those of clients name them.
func hello(p config.Pool) []byte {
	switch p.SendProxyProtocol {
	case "v1":
		return proxyproto.Append(nil, 1, netip.AddrPort{}, netip.AddrPort{})
	case "v2":
		return proxyproto.Append(nil, 2, netip.AddrPort{}, netip.AddrPort{})
	}
	return nil
}

// check is what a configured probe asks. hello is for the backend's own port:
// an agent has another one, and a command opens its connections itself.
func check(a config.Active, hello []byte, limit health.ExecLimit) health.Check {
	switch a.Type {
	case "tcp":
		return health.TCP{Port: a.Port, Hello: hello, Send: []byte(a.Send), Expect: []byte(a.ExpectText)}
	case "grpc":
		return health.GRPC{Service: a.Service, Authority: a.Authority, Port: a.Port, Hello: hello}
	case "exec":
		return health.Exec{Argv: a.Argv, Limit: limit}
	case "agent":
		return health.Agent{Port: a.Port, Send: []byte(a.Send), Path: a.Path}
	}
	return checkHTTP(a, hello)
}

func checkHTTP(a config.Active, hello []byte) health.HTTP {
	h := health.HTTP{
		Path: a.Path, Method: a.Method, Host: a.Host, Payload: a.Payload, Body: a.Body, Port: a.Port, Hello: hello,
		Fresh: !a.ReuseConnection,
	}
	for _, line := range a.Headers {
		h.Headers = append(h.Headers, health.Header{Name: line.Name, Value: line.Value})
	}
	for _, r := range a.Expect {
		h.Expect = append(h.Expect, health.Range{From: r.From, To: r.To})
	}
	return h
}

// checkKey identifies what is asked. When and how often is compared by the
// pool itself. It is Go's syntax, with quotes: without them, one argument "a b"
// would be the same as two.
func checkKey(a config.Active) string {
	a.Interval, a.DownInterval, a.Timeout, a.Fall, a.Rise = 0, 0, 0, 0, 0
	return fmt.Sprintf("%#v", a)
}
