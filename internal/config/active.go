package config

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// active reads a pool's probes. Nothing at all under the key is refused: whether
// it means the defaults or no probes would be anybody's guess.
func (d *decoder) active(v value) *Active {
	if v.node == nil {
		return nil
	}
	if isNull(v.node) {
		v.bad("write active: {} to probe with the defaults, or remove it", "a check with nothing in it")
		return nil
	}
	a := defaultActive()
	t := v.table()
	defer t.done()
	kind, ok := t.oneOf("type", &a.Type, "http", "tcp", "grpc", "exec", "agent")
	t.foreign(a.Type, ok || !kind.given())
	if ok || !kind.given() {
		t.question(&a)
	}
	t.schedule(&a)
	return &a
}

// typed are the keys that not every type of check has, and the types that do.
var typed = []struct {
	key   string
	types []string
}{
	{"path", []string{"http", "agent"}},
	{"method", []string{"http"}},
	{"host", []string{"http"}},
	{"headers", []string{"http"}},
	{"payload", []string{"http"}},
	{"expect", []string{"http"}},
	{"body", []string{"http"}},
	{"reuse_connection", []string{"http"}},
	{"send", []string{"tcp", "agent"}},
	{"expect_text", []string{"tcp"}},
	{"service", []string{"grpc"}},
	{"authority", []string{"grpc"}},
	{"argv", []string{"exec"}},
	{"port", []string{"http", "tcp", "grpc", "agent"}},
}

// foreign refuses the keys that a check of this type does not have, rather than
// ignoring them: who writes a path believes that it is asked for. If the type is
// not known, neither is whose keys they are.
func (t *table) foreign(kind string, known bool) {
	for _, k := range typed {
		v := t.get(k.key)
		if known && v.given() && !slices.Contains(k.types, kind) {
			v.bad("use type "+strings.Join(k.types, " or ")+", or remove it", "a check of type %s has no %s", kind, k.key)
		}
	}
}

// question reads what is asked.
func (t *table) question(a *Active) {
	const mostPort = 65535
	switch a.Type {
	case "http":
		defaultHTTP(a)
		t.askHTTP(a)
	case "tcp":
		t.text("send", &a.Send)
		t.text("expect_text", &a.ExpectText)
	case "grpc":
		t.text("service", &a.Service)
		t.authority("authority", &a.Authority)
	case "exec":
		t.argv(&a.Argv)
		return
	case "agent":
		t.askAgent(a)
		if _, ok := t.require("port", "where the agent listens"); ok {
			t.integer("port", &a.Port, 1, mostPort)
		}
		return
	}
	t.integer("port", &a.Port, 0, mostPort)
}

// schedule reads when it is asked, and how many answers decide.
func (t *table) schedule(a *Active) {
	interval, ok := t.duration("interval", &a.Interval, positive)
	known := ok || !interval.given()
	if v, ok := t.duration("down_interval", &a.DownInterval, orNone); ok && known && 0 < a.DownInterval && a.DownInterval < a.Interval {
		v.bad("0s is the interval", "%v is shorter than the interval %v", a.DownInterval, a.Interval)
	}
	// A short interval alone must not be wrong because of a default.
	a.Timeout = min(a.Timeout, a.Interval)
	if v, ok := t.duration("timeout", &a.Timeout, positive); ok && a.Timeout > a.Interval {
		v.bad("a probe must end before the next starts", "%v is longer than the interval %v", a.Timeout, a.Interval)
	}
	t.integer("fall", &a.Fall, 1, noMost)
	t.integer("rise", &a.Rise, 1, noMost)
}

func (t *table) askHTTP(a *Active) {
	if v, ok := t.text("path", &a.Path); ok {
		v.checkTarget(a.Path)
	}
	method, read := t.text("method", &a.Method)
	if read {
		method.checkMethod(a.Method)
	}
	t.authority("host", &a.Host)
	a.Headers = t.headers("headers", value.checkProbeHeader)
	known := read || !method.given()
	if v, ok := t.text("payload", &a.Payload); ok && known && a.Payload != "" && (a.Method == "GET" || a.Method == "HEAD") {
		v.bad("use method POST", "a request with method %s has no body to send it in", a.Method)
	}
	if v := t.get("expect"); v.given() {
		a.Expect = v.statusRanges()
	}
	if v, ok := t.text("body", &a.Body); ok && a.Body != "" && a.Method == "HEAD" {
		v.bad("use method GET", "an answer to HEAD has no body to look in")
	}
	t.boolean("reuse_connection", &a.ReuseConnection)
}

// checkTarget reports what an HTTP request cannot ask for.
func (v value) checkTarget(s string) {
	if v.checkLine(s) && (!strings.HasPrefix(s, "/") || strings.ContainsAny(s, " #")) {
		v.bad("such as /healthz", "%q is not a path from /, with or without a query", s)
	}
}

// checkProbeHeader reports a header that a probe cannot be given.
func (v value) checkProbeHeader(s string) {
	low := strings.ToLower(s)
	switch {
	case !v.checkToken("header name", s):
	case low == "host":
		v.bad("use host", "the Host header has a key of its own")
	case slices.Contains(framing, low):
		v.bad("remove it", "%s belongs to the connection or the framing of a message; Weir writes it itself", s)
	}
}

func (t *table) askAgent(a *Active) {
	if v, ok := t.text("path", &a.Path); ok && a.Path != "" {
		v.checkTarget(a.Path)
	}
	if v, ok := t.text("send", &a.Send); ok && a.Send != "" && a.Path != "" {
		v.bad("keep one", "an agent with a path is asked by HTTP, and sent nothing else")
	}
}

// argv reads a command. It is run as it stands, by no shell.
func (t *table) argv(dst *[]string) {
	const such = "such as [/usr/local/bin/check, --quick]"
	if list, ok := t.require("argv", such); ok {
		list.argv(dst, such)
	}
}

// argv reads the words of a command.
func (v value) argv(dst *[]string, such string) {
	words := v.list()
	if v.node.Kind == yaml.SequenceNode && len(words) == 0 {
		v.bad(such, "an empty list: there is nothing to run")
	}
	for i, v := range words {
		s, ok := v.scalar("text")
		switch {
		case isNull(v.node):
			v.bad(`write "" for an empty argument`, "an argument with nothing in it")
		case !ok:
		case i == 0 && s == "":
			v.bad("such as /usr/local/bin/check", "the program has no name")
		case strings.ContainsRune(s, 0):
			v.bad("", "%q has a NUL, which ends an argument", s)
		default:
			*dst = append(*dst, s)
		}
	}
}

// statusRanges reads 200-399, "200,204,300-399", or a list of such.
func (v value) statusRanges() []StatusRange {
	var rs []StatusRange
	parts := []value{v}
	if v.node.Kind == yaml.SequenceNode {
		parts = v.list()
	}
	for _, part := range parts {
		s, ok := part.scalar("a status or a range such as 200-399")
		if !ok {
			continue
		}
		for word := range strings.SplitSeq(s, ",") {
			r, ok := statusRange(strings.TrimSpace(word))
			if !ok {
				part.bad("such as 200-399, or 200,204", "%q is not a status between 100 and 599, or a range of them", strings.TrimSpace(word))
				continue
			}
			rs = append(rs, r)
		}
	}
	if len(parts) == 0 {
		v.bad("such as 200-399", "an empty list: no answer would pass")
	}
	return rs
}

func statusRange(s string) (r StatusRange, ok bool) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	r = StatusRange{From: status(from), To: status(to)}
	return r, 100 <= r.From && r.From <= r.To && r.To <= 599
}

// status reads exactly three digits; 0 if they are not.
func status(s string) int {
	s = strings.TrimSpace(s)
	if len(s) != 3 || !isDigits(s) {
		return 0
	}
	return int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
}
