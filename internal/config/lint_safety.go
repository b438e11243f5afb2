package config

import (
	"fmt"
	"slices"
	"strings"
)

// secretNames are headers and query parameters whose values let somebody in;
// secretEnds, words that end such names (X-Auth-Token, access_token, apiKey).
var (
	secretNames = []string{"authorization", "proxy-authorization", "cookie", "x-auth"}
	secretEnds  = []string{"token", "secret", "password", "api-key", "apikey", "signature"}
)

// IsSecretName reports whether the value of a header or of a query parameter
// lets somebody in, by its name. It allocates nothing.
func IsSecretName[T string | []byte](name T) bool {
	return slices.ContainsFunc(secretNames, func(s string) bool { return len(name) == len(s) && endsIn(name, s) }) ||
		slices.ContainsFunc(secretEnds, func(s string) bool { return endsIn(name, s) })
}

// endsIn is strings.HasSuffix in any case, and with _ for -.
func endsIn[T string | []byte](name T, end string) bool {
	from := len(name) - len(end)
	for i := 0; from >= 0 && i < len(end); i++ {
		if c := name[from+i]; c != end[i] && c|0x20 != end[i] && (c != '_' || end[i] != '-') {
			return false
		}
	}
	return from >= 0
}

// plaintextSecrets finds secrets that everybody reads who reads the file, its
// versions or a commit of it.
func (l *linter) plaintextSecrets() {
	for i := range l.Listeners {
		for k := range l.Listeners[i].Routes {
			r, at := &l.Listeners[i].Routes[k], routeAt(l.Config, i, k)
			l.secretsIn(at.key("match.headers"), r.Match.Headers)
			l.secretsIn(at.key("request_headers.set"), r.RequestHeaders.Set)
			l.secretsIn(at.key("request_headers.add"), r.RequestHeaders.Add)
		}
	}
	for i := range l.Pools {
		if a := l.Pools[i].Health.Active; a != nil {
			l.secretsIn(poolAt(&l.Pools[i]).key("health.active.headers"), a.Headers)
		}
	}
}

func (l *linter) secretsIn(w where, hs []Header) {
	for _, h := range hs {
		if h.Value == "" || h.Value == "*" || !IsSecretName(h.Name) {
			continue
		}
		at := w.key(h.Name)
		if raw := l.raw(at.path); raw != "" && !strings.Contains(strings.ReplaceAll(raw, "$${", ""), "${") {
			l.warn(at, fmt.Sprintf("write ${%s} and set that variable", variableFor(h.Name)),
				"the value of %s is here for everybody who can read this file or a version of it", h.Name)
		}
	}
}

// variableFor is a name of an environment variable for a header.
func variableFor(name string) string {
	name = strings.Map(func(r rune) rune {
		if isVariable("_" + string(r)) {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
	return strings.TrimPrefix(name, "X_")
}

func (l *linter) adminExposed() {
	e, err := parseEndpoint(l.Admin.Address)
	if err == nil && e.unix == "" && (e.host == "" || e.ip.IsValid() && e.ip.IsUnspecified()) {
		l.warn(where{path: "admin.address"}, "name the one address that is needed, such as 127.0.0.1 or ${POD_IP}",
			"%q is every address of this machine, and the token goes over the network as it is", l.Admin.Address)
	}
}

func (l *linter) trustsEverybody(w where, n *Listener) {
	if e, err := parseEndpoint(n.Address); err != nil || e.private() {
		return
	}
	for _, p := range n.TrustedProxies {
		if p.Bits() == 0 {
			l.warn(w.key("trusted_proxies"), "name the networks of the proxies in front",
				"%s is everybody: any client can say that it has another address", p)
			return
		}
	}
}

func (l *linter) greetedByNobody(w where, n *Listener) {
	if n.ProxyProtocol == "off" || len(n.TrustedProxies) > 0 {
		return
	}
	what := "a PROXY header is believed from nobody"
	if n.ProxyProtocol == "require" {
		what = "every connection is refused"
	}
	l.warn(w.key("proxy_protocol"), "name the proxies in front in trusted_proxies", "%s: there are no trusted_proxies", what)
}
