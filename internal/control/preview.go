package control

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"weir/internal/config"
	"weir/internal/history"
)

// Preview is what would change if a configuration were applied now.
type Preview struct {
	Version  int             `json:"version"` // that runs
	Same     bool            `json:"same"`    // these bytes run already
	Changes  []Planned       `json:"changes"`
	Warnings []Warning       `json:"warnings"`
	Problems config.Problems `json:"problems"` // if there are any, nothing else is known
}

// Planned is a change and whom it touches at this moment.
type Planned struct {
	Change
	Line   string  `json:"line"` // the change in one line
	Impact *Impact `json:"impact,omitempty"`
}

// Warning is something to know before a configuration is applied.
type Warning struct {
	config.Finding
	Running bool `json:"running,omitempty"` // what runs gives the same warning
}

// Blocked reports whether the configuration cannot be applied as things are.
func (p *Preview) Blocked() bool {
	return len(p.Problems) > 0 || slices.ContainsFunc(p.Warnings, func(w Warning) bool { return w.Severity == fatal })
}

// Severities of findings.
const (
	fatal   = "error" // Apply would fail
	warning = "warning"
)

// Preview says what Apply would do with source, without doing any of it: names are
// looked up, files are read, and addresses bound and given back. name is what the
// source is called in what is said about it; "": the configuration file's.
func (c *Controller) Preview(ctx context.Context, name string, source []byte) (Preview, error) {
	if name == "" {
		name = c.o.Path
	}
	run := c.current.Load()
	if run == nil {
		return Preview{}, errors.New("nothing runs yet to compare with")
	}
	p := Preview{Version: run.version.Number, Changes: []Planned{}, Warnings: []Warning{}, Problems: config.Problems{}}
	cfg, err := config.Parse(name, source, c.o.Env)
	if err != nil {
		errors.As(err, &p.Problems)
		return p, nil
	}
	p.Same = history.Hash(source) == run.version.Hash
	impacts := c.impacts(run, cfg)
	for _, ch := range plan(run.cfg, cfg) {
		p.Changes = append(p.Changes, Planned{ch, ch.String(), impacts[changeOf{ch.What, ch.Name}]})
	}
	found, err := c.look(ctx, run, cfg, source, p.Same)
	if err != nil {
		return Preview{}, err
	}
	p.Warnings = append(p.Warnings, found.in(name, source)...)
	for i := range p.Warnings {
		if p.Same { // Apply has nothing to do that could fail; the next start has
			p.Warnings[i].Severity = warning
		}
	}
	p.Warnings = append(p.Warnings, lintFor(run, cfg, name, source)...)
	return p, nil
}

// mostLogged is how many warnings of one change are logged.
const mostLogged = 10

// introduced is what lint says of a change that was made and did not say before,
// logged once. What the plan calls shadowed is not told twice.
func (c *Controller) introduced(old *view, cfg *config.Config, source []byte) []config.Finding {
	fs := slices.DeleteFunc(config.Introduced(c.o.Path, old.source, old.cfg, source, cfg), isShadow)
	for i, f := range fs {
		if i == mostLogged {
			c.log.Info("configuration warnings are left out: weir check names all", zap.Int("left_out", len(fs)-i))
			break
		}
		c.log.Info("configuration warning", zap.String("code", f.Code), zap.Int("line", f.Line), zap.String("path", f.Path),
			zap.String("warning", f.Message), zap.String("fix", f.Fix))
	}
	return fs
}

func isShadow(f config.Finding) bool { return f.Code == config.UnreachableRoute }

// lintFor is what lint says of cfg, new things first. What the plan calls shadowed
// is not told twice.
func lintFor(run *view, cfg *config.Config, name string, source []byte) []Warning {
	fresh := config.Introduced(name, run.source, run.cfg, source, cfg)
	var out []Warning
	for _, f := range fresh {
		if !isShadow(f) {
			out = append(out, Warning{Finding: f})
		}
	}
	for _, f := range config.Lint(name, source, cfg) {
		if !slices.Contains(fresh, f) {
			out = append(out, Warning{Finding: f, Running: true})
		}
	}
	return out
}

// findings collects what is found wrong around a configuration.
type findings struct {
	list []config.Finding
	said map[string]bool // one cause is told once
}

func (fs *findings) add(code, severity, path, fix, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if fs.said == nil {
		fs.said = make(map[string]bool)
	}
	if fs.said[code+text] {
		return
	}
	fs.said[code+text] = true
	fs.list = append(fs.list, config.Finding{
		Code: code, Severity: severity, Problem: config.Problem{Path: path, Message: text, Fix: fix},
	})
}

// in gives the findings their places, those first that keep a change from being
// made.
func (fs *findings) in(name string, source []byte) []Warning {
	var out []Warning
	for _, f := range config.Place(name, source, fs.list) {
		out = append(out, Warning{Finding: f})
	}
	slices.SortStableFunc(out, func(a, b Warning) int {
		switch {
		case a.Severity == b.Severity:
			return 0
		case a.Severity == fatal:
			return -1
		}
		return 1
	})
	return out
}

// look finds out whether the world is as cfg wants it. same: it runs.
func (c *Controller) look(ctx context.Context, run *view, cfg *config.Config, source []byte, same bool) (findings, error) {
	var fs findings
	if bad := undone(c.history.List(), history.Hash(source)); bad != nil && !same {
		fs.add("undone-before", fatal, "", "change it, or apply it with --force",
			"these are the bytes of version %d, which the guard has undone: %s", bad.Number, bad.Guard.Why)
	}
	// On the writer's goroutine: an address that is tried must not be missing to a
	// change that is being made.
	taken, err := ask(ctx, c, func(context.Context) (map[int]error, error) { return c.o.Proxy.TryBind(cfg), nil })
	if err != nil {
		return fs, err
	}
	for i, err := range taken {
		l := &cfg.Listeners[i]
		fs.add("address-unavailable", fatal, fmt.Sprintf("listeners[%d].address", i), ownAddress(run.cfg, l),
			"listener %s cannot listen on %s: %v", l.Name, l.Address, err)
	}
	c.lookAtFiles(cfg, &fs)
	c.lookAtPrograms(cfg, &fs)
	c.lookUpNames(ctx, cfg, &fs)
	return fs, nil
}

// ownAddress is what would help where Weir itself stands in the way: it listens on
// what is new before it lets go of what is old.
func ownAddress(running *config.Config, l *config.Listener) string {
	for i := range running.Listeners {
		if old := &running.Listeners[i]; old.Address != l.Address && old.Overlaps(l) {
			return fmt.Sprintf("this Weir's listener %s has it as %s: remove that one first, in a change of its own", old.Name, old.Address)
		}
	}
	return ""
}
