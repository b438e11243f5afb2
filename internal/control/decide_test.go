package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/internal/history"
)

// tale makes versions of a line like "a b !c 2=a": the hash of each, with ! for
// one that was rolled back and n= for a rollback of version n.
func tale(line string) []history.Version {
	var versions []history.Version
	for i, word := range strings.Fields(line) {
		v := history.Version{Number: i + 1, Verdict: history.Applied}
		if strings.HasPrefix(word, "!") {
			v.Verdict, word = history.RolledBack, word[1:]
		}
		if of, hash, ok := strings.Cut(word, "="); ok {
			fmt.Sscan(of, &v.RollbackOf)
			word = hash
		}
		v.Hash = word
		versions = append(versions, v)
	}
	return versions
}

func TestDecide(t *testing.T) {
	f := func(file, versions, pinned string, strict bool, want string) {
		t.Helper()
		s := seen{path: "weir.yaml", hash: file}
		if file == "" {
			s.err = errors.New("no such file")
		}
		if file == "broken" {
			s.err = errors.New("line 3: no")
		}
		st := history.State{Pinned: pinned != "", FileHash: pinned, Reason: "because"}
		d, err := decide(s, tale(versions), st, time.Now(), strict)
		got := fmt.Sprintf("version %d, %s", d.version, d.state)
		switch {
		case err != nil:
			got = "error: " + err.Error()
		case d.file:
			got = "file, " + d.state
		}
		if d.pin.Pinned {
			got += ", pinned: " + d.pin.Reason
		}
		if d.loud != "" {
			got += ", loud"
		}
		if got != want {
			t.Errorf("file %q, versions %q, pin %q, strict %v:\n got %s\nwant %s", file, versions, pinned, strict, got, want)
		}
	}
	// the first start
	f("a", "", "", false, "file, in_sync")
	f("broken", "", "", false, "error: nothing to run: line 3: no, and no earlier version is kept")
	f("", "", "", false, "error: nothing to run: no such file, and no earlier version is kept")

	// a later one
	f("b", "a b", "", false, "version 2, in_sync")
	f("c", "a b", "", false, "file, in_sync")
	f("a", "a b", "", false, "file, in_sync")
	f("b", "a b", "", true, "version 2, in_sync")

	// the last edit is wrong, or the file is gone
	f("broken", "a b", "", false, "version 2, rejected, loud")
	f("", "a b", "", false, "version 2, missing, loud")
	f("broken", "a b", "", true, "error: strict: line 3: no")
	f("", "a b", "", true, "error: strict: no such file")
	f("broken", "a !b", "", false, "version 1, rejected, loud")

	// pinned: the file of that time is ignored, strict or not
	f("b", "a !b 1=a", "b", false, "version 3, ignored, pinned: because, loud")
	f("b", "a !b 1=a", "b", true, "version 3, ignored, pinned: because, loud")
	// it was edited meanwhile
	f("c", "a !b 1=a", "b", false, "file, in_sync")
	f("a", "a !b 1=a", "b", false, "version 3, in_sync")
	f("broken", "a !b 1=a", "b", false, "version 3, rejected, pinned: because, loud")
	// a crash came between the pin and the rollback that it was for
	f("b", "a b", "b", false, "version 2, in_sync")

	// rolled back, with no pin to tell of it
	f("b", "a !b", "", false, "version 1, ignored, pinned: the file has the bytes of version 2, which was rolled back, loud")
	f("b", "a !b", "", true, "error: strict: weir.yaml: the file has the bytes of version 2, which was rolled back")
	// the last word on these bytes was another
	f("b", "a !b b c", "", false, "file, in_sync")
	// nothing else is left
	f("b", "!b", "", false, "file, in_sync")
}

func TestRollbackTarget(t *testing.T) {
	f := func(versions string, running, to int, want string) {
		t.Helper()
		list := tale(versions)
		v, err := rollbackTarget(list, list[running-1], to)
		got := fmt.Sprint(v.Number)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("versions %q, running %d, to %d:\n got %s\nwant %s", versions, running, to, got, want)
		}
	}
	// the one before
	f("a b c", 3, 0, "2")
	// with other bytes
	f("a b b", 3, 0, "1")
	// and not one that was itself undone
	f("a !b 1=a c", 4, 0, "3")
	f("a b !c d", 4, 0, "2")

	// again: further back, not forth
	f("a b !c 2=b", 4, 0, "1")
	f("a b !c !2=b 1=a", 5, 0, "nothing to roll back to: no earlier configuration than that of version 5 is kept; versions 1 to 5 are kept")
	// back to where a rollback had led
	f("a !b 1=a c !d 4=c", 6, 0, "3")

	// by number: anything else that is kept
	f("a b c", 3, 1, "1")
	f("a b !c 2=b", 4, 3, "3")
	f("a b c", 3, 3, "nothing to roll back to: version 3 is running")
	f("a b a", 3, 1, "nothing to roll back to: version 1 is the same, byte for byte, as version 3, which is running")
	f("a b c", 3, 7, "version 7: no such version; versions 1 to 3 are kept")
	f("a", 1, 0, "nothing to roll back to: no earlier configuration than that of version 1 is kept; version 1 is kept")
}

func TestKept(t *testing.T) {
	f := func(want string, numbers ...int) {
		t.Helper()
		var versions []history.Version
		for _, n := range numbers {
			versions = append(versions, history.Version{Number: n})
		}
		if got := kept(versions); got != want {
			t.Errorf("kept(%v) = %q, want %q", numbers, got, want)
		}
	}
	f("no version is kept")
	f("version 4 is kept", 4)
	f("versions 4, 5 are kept", 4, 5)
	f("versions 1, 4 to 6, 9 are kept", 1, 4, 5, 6, 9)
}

func TestHistoryDir(t *testing.T) {
	f := func(path, dir, want string) {
		t.Helper()
		if got := historyDir(path, dir); got != want {
			t.Errorf("historyDir(%q, %q) = %q, want %q", path, dir, got, want)
		}
	}
	f("/etc/weir/weir.yaml", "", "/etc/weir/.weir")
	f("weir.yaml", "", ".weir")
	f("/etc/weir/weir.yaml", "/var/lib/weir/", "/var/lib/weir")
	f("/etc/weir/weir.yaml", "../history", "/etc/history")
}

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestGuessDir(t *testing.T) {
	f := func(source, want string) {
		t.Helper()
		if got := guessDir([]byte(source), env("STATE", "/var/lib")); got != want {
			t.Errorf("guessDir(%q) = %q, want %q", source, got, want)
		}
	}
	f("", "")
	f("history: {dir: /var/h, keep: 3}\nlisteners: [", "/var/h")
	f("history: {keep: 3, dir: \"/var/h\"} # here\n", "/var/h")
	f("\tbroken\nhistory:\n  keep: 3 # three\n\n  # where\n  dir: '/var/h' # here\nadmin:\n", "/var/h")
	f("history:\n  dir: ${STATE}/weir\n", "/var/lib/weir")
	f("history: {dir: '${STATE}/weir', keep: 3}", "/var/lib/weir")
	f("history:\n  dir: ${NOTSET}/weir\n", "")
	f("history: {keep: 3}\nother: {dir: /x}\n", "")
	f("history:\n  keep: 3\nother:\n  dir: /x\n", "")
	f("# history: {dir: /x}\n", "")
}

func FuzzGuessDir(f *testing.F) {
	f.Add([]byte("history: {dir: /var/h}\n"))
	f.Add([]byte("history:\n  # x\n\n  keep: 3\n  dir: /var/h\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		dir := guessDir(source, nil)
		if strings.ContainsAny(dir, "\x00\n") {
			t.Errorf("guessDir(%q) = %q", source, dir)
		}
	})
}
