package config

import "time"

// Every default of the configuration is in this file and nowhere else.

func defaultConfig() Config {
	return Config{
		Admin:   Admin{Address: "127.0.0.1:9900"},
		History: History{Keep: 50},
		Guard:   Guard{Enabled: true, Window: time.Minute, MinRequests: 50, MaxErrorIncrease: 5, MaxLatencyFactor: 3},
		Log:     Log{Level: "info", Access: true, AccessFormat: "json", Sample: 1},
		Record:  Record{Requests: 1000, Sample: 0.01},
		Defaults: Defaults{
			PathHandling: "normalize",
			Timeouts: Timeouts{
				ClientHeader:     10 * time.Second,
				ClientBodyIdle:   30 * time.Second,
				ClientIdle:       75 * time.Second,
				ClientHalfClosed: 2 * time.Second,
				Connect:          3 * time.Second,
				Response:         60 * time.Second,
				StreamIdle:       time.Hour,
			},
			Limits: Limits{HeaderBytes: 32 << 10, Headers: 100, MinRate: 240},
		},
	}
}

func defaultListener(base Defaults) Listener {
	return Listener{Protocol: "http", ProxyProtocol: "off", PathHandling: base.PathHandling}
}

func defaultRoute(base Defaults) Route {
	return Route{
		RateLimit:    RateLimit{Key: "client_ip"},
		PathHandling: base.PathHandling,
		Retries: Retries{
			Attempts: 1,
			On:       []string{"connect", "reset"},
			Budget:   20,
			BackOff:  25 * time.Millisecond,
		},
		Hedge:          Hedge{Budget: 5},
		CircuitBreaker: CircuitBreaker{MinRequests: 20, Window: 10 * time.Second, Open: 5 * time.Second},
		Upgrades:       []string{anyUpgrade},
		Timeouts:       base.Timeouts,
		Limits:         base.Limits,
	}
}

// defaultRealm goes with a users_file; without one there is no realm.
const defaultRealm = "Restricted"

func defaultRedirect() Redirect { return Redirect{Status: 308} }

func defaultRespond() Respond { return Respond{Status: 200, ContentType: "text/plain"} }

func defaultPool(name string, base Defaults) Pool {
	return Pool{
		Name:        name,
		Balance:     "weighted_round_robin",
		HashKey:     "client_ip",
		HashBalance: 125,
		Health: Health{
			Passive: Passive{
				Enforce:           true,
				ConsecutiveErrors: 5,
				Ejection:          10 * time.Second,
				MaxEjection:       300 * time.Second,
				MaxEjected:        50,
				HalfOpen:          true,
				Count:             []string{"connect", "timeout", "reset", "bad_response", "502", "503", "504"},
				// Envoy's numbers.
				SuccessRate: SuccessRate{Deviations: 1.9, MinBackends: 5, MinRequests: 100, Interval: 10 * time.Second},
			},
			PanicThreshold: 50,
		},
		Queue: Queue{Timeout: 5 * time.Second},
		Drain: Drain{Timeout: 5 * time.Minute},
		// Shorter than the 60 s after which common servers close an idle
		// connection themselves: who closes first loses no request.
		KeepAlive:         KeepAlive{IdlePerBackend: 256, IdleTimeout: 30 * time.Second},
		SendProxyProtocol: "off",
		Timeouts:          base.Timeouts,
		Limits:            base.Limits,
	}
}

func defaultBackend() Backend { return Backend{Weight: 1, MaxRequests: 1024} }

// defaultActive is what `active: {}` means, together with defaultHTTP; without
// the key there are no probes.
func defaultActive() Active {
	return Active{
		Type:     "http",
		Interval: 5 * time.Second,
		Timeout:  2 * time.Second,
		Fall:     3,
		Rise:     2,
	}
}

// defaultHTTP adds what only a check of type http starts from.
func defaultHTTP(a *Active) {
	a.Path = "/"
	a.Method = "GET"
	a.Expect = []StatusRange{{From: 200, To: 399}}
	a.ReuseConnection = true
}
