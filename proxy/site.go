package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"weir/internal/basicauth"
	"weir/internal/cidr"
	"weir/internal/config"
	"weir/internal/metrics"
	"weir/internal/route"
	"weir/pool"
)

// site is one route, compiled: everything that a request which matched it
// needs. Immutable.
type site struct {
	name     string
	listener string
	poolName string
	pool     *pool.Pool
	keep     config.KeepAlive
	timeouts config.Timeouts
	maxBody  int64 // bytes; 0: any
	retry    retryRule
	hedge    *hedgeRule // nil: nothing is hedged
	queues   bool       // the pool has a queue
	hashes   bool       // the pool goes by hashKey
	hashKey  hashKey
	minRate  int64 // bytes a second that a client has to send and to take; 0: any
	paths    pathHandling
	upgrades []string // protocols that may be upgraded to, in lower case; "*": any
	trace    bool     // TRACE is let through
	compress bool
	hello    int     // version of the PROXY header for backends; 0: none
	sticky   *sticky // nil: clients do not keep their backend

	loadHeader string // of answers, in which backends tell their load; in lower case, "": none

	allow, deny cidr.Set
	limit       *limit           // nil: none
	guard       *basicauth.Guard // nil: nobody is asked for a password
	usersFile   string           // of guard
	challenge   []byte           // the WWW-Authenticate line

	rewrite  rewrite
	request  headerRules
	response headerRules
	redirect *redirect
	respond  *respond

	breaker     *breaker // nil: none
	breakerRule breakerRule

	tellsDeadline bool // backends are told how much time is left

	state   *routeState
	metrics *metrics.Route
	watch   *metrics.Route // of this snapshot alone; nil: nobody compares it with another
	traffic *metrics.Pool  // counters of the pool; nil without one
}

// headerRules are the operator's changes to header lines, compiled.
type headerRules struct {
	drop  []string // folded names: removed, or replaced by a line of add
	names []string // of every field that the rules are about, folded
	lines []byte   // the lines that are set or added, as they go out
}

func compileRules(r config.HeaderRules) headerRules {
	var out headerRules
	for _, name := range r.Remove {
		out.drop = append(out.drop, foldName(name))
	}
	for _, h := range r.Set {
		out.drop = append(out.drop, foldName(h.Name))
		out.lines = appendLine(out.lines, h.Name, h.Value)
	}
	out.names = slices.Clone(out.drop)
	for _, h := range r.Add {
		out.names = append(out.names, foldName(h.Name))
		out.lines = appendLine(out.lines, h.Name, h.Value)
	}
	return out
}

// foldName is a name as backends see it that make variables of headers: a rule
// about X-User is about X_User as well, or a client would get around it.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && tokenChar[r] == plainChar {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// isFolded compares a name with a folded one.
func isFolded(name []byte, folded string) bool {
	if len(name) != len(folded) {
		return false
	}
	for i, c := range name {
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case tokenChar[c] != plainChar:
			c = '-'
		}
		if c != folded[i] {
			return false
		}
	}
	return true
}

func appendLine(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, crlf...)
}

// drops reports whether a line goes. Rules are few: a scan beats a map.
func (r *headerRules) drops(name []byte) bool { return hasFolded(r.drop, name) }

// concerns reports whether any rule is about a field.
func (r *headerRules) concerns(name []byte) bool { return hasFolded(r.names, name) }

func hasFolded(folded []string, name []byte) bool {
	for _, f := range folded {
		if isFolded(name, f) {
			return true
		}
	}
	return false
}

// leaves reports whether a line that Weir would write itself may stand. A nil r
// has no rules.
func (r *headerRules) leaves(name string) bool {
	return r == nil || len(r.drop) == 0 || !r.drops([]byte(name))
}

// rewrite changes the path and the host on the way to a backend.
type rewrite struct {
	strip, add string
	regex      *regexp.Regexp
	replace    []byte
	host       string
}

func compileRewrite(r config.Rewrite) (rewrite, error) {
	out := rewrite{strip: strings.TrimSuffix(r.StripPrefix, "/"), add: strings.TrimSuffix(r.AddPrefix, "/"),
		replace: []byte(r.PathReplace), host: r.Host}
	if r.PathRegex == "" {
		return out, nil
	}
	var err error
	out.regex, err = regexp.Compile(r.PathRegex)
	return out, err
}

// path appends the path that the backend sees. Stripping works at segment
// borders and leaves at least "/".
func (rw *rewrite) path(dst, path []byte) []byte {
	if rw.strip != "" && bytes.HasPrefix(path, []byte(rw.strip)) {
		rest := path[len(rw.strip):]
		if len(rest) == 0 || rest[0] == '/' {
			path = rest
		}
	}
	if rw.regex != nil {
		path = rw.regex.ReplaceAll(path, rw.replace)
	}
	dst = append(dst, rw.add...)
	if len(path) == 0 || path[0] != '/' {
		dst = append(dst, '/')
	}
	return append(dst, path...)
}

// respond is a fixed answer.
type respond struct {
	status      int
	contentType string
	body        []byte
}

// redirect sends the client elsewhere. to may hold {host}, {path}, {query} and
// {uri} (path and query) of the request.
type redirect struct {
	status int
	parts  []string // literal, variable, literal, …
}

func compileRedirect(r *config.Redirect) *redirect {
	out := &redirect{status: r.Status}
	rest := r.To
	for {
		open := strings.IndexByte(rest, '{')
		end := strings.IndexByte(rest, '}')
		if open < 0 || end < open {
			out.parts = append(out.parts, rest)
			return out
		}
		out.parts = append(out.parts, rest[:open], rest[open+1:end])
		rest = rest[end+1:]
	}
}

func (r *redirect) location(dst []byte, ex *exchange) []byte {
	for i, p := range r.parts {
		switch {
		case i%2 == 0:
			dst = append(dst, p...)
		case p == "host":
			dst = append(dst, ex.host...)
		case p == "path":
			dst = append(dst, ex.target.path...)
		case p == "query":
			dst = append(dst, bytes.TrimPrefix(ex.target.query, []byte("?"))...)
		case p == "uri":
			dst = append(append(dst, ex.target.path...), ex.target.query...)
		default:
			dst = append(append(append(dst, '{'), p...), '}')
		}
	}
	return dst
}

// compiler turns a configuration into sites.
type compiler struct {
	pools   map[string]*pool.Pool
	metrics *metrics.Registry
	cfg     *config.Config
	keeper  *keeper
	states  *routeStates
	dir     string // of the configuration file: relative names start there
	sites   []*site
}

func (c *compiler) routes(l *config.Listener) (*route.Table[*site], error) {
	rules := make([]route.Rule[*site], len(l.Routes))
	for i := range l.Routes {
		r := &l.Routes[i]
		s, err := c.site(l.Name, r)
		if err != nil {
			return nil, fmt.Errorf("listener %s: route %s: %w", l.Name, r.Name, err)
		}
		rules[i] = ruleOf(&r.Match, s)
	}
	table, err := route.Compile(rules)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Name, err)
	}
	return table, nil
}

func ruleOf(m *config.Match, s *site) route.Rule[*site] {
	return route.Rule[*site]{
		Hosts: m.Hosts, Path: m.Path, PathExact: m.PathExact, PathRegex: m.PathRegex,
		Methods: m.Methods, Headers: conds(m.Headers), Query: conds(m.Query),
		Clients: m.ClientIPs, Value: s,
	}
}

func conds(hs []config.Header) []route.Cond {
	var out []route.Cond
	for _, h := range hs {
		out = append(out, route.Cond{Name: h.Name, Value: h.Value})
	}
	return out
}

func (c *compiler) site(listener string, r *config.Route) (*site, error) {
	s := &site{
		name: r.Name, listener: listener, poolName: r.Pool,
		timeouts: r.Timeouts, maxBody: r.Limits.BodyBytes, retry: compileRetries(r.Retries), hedge: compileHedge(r.Hedge),
		request: compileRules(r.RequestHeaders), response: compileRules(r.ResponseHeaders),
		minRate: r.Limits.MinRate, paths: pathHandlingOf(r.PathHandling), upgrades: r.Upgrades, compress: r.Compress,
		trace:   slices.Contains(r.Match.Methods, http.MethodTrace),
		metrics: c.metrics.Route(listener, r.Name),
	}
	s.tellsDeadline = !s.request.concerns([]byte(deadlineName))
	c.sites = append(c.sites, s)
	if err := c.access(s, r); err != nil {
		return nil, err
	}
	var err error
	if s.rewrite, err = compileRewrite(r.Rewrite); err != nil {
		return nil, fmt.Errorf("rewrite.path_regex: %w", err)
	}
	switch {
	case r.Pool != "":
		if s.pool = c.pools[r.Pool]; s.pool == nil {
			return nil, fmt.Errorf("no pool named %q", r.Pool)
		}
		p := c.cfg.Pool(r.Pool)
		s.queues = p.Queue.Size > 0
		s.keep, s.hello = p.KeepAlive, helloOf(p.SendProxyProtocol)
		s.sticky = newSticky(p.Sticky, &s.response)
		s.loadHeader = strings.ToLower(p.Health.LoadHeader)
		s.hashes, s.hashKey = p.Balance == pool.ConsistentHash, hashKeyOf(p.HashKey)
		if s.hello > 0 {
			s.keep = config.KeepAlive{} // a connection is one client's
		}
		s.traffic = c.metrics.Pool(r.Pool)
	case r.Redirect != nil:
		s.redirect = compileRedirect(r.Redirect)
	case r.Respond != nil:
		s.respond = &respond{status: r.Respond.Status, contentType: r.Respond.ContentType, body: []byte(r.Respond.Body)}
	}
	c.remember(s, r)
	return s, nil
}

// helloOf is the version of the PROXY header that a pool's backends get.
func helloOf(word string) int {
	switch word {
	case "v1":
		return 1
	case "v2":
		return 2
	}
	return 0
}

// access compiles who may come in, and how often.
func (c *compiler) access(s *site, r *config.Route) (err error) {
	s.allow, s.deny = cidr.New(r.Allow), cidr.New(r.Deny)
	if rl := &r.RateLimit; rl.RequestsPerSecond > 0 {
		s.limit = newLimit(c.keeper.limiter, s.listener, s.name, rl)
	}
	if r.BasicAuth.UsersFile == "" {
		return nil
	}
	s.usersFile = r.BasicAuth.UsersFile
	if !filepath.IsAbs(s.usersFile) {
		s.usersFile = filepath.Join(c.dir, s.usersFile)
	}
	s.challenge = fmt.Appendf(nil, "WWW-Authenticate: Basic realm=\"%s\", charset=\"UTF-8\"\r\n", r.BasicAuth.Realm)
	s.guard, err = c.keeper.guard(s.usersFile)
	return err
}
