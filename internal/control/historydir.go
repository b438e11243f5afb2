package control

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// historyDir is where versions are kept: dir as configured, relative to the
// file; .weir beside the file if it is empty.
func historyDir(path, dir string) string {
	if dir == "" {
		dir = ".weir"
	}
	if filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	return filepath.Join(filepath.Dir(path), dir)
}

var (
	historyFlow  = regexp.MustCompile(`(?m)^history:[ \t]*\{[^}\n]*?\bdir:[ \t]*((?:\$\{[^}\n]*\}|[^,}\n])*)`)
	historyBlock = regexp.MustCompile(`(?m)^history:[ \t]*(?:#.*)?\n(?:[ \t]+.*\n|[ \t]*(?:#.*)?\n)*?[ \t]+dir:[ \t]*(.*)`)
)

// guessDir finds history.dir in a file that does not parse. The versions in
// there are what a start with a broken file falls back on, so the place has to
// be found although the rest is wrong. Empty: not set, or beyond recognition.
func guessDir(source []byte, env func(string) (string, bool)) string {
	m := historyFlow.FindSubmatch(source)
	if m == nil {
		m = historyBlock.FindSubmatch(source)
	}
	if m == nil {
		return ""
	}
	dir, _, _ := strings.Cut(string(m[1]), " #")
	dir = strings.Trim(strings.TrimSpace(dir), `"'`)
	known := true
	dir = os.Expand(dir, func(name string) string {
		if env == nil {
			known = false
			return ""
		}
		v, ok := env(name)
		known = known && ok
		return v
	})
	if !known || strings.ContainsRune(dir, 0) {
		return ""
	}
	return dir
}
