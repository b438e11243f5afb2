package proxy

import (
	"strings"
	"testing"

	"weir/internal/config"
)

// FuzzCookies: of any Cookie line Weir's own pairs go, and nothing else. A line
// without one is as it came.
func FuzzCookies(f *testing.F) {
	for _, line := range []string{"w=1", "a=1; w=2; b=3", " w = 1;a", "w=1;;w=2; ;a=w=1", "a=\"x; w=1; y\"", ";", "w", "w=1; w"} {
		f.Add(line)
	}
	s := newSticky(config.Sticky{Cookie: "w"}, &headerRules{})
	f.Fuzz(func(t *testing.T, value string) {
		var h head
		raw := "Cookie:" + value + "\r\n"
		if h.parse([]byte(raw), 1) != nil || len(h.lines) != 1 {
			return
		}
		got := string(s.appendCookies([]byte("before"), &h.lines[0]))
		got, ok := strings.CutPrefix(got, "before")
		if !ok {
			t.Fatalf("%q: what came before it is gone: %q", value, got)
		}
		kept, owned := naivePairs(strings.Trim(value, " \t"))
		switch {
		case !owned:
			if got != raw {
				t.Fatalf("%q becomes %q", raw, got)
			}
		case got == "":
			if strings.Trim(strings.Join(kept, ""), " \t") != "" {
				t.Fatalf("%q is gone with %q in it", raw, kept)
			}
		default:
			rest, ok := strings.CutPrefix(got, "Cookie: ")
			rest, ok2 := strings.CutSuffix(rest, "\r\n")
			after, owned := naivePairs(rest)
			if !ok || !ok2 || owned || strings.Join(after, "") == "" || !strings.HasSuffix(strings.Join(kept, ";"), strings.TrimLeft(rest, " \t")) {
				t.Fatalf("%q becomes %q; want %q", raw, got, kept)
			}
		}
	})
}

// naivePairs are the pairs that are not Weir's.
func naivePairs(value string) (kept []string, owned bool) {
	for _, pair := range strings.Split(value, ";") {
		if name, _, ok := strings.Cut(pair, "="); ok && strings.Trim(name, " \t") == "w" {
			owned = true
			continue
		}
		kept = append(kept, pair)
	}
	return kept, owned
}
