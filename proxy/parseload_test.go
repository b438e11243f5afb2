package proxy

import "testing"

func TestParseLoad(t *testing.T) {
	f := func(s string, want float64, ok bool) {
		t.Helper()
		got, gotOK := parseLoad([]byte(s))
		if gotOK != ok || ok && (got < want-1e-9 || got > want+1e-9) {
			t.Errorf("%q is %v, %v; want %v, %v", s, got, gotOK, want, ok)
		}
	}
	f("0", 0, true)
	f("1", 1, true)
	f("0.35", 0.35, true)
	f(".5", 0.5, true)
	f("1.", 1, true)
	f("1.000", 1, true)
	f("00.250", 0.25, true)
	f("0.99999999999999999999999999999999999999999999", 1, true)
	for _, s := range []string{"", ".", "1.01", "2", "35", "35%", "-0.1", "+0.1", "0,5", "1e-1", "0.5.1", "NaN", " 0.5", "0x1", "high"} {
		f(s, 0, false)
	}
}
