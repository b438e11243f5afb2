package proxy_test

import (
	"strings"
	"testing"

	"weir/internal/testkit"
)

// A request that the end of the grace period cuts off is in the access log like
// any other, and nobody else is blamed for it.
func TestCutOffIsLogged(t *testing.T) {
	backend := testkit.NewBackend(t, testkit.NeverAnswer)
	w := testkit.Start(t, `
listeners: [{name: web, address: "127.0.0.1:0", routes: [{name: all, pool: api}]}]
pools: {api: {backends: [{address: "`+backend.Addr()+`"}]}}
`)
	client := testkit.Dial(t, w.Addr("web"))
	client.Send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
	for len(backend.Heads()) == 0 {
		client.Silent(1e6) // the backend is about to have the request
	}
	w.Close()
	log := w.AccessLog()
	for _, want := range []string{`"path":"/cut"`, `"reason":"shutting_down"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the access log lacks %s:\n%s", want, log)
		}
	}
}
