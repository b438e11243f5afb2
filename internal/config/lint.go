package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Finding is something that a configuration may say and that is hardly what its
// author means.
type Finding struct {
	Code     string `json:"code"`     // stable; docs/lint.md explains each
	Severity string `json:"severity"` // warning; error: of weir plan, it cannot be applied
	Problem

	subject string // whose it is, by names: a path changes with what is above it
}

// String renders a finding as one line: file:line:column: warning: path: message;
// fix [code].
func (f Finding) String() string { return f.line(f.Severity) + " [" + f.Code + "]" }

// Lint looks for what is right and hardly meant in a configuration that Parse has
// made of src. The findings are in the order of the file, at most as many as Parse
// reports problems. What a finding is about may be a default: then it points to the
// block where the key would be.
func Lint(name string, src []byte, c *Config) []Finding {
	l := lint(name, src, c)
	return l.place(l.findings)
}

// Place tells findings where they are in src, by their paths, and sorts them.
func Place(name string, src []byte, fs []Finding) []Finding {
	l := &linter{file: name, src: src}
	return l.place(fs)
}

// Introduced are the findings in a configuration that the one before it did not
// have.
func Introduced(name string, oldSrc []byte, old *Config, src []byte, c *Config) []Finding {
	before, l := lint(name, oldSrc, old).findings, lint(name, src, c)
	return l.place(slices.DeleteFunc(l.findings, func(f Finding) bool { return slices.ContainsFunc(before, f.same) }))
}

// same reports whether two findings, of different configurations, are one.
func (f Finding) same(o Finding) bool {
	return f.Code == o.Code && f.subject == o.subject && f.Message == o.Message
}

// rule is one thing that is looked for. One cause is one finding.
type rule struct {
	code string
	look func(*linter)
}

// UnreachableRoute is the code of routes that an earlier one hides.
const UnreachableRoute = "unreachable-route"

var lintRules = []rule{
	{UnreachableRoute, (*linter).unreachableRoutes},
	{"regex-unanchored", forRoutes((*linter).regexUnanchored)},
	{"retries-outlast-request", forRoutes((*linter).retriesOutlastRequest)},
	{"retries-exceed-backends", forRoutes((*linter).retriesExceedBackends)},
	{"per-try-timeout-unused", forRoutes((*linter).perTryUnused)},
	{"hedge-never", forRoutes((*linter).hedgeNever)},
	{"circuit-breaker-off", forRoutes((*linter).breakerOff)},
	{"contradicting-networks", forRoutes((*linter).contradictingNetworks)},
	{"rate-limit-by-forwarded", forRoutes((*linter).rateLimitByForwarded)},

	{"pool-unused", (*linter).unusedPools},
	{"pool-empty", (*linter).emptyPools},
	{"queue-outlasts-request", (*linter).queueOutlastsRequest},
	{"queue-never-used", forPools((*linter).queueNeverUsed)},
	{"ejects-nobody", forPools((*linter).ejectsNobody)},
	{"success-rate-never", forPools((*linter).successRateNever)},
	{"panic-of-one", forPools((*linter).panicOfOne)},
	{"weights-ignored", forPools((*linter).weightsIgnored)},
	{"slow-start-ignored", forPools((*linter).slowStartIgnored)},
	{"keepalive-too-long", forPools((*linter).keepAliveTooLong)},

	{"plaintext-secret", (*linter).plaintextSecrets},
	{"admin-exposed", (*linter).adminExposed},
	{"trusts-everybody", forListeners((*linter).trustsEverybody)},
	{"proxy-protocol-from-nobody", forListeners((*linter).greetedByNobody)},
}

// linter is one run of all rules.
type linter struct {
	*Config
	file     string
	src      []byte
	places   *locator // made when something is looked up: it costs as much as a Parse
	code     string   // of the rule that looks
	findings []Finding
}

// where is a thing in the file: its path and, for people and comparison, whose it is.
type where struct{ path, subject string }

func (w where) key(k string) where { return where{w.path + "." + k, w.subject} }

func (l *linter) locator() *locator {
	if l.places == nil {
		l.places = newLocator(l.src)
	}
	return l.places
}

// given reports whether the file has the key. One without a value is left out.
func (l *linter) given(w where) bool {
	_, n, exact := l.locator().find(w.path)
	return exact && !isNull(n)
}

// raw is a value as it is in the file, before ${NAME} became something.
func (l *linter) raw(path string) string {
	_, n, exact := l.locator().find(path)
	if !exact || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// warn records a finding. Where that is in the file is looked up by place.
func (l *linter) warn(w where, fix, format string, args ...any) {
	if len(l.findings) >= maxProblems {
		return
	}
	l.findings = append(l.findings, Finding{
		Code: l.code, Severity: "warning", subject: w.subject,
		Problem: Problem{File: l.file, Path: w.path, Message: fmt.Sprintf(format, args...), Fix: fix},
	})
}

// lint runs all rules.
func lint(name string, src []byte, c *Config) *linter {
	l := &linter{Config: c, file: name, src: src}
	for _, r := range lintRules {
		l.code = r.code
		r.look(l)
	}
	return l
}

// place tells findings where they are, and sorts them. What several places take
// over from one, through an alias, is one finding.
func (l *linter) place(fs []Finding) []Finding {
	for i := range fs {
		fs[i].File = l.file
		if fs[i].Path != "" { // what has none is about the file as a whole
			at, _, _ := l.locator().find(fs[i].Path)
			fs[i].Line, fs[i].Column = at.Line, at.Column
		}
	}
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(fs, func(a, b Finding) bool {
		return a.Code == b.Code && a.Line == b.Line && a.Column == b.Column && a.Message == b.Message
	})
}

func listenerAt(c *Config, i int) where {
	return where{fmt.Sprintf("listeners[%d]", i), c.Listeners[i].Name}
}

func routeAt(c *Config, i, k int) where {
	l := &c.Listeners[i]
	return where{fmt.Sprintf("listeners[%d].routes[%d]", i, k), l.Name + "/" + l.Routes[k].Name}
}

func poolAt(p *Pool) where { return where{"pools." + p.Name, p.Name} }

func forListeners(look func(*linter, where, *Listener)) func(*linter) {
	return func(l *linter) {
		for i := range l.Listeners {
			look(l, listenerAt(l.Config, i), &l.Listeners[i])
		}
	}
}

func forRoutes(look func(*linter, where, *Route)) func(*linter) {
	return func(l *linter) {
		for i := range l.Listeners {
			for k := range l.Listeners[i].Routes {
				look(l, routeAt(l.Config, i, k), &l.Listeners[i].Routes[k])
			}
		}
	}
}

func forPools(look func(*linter, where, *Pool)) func(*linter) {
	return func(l *linter) {
		for i := range l.Pools {
			look(l, poolAt(&l.Pools[i]), &l.Pools[i])
		}
	}
}

// quoted lists names for a sentence, the first few of them.
func quoted(names []string) string {
	const most = 5
	var b strings.Builder
	for i, n := range names {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", n)
	}
	return b.String()
}
