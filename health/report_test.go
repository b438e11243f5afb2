package health_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"weir/health"
)

// text is a Report as one would say it.
func text(r health.Report) string {
	var words []string
	if r.Weight >= 0 {
		words = append(words, fmt.Sprintf("%d%%", r.Weight))
	}
	if r.Admin != "" {
		words = append(words, r.Admin)
	}
	if r.Up != nil {
		words = append(words, map[bool]string{true: "up", false: "down"}[*r.Up])
	}
	if r.MaxConn >= 0 {
		words = append(words, fmt.Sprintf("maxconn:%d", r.MaxConn))
	}
	if r.Reason != "" {
		words = append(words, "#"+r.Reason)
	}
	return strings.Join(words, " ")
}

func TestParseReport(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		r, err := health.ParseReport(answer)
		got := text(r)
		if err != nil {
			got += err.Error()
		}
		if got != want {
			t.Errorf("%q says %q, want %q", answer, got, want)
		}
	}

	// each word alone
	f("75%\n", "75%")
	f("0%\n", "0%")
	f("1000%\n", "1000%")
	f("ready\n", "ready")
	f("drain\n", "drain")
	f("maint\n", "maint")
	f("up\n", "up")
	f("down\n", "down")
	f("fail\n", "down")
	f("failed\n", "down")
	f("stopped\n", "down")
	f("maxconn:30\n", "maxconn:30")

	// several, with whatever between them; case does not count, the last word does
	f("up ready 75% maxconn:0\r\n", "75% ready up maxconn:0")
	f(",up,\tREADY , 75%", "75% ready up")
	f("75% 50% up down drain ready", "50% ready down")

	// the reason is the rest of the line, in print
	f("down#disk full, up\n", "down #disk full, up")
	f("50% down  #\tdisk \x1b[1m full\xff\n", "50% down #disk [1m full")
	f("down#"+strings.Repeat("x", 300), "down #"+strings.Repeat("x", 200))
	f("up#\n", "up")

	// one line counts
	f("up\ndown\n", "up")
	f("up\rdown\r", "up")

	// other words are passed over, but there must be one that means something
	f("up warming", "up")
	f("warming up", "up")
	f("warming", `agent says "warming", which means nothing`)
	f("", `agent says "", which means nothing`)
	f("#down", `agent says "", which means nothing`)

	// half an understanding is none
	f("up 75.5%", `agent says "75.5%", which is no number up to 1000`)
	f("1001%", `agent says "1001%", which is no number up to 1000`)
	f("-1% up", `agent says "-1%", which is no number up to 1000`)
	f("%", `agent says "%", which is no number up to 1000`)
	f("maxconn:", `agent says "maxconn:", which is no number up to 2147483647`)
	f("maxconn:99999999999", `agent says "maxconn:99999999999", which is no number up to 2147483647`)

	// JSON: a load, of which a little is always left, or a weight
	f(`{"load":0.4}`, "60%")
	f(`{"load":0}`, "100%")
	f(" {\n\"load\": 1.0, \"of\": \"cpu\"}\n", "1%")
	f(`{"weight":75,"load":0.4}`, "75%")
	f(`{"weight":0}`, "0%")
	f(`{"load":1.5}`, "agent says load 1.5, want 0 to 1")
	f(`{"weight":-1}`, "agent says weight -1, want 0 to 1000")
	f(`{"weight":1e9}`, "agent says weight 1e+09, want 0 to 1000")
	f(`{}`, "agent answer has neither load, weight, up, admin nor maxconn")
	f(`{"load":null,"reason":"x"}`, "agent answer has neither load, weight, up, admin nor maxconn")
	f(`{"load":`, "agent answer: unexpected end of JSON input")

	// and what the words say
	f(`{"up":false,"reason":"disk\tfull"}`, "down #disk full")
	f(`{"up":true,"load":0.4,"admin":"ready","maxconn":30}`, "60% ready up maxconn:30")
	f(`{"admin":"drain"}`, "drain")
	f(`{"admin":"maintenance"}`, "maint")
	f(`{"maxconn":0}`, "maxconn:0")
	f(`{"admin":"away"}`, `agent says admin "away", want ready, drain or maint`)
	f(`{"maxconn":-1}`, "agent says maxconn -1, want 0 to 2147483647")
	f(`{"up":"no"}`, "agent answer: json: cannot unmarshal string into Go struct field object.Up of type bool")
}

// A heartbeat need say nothing.
func TestParseHeartbeat(t *testing.T) {
	f := func(said, want string) {
		t.Helper()
		r, err := health.ParseHeartbeat(said)
		got := text(r)
		if err != nil {
			got += err.Error()
		}
		if got != want {
			t.Errorf("%q says %q, want %q", said, got, want)
		}
	}
	f("", "")
	f(" \r\n", "")
	f("{}", "")
	f(" { }\n", "")
	f(`{"load":0.4}`, "60%")
	f("75% drain", "75% drain")
	f(`{"laod":0.4}`, "agent answer has neither load, weight, up, admin nor maxconn")
	f("alive", `agent says "alive", which means nothing`)
}

func TestReportErr(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		r, err := health.ParseReport(answer)
		if err != nil {
			t.Fatal(err)
		}
		got := "none"
		if err := r.Err(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", answer, got, want)
		}
	}
	f("up #fine", "none")
	f("maint", "none")
	f("0%", "none")
	f("down", "agent says down")
	f("stopped #disk full", "agent says down: disk full")
}

// Whatever an agent says, what is made of it is in bounds and can be said again.
func FuzzReport(f *testing.F) {
	for _, s := range []string{"75%", "up ready,maxconn:30", "down#no\tdisk", `{"load":0.4}`, `{"weight":75}`, `{"up":false,"admin":"drain","maxconn":3,"reason":"x"}`, "x up\r\ny", "\xff#\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		r, err := health.ParseReport(answer)
		if err != nil {
			if text(r) != "" {
				t.Errorf("%q is an error and says %q", answer, text(r))
			}
			return
		}
		if r.Weight < -1 || r.Weight > 1000 || r.MaxConn < -1 || len(r.Reason) > 200 {
			t.Errorf("%q is out of bounds: %+v", answer, r)
		}
		if i := strings.IndexFunc(r.Reason, func(c rune) bool { return !unicode.IsPrint(c) }); i >= 0 {
			t.Errorf("%q has a reason that is no line: %q", answer, r.Reason)
		}
		again, err := health.ParseReport(text(r))
		if err != nil || text(again) != text(r) {
			t.Errorf("%q says %q, and that says %q, %v", answer, text(r), text(again), err)
		}
	})
}
