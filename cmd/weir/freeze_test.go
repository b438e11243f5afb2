package main

import (
	"os"
	"testing"
)

func TestFreezeFromTheCommandLine(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", ""))
	w.do(t, "thaw").want(t, 1, "not frozen")
	w.do(t, "freeze", "soon").want(t, 1, `"soon" is not a duration`)
	w.do(t, "freeze", "0s").want(t, 1, "want a time to come")
	w.do(t, "freeze", "2h", "incident 123").want(t, 0, "frozen until ", "(incident 123)", "weir thaw")

	next := w.dir + "/next.yaml"
	write(t, next, yaml(w.dir, oneBackend("127.0.0.1:1", ", weight: 7")))
	w.do(t, "apply", next).want(t, 1, "held as version 2: frozen until ", "weir thaw")
	var no refusal
	w.do(t, "apply", next, "--json").want(t, 1).decode(t, &no)
	if no.Held != 2 || no.Result != "held" {
		t.Errorf("apply --json: %+v", no)
	}
	w.do(t, "status").want(t, 0, "version 1 ", "WARNING: frozen until ", "incident 123")
	w.do(t, "history").want(t, 0, "held", "1 *")

	text, err := os.ReadFile(next)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.file, string(text))
	w.log.await(t, `"origin":"file"`)
	w.do(t, "status").want(t, 0, "held as version 2")
	w.do(t, "thaw").want(t, 0, "weight 1 -> 7", "version 3 runs")
}
