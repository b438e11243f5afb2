package control

import (
	"fmt"
	"net/netip"

	"weir/health"
	"weir/internal/config"
	"weir/internal/proxyproto"
	"weir/pool"
)

// spec is a configured pool as package pool wants it.
func spec(p config.Pool) pool.Spec {
	s := pool.Spec{
		Name:    p.Name,
		Balance: p.Balance,
		Passive: pool.Passive{
			ConsecutiveErrors: p.Health.Passive.ConsecutiveErrors,
			Ejection:          p.Health.Passive.Ejection,
			MaxEjection:       p.Health.Passive.MaxEjection,
			MaxEjected:        p.Health.Passive.MaxEjected,
		},
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
			Check:    check(*a, hello(p)),
			Key:      checkKey(*a) + p.SendProxyProtocol,
			Interval: a.Interval,
			Timeout:  a.Timeout,
			Fall:     a.Fall,
			Rise:     a.Rise,
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

func check(a config.Active, hello []byte) health.Check {
	if a.Type == "tcp" {
		return health.TCP{Port: a.Port, Hello: hello}
	}
	h := health.HTTP{Path: a.Path, Method: a.Method, Host: a.Host, Body: a.Body, Port: a.Port, Hello: hello}
	for _, r := range a.Expect {
		h.Expect = append(h.Expect, health.Range{From: r.From, To: r.To})
	}
	return h
}

// checkKey identifies what is asked. When and how often is compared by the
// pool itself.
func checkKey(a config.Active) string {
	a.Interval, a.Timeout, a.Fall, a.Rise = 0, 0, 0, 0
	return fmt.Sprintf("%+v", a)
}
