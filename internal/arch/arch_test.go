package arch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path that imports of our own packages begin with.
const module = "weir"

// row says what a package may import: packages of ours, modules of others, and
// of the standard library what is not for everybody.
type row struct{ ours, others, guarded []string }

// The parts of the standard library that a row must name. net/http is a second
// HTTP stack, which the data plane must not use; os/exec starts processes.
var guarded = []string{"net/http", "os/exec", "plugin", "unsafe", "C"}

// words allows the names of methods, statuses and headers of net/http and none
// of its machinery.
const words = "net/http (words)"

const (
	bcrypt     = "golang.org/x/crypto"
	brotli     = "github.com/andybalholm/brotli"
	klauspost  = "github.com/klauspost/compress"
	fasthttp   = "github.com/valyala/fasthttp"
	fsnotify   = "github.com/fsnotify/fsnotify"
	hdr        = "github.com/HdrHistogram/hdrhistogram-go"
	cobra      = "github.com/spf13/cobra"
	prometheus = "github.com/prometheus/client_golang"
	sys        = "golang.org/x/sys"
	yaml       = "gopkg.in/yaml.v3"
	zap        = "go.uber.org/zap"
)

// The table. Leaves come first; a package imports only what stands above it, so
// there is one way to read it. Leaves return errors and events: none of them logs.
var table = map[string]row{
	// machinery that knows nothing of load balancing
	"internal/loop":     {others: []string{sys}, guarded: []string{"unsafe"}},
	"internal/route":    {},
	"internal/history":  {},
	"internal/metrics":  {others: []string{prometheus}, guarded: []string{"net/http"}},
	"internal/config":   {others: []string{yaml, fsnotify}},
	"internal/handover": {others: []string{sys}}, // sockets from one process to the next

	// what a request can meet on its way, each a thing of its own
	"internal/basicauth":  {others: []string{bcrypt}},
	"internal/cidr":       {},
	"internal/compress":   {others: []string{klauspost, brotli}},
	"internal/proxyproto": {},
	"internal/ratelimit":  {},

	// who serves, and is it fit to
	"health": {ours: []string{"internal/loop", "internal/metrics"}, guarded: []string{"net/http", "os/exec"}},
	"pool": {
		ours:   []string{"health", "internal/loop", "internal/metrics"},
		others: []string{zap, prometheus}, // its gauges are read from the pool's state at each scrape
	},

	// the data plane; it does not know where configurations come from or go to
	"proxy": {
		ours: []string{
			"internal/config", "internal/route", "pool", "internal/loop", "internal/metrics",
			"internal/basicauth", "internal/cidr", "internal/compress", "internal/proxyproto", "internal/ratelimit",
		},
		others:  []string{fasthttp, zap},
		guarded: []string{words},
	},

	// the only writer, and what the operator sees of it
	"internal/control": {
		ours: []string{
			"internal/loop", "internal/route", "internal/history", "internal/metrics", "internal/config",
			"internal/proxyproto", "health", "pool", "proxy",
		},
		others:  []string{prometheus, zap},
		guarded: []string{"os/exec"}, // who is told of a change that was undone
	},
	"internal/admin": {
		ours:    []string{"internal/control", "internal/history", "pool", "internal/metrics"},
		others:  []string{zap},
		guarded: []string{"net/http"},
	},

	// tools
	"bench":          {ours: everything, others: []string{fasthttp, hdr}, guarded: []string{"net/http"}},
	"bench/bed":      {guarded: []string{"os/exec"}},
	"bench/versus":   {ours: []string{"bench/bed"}, guarded: []string{"os/exec"}},
	"bench/failures": {ours: []string{"bench/bed"}, guarded: []string{"net/http", "os/exec"}},
	"internal/testkit": {
		ours: everything, others: []string{fasthttp, hdr, zap}, guarded: []string{"net/http", "os/exec"},
	},
	"internal/conformance": {},
	"internal/arch":        {}, // both are tests and a page about them
	"internal/e2e":         {},

	"cmd/weir": {
		ours:    append([]string{"bench", "internal/testkit"}, everything...),
		others:  []string{cobra, zap, prometheus, sys},
		guarded: []string{"net/http"},
	},
}

// everything is for those who put the product together, and for tools. bench and
// internal/testkit are not in it: only cmd/weir and tests import them.
var everything = []string{
	"internal/loop", "internal/route", "internal/history", "internal/metrics", "internal/config",
	"internal/basicauth", "internal/cidr", "internal/compress", "internal/proxyproto", "internal/ratelimit",
	"health", "pool", "proxy", "internal/control", "internal/admin", "internal/handover",
}

// These names say nothing about what is inside, and so anything ends up there.
var shapeless = []string{"pkg", "types", "util", "utils", "common", "helpers", "misc", "middleware", "manager", "factory"}

// TestImports compares the table with the tree, whatever the files' build
// constraints say. A test may import more than its package.
func TestImports(t *testing.T) {
	tree := readTree(t)
	for _, dir := range slices.Sorted(maps.Keys(tree)) {
		r, ok := table[dir]
		if !ok {
			if !onlyTests(tree[dir]) {
				t.Errorf("%s: not in the table of internal/arch", dir)
			}
			continue
		}
		for _, f := range tree[dir] {
			if f.isTest() {
				continue
			}
			for _, spec := range f.syntax.Imports {
				imported, _ := strconv.Unquote(spec.Path.Value)
				if why := r.refuses(imported, f); why != "" {
					t.Errorf("%s: %s must not import %q: %s", f.name, dir, imported, why)
				}
			}
		}
	}
}

// A row for a package that is not there hides what the table means.
func TestTableIsCurrent(t *testing.T) {
	tree := readTree(t)
	for dir, r := range table {
		if len(tree[dir]) == 0 {
			t.Errorf("the table has a row for %s, the tree no such package", dir)
		}
		for _, ours := range r.ours {
			if _, ok := table[ours]; !ok {
				t.Errorf("the row of %s allows %s, which has no row", dir, ours)
			}
		}
	}
}

// Nothing registers itself: what a Weir is made of can be read in cmd/weir and
// internal/control.
func TestNoInit(t *testing.T) {
	for _, files := range readTree(t) {
		for _, f := range files {
			for _, d := range f.syntax.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: has an init function", f.name)
				}
			}
		}
	}
}

// State belongs to values that somebody made and somebody closes. A lock, an
// atomic or a channel at package level is state that all tests share.
func TestNoPackageState(t *testing.T) {
	allowed := []string{
		"pool/pool.go: lastID", // a backend's ID must not repeat in any pool of the process
	}
	for _, files := range readTree(t) {
		for _, f := range files {
			if f.isTest() {
				continue
			}
			for _, name := range f.packageState() {
				if !slices.Contains(allowed, f.name+": "+name) {
					t.Errorf("%s: %s is state at package level", f.name, name)
				}
			}
		}
	}
}

func TestNames(t *testing.T) {
	for dir := range readTree(t) {
		for part := range strings.SplitSeq(dir, "/") {
			if slices.Contains(shapeless, part) {
				t.Errorf("%s: %q does not say what is inside", dir, part)
			}
		}
	}
}

// refuses tells why the row does not allow an import; empty if it does.
func (r row) refuses(imported string, f file) string {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		if !slices.Contains(r.ours, ours) {
			return "the table does not allow this package of ours"
		}
		return ""
	}
	if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
		if !slices.ContainsFunc(r.others, func(m string) bool { return within(imported, m) }) {
			return "the table does not allow this module"
		}
		return ""
	}
	for _, g := range guarded {
		if within(imported, g) && !slices.Contains(r.guarded, g) {
			if g == "net/http" && slices.Contains(r.guarded, words) {
				return f.machinery(imported)
			}
			return "the table does not allow this part of the standard library"
		}
	}
	return ""
}

func within(imported, root string) bool {
	return imported == root || strings.HasPrefix(imported, root+"/")
}

// file is one parsed Go file; its name is relative to the root.
type file struct {
	name   string
	syntax *ast.File
}

func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

func onlyTests(files []file) bool {
	return !slices.ContainsFunc(files, func(f file) bool { return !f.isTest() })
}

// machinery names the first thing that the file uses of net/http and that is
// more than a word.
func (f file) machinery(imported string) (why string) {
	if imported != "net/http" {
		return "it is more than words"
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "http" {
			name := sel.Sel.Name
			if !strings.HasPrefix(name, "Status") && !strings.HasPrefix(name, "Method") && name != "TimeFormat" {
				why = "http." + name + " is more than a word"
			}
		}
		return true
	})
	return why
}

// packageState names the variables at package level that are a lock, an atomic
// or a channel.
func (f file) packageState() (names []string) {
	for _, d := range f.syntax.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.VAR {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			if isState(spec.Type) || slices.ContainsFunc(spec.Values, isState) {
				for _, name := range spec.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}

func isState(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ChanType:
		return true
	case *ast.CallExpr: // make(chan T), new(sync.Mutex)
		return slices.ContainsFunc(e.Args, isState)
	case *ast.UnaryExpr: // &sync.Mutex{}
		return isState(e.X)
	case *ast.CompositeLit:
		return isState(e.Type)
	case *ast.StarExpr:
		return isState(e.X)
	case *ast.IndexExpr: // atomic.Pointer[T]
		return isState(e.X)
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && (x.Name == "sync" || x.Name == "atomic")
	}
	return false
}

// readTree returns every Go file of the module, by directory.
func readTree(t *testing.T) map[string][]file {
	t.Helper()
	tree, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// parsed parses the tree once for all tests.
var parsed = sync.OnceValues(func() (map[string][]file, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	tree := make(map[string][]file)
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		tree[path.Dir(rel)] = append(tree[path.Dir(rel)], file{rel, syntax})
		return nil
	})
	if err == nil && len(tree) == 0 {
		err = fmt.Errorf("no Go file under %s", root)
	}
	return tree, err
})
