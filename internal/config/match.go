package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// match reads a route's conditions. Hosts are brought into one form here, so
// that comparing them needs none of these rules.
func (t *table) match(m *Match) {
	defer t.done()
	for _, v := range t.get("hosts").list() {
		s, ok := v.scalar("a host name")
		if !ok {
			continue
		}
		if h, err := hostPattern(s); err != nil {
			v.bad("", "%v", err)
		} else {
			m.Hosts = append(m.Hosts, h)
		}
	}
	t.matchPath(m)
	for _, v := range t.get("methods").list() {
		s, ok := v.scalar("a method such as GET")
		switch {
		case !ok:
		case strings.EqualFold(s, "CONNECT"):
			v.bad("remove it", "Weir is no forward proxy: CONNECT is always refused")
		case v.checkMethod(s):
			m.Methods = append(m.Methods, s)
		}
	}
	m.Headers = t.headers("headers", func(name value, s string) { name.checkToken("header name", s) })
	m.Query = t.headers("query", func(value, string) {})
	t.networks("client_ips", &m.ClientIPs)
}

func (t *table) matchPath(m *Match) {
	var given []string
	for _, key := range []struct {
		name string
		dst  *string
	}{{"path", &m.Path}, {"path_exact", &m.PathExact}, {"path_regex", &m.PathRegex}} {
		v, ok := t.text(key.name, key.dst)
		if !ok || *key.dst == "" {
			continue
		}
		given = append(given, key.name)
		if key.name == "path_regex" {
			v.compile(*key.dst)
			continue
		}
		v.checkPath(*key.dst)
	}
	if len(given) > 1 {
		t.bad("keep one", "%s are both set; they are three ways of saying which path", strings.Join(given, " and "))
	}
}

// checkPath reports what no request's path can be or begin with.
func (v value) checkPath(s string) {
	switch {
	case !v.checkLine(s):
	case s[0] != '/':
		v.bad("write /"+s, "%q does not begin with /", s)
	case strings.ContainsAny(s, "?#"):
		v.bad("for a query use match.query", "%q is more than a path", s)
	case strings.ContainsAny(s, " \t"):
		v.bad("write %20 for a space", "%q is not a path", s)
	case slices.ContainsFunc(strings.Split(s, "/"), func(seg string) bool { return seg == "." || seg == ".." }):
		v.bad("", "%q can never match: . and .. are resolved before paths are compared", s)
	}
}

// compile reports a regular expression that is none.
func (v value) compile(s string) *regexp.Regexp {
	re, err := regexp.Compile(s)
	if err != nil {
		v.bad("the syntax is RE2: no look-around, no back-references", "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return nil
	}
	return re
}

// rewrite reads what is changed on the way to a backend.
func (t *table) rewrite(r *Rewrite) {
	defer t.done()
	for _, key := range []struct {
		name string
		dst  *string
	}{{"strip_prefix", &r.StripPrefix}, {"add_prefix", &r.AddPrefix}} {
		if v, ok := t.text(key.name, key.dst); ok && *key.dst != "" {
			v.checkPath(*key.dst)
		}
	}
	var re *regexp.Regexp
	v, readRegex := t.text("path_regex", &r.PathRegex)
	if r.PathRegex != "" {
		re = v.compile(r.PathRegex)
	}
	to, ok := t.text("path_replace", &r.PathReplace)
	switch {
	case !ok || r.PathReplace == "" || !to.checkLine(r.PathReplace):
	case r.PathRegex == "" && (readRegex || !v.given()):
		to.bad("set path_regex", "path_replace replaces what path_regex matches, and there is none")
	case re != nil:
		to.checkGroups(r.PathReplace, re)
	}
	t.authority("host", &r.Host)
}

// pathHandling reads which form of a path goes to backends. False: the file
// has a word that is none of them, and what was inherited stands.
func (t *table) pathHandling(dst *string) bool {
	v, ok := t.oneOf("path_handling", dst, "normalize", "reject", "raw")
	return ok || !v.given()
}

// checkRaw reports a rewrite of a path that is to stay as the client wrote it.
func (t *table) checkRaw(r *Route) {
	w := r.Rewrite
	if r.PathHandling == "raw" && (w.StripPrefix != "" || w.AddPrefix != "" || w.PathRegex != "") {
		t.key("rewrite").bad("set path_handling: normalize on this route",
			"rewrite works on the normal form; with path_handling raw the client's path goes to the backend as it is")
	}
}

var groupReference = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)\})`)

// checkGroups reports references to groups that re does not have: $1x means the
// group "1x", and an unknown group is silently nothing.
func (v value) checkGroups(template string, re *regexp.Regexp) {
	for _, m := range groupReference.FindAllStringSubmatch(template, -1) {
		name := m[1] + m[2]
		n, err := strconv.Atoi(name)
		if name == "" || err == nil && n <= re.NumSubexp() || re.SubexpIndex(name) >= 0 {
			continue
		}
		fix := ""
		if digits := name[:len(name)-len(strings.TrimLeft(name, "0123456789"))]; digits != "" && digits != name {
			fix = "write $${" + digits + "}" + name[len(digits):]
		}
		v.bad(fix, "path_regex has no group %s", name)
	}
}
