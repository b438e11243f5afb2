package main

import (
	"path/filepath"
	"testing"
)

func TestHistoryVerify(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", ""))
	write(t, w.dir+"/next.yaml", yaml(w.dir, oneBackend("127.0.0.1:1", ", weight: 7")))
	w.do(t, "apply", w.dir+"/next.yaml").want(t, 0)
	w.do(t, "history", "--verify").want(t, 0, "2 *", "2 versions verified, 0 damaged")
	write(t, filepath.Join(w.dir, ".weir", "000001.yaml"), "other")
	w.do(t, "history", "--verify").want(t, 1, "version 1 is damaged: 000001.yaml has ", "1 version verified, 1 damaged")
	var list versionList
	w.do(t, "history", "--verify", "--json").want(t, 1).decode(t, &list)
	if list.Verified == nil || *list.Verified != 1 || len(list.Damaged) != 1 || len(list.Versions) != 2 {
		t.Errorf("history --json: %+v", list)
	}
}
