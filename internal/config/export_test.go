package config

// LintCodes are the codes of all rules.
func LintCodes() (codes []string) {
	for _, r := range lintRules {
		codes = append(codes, r.code)
	}
	return codes
}

// Find is where a path is in a file: its line and column, and whether it is there
// itself.
func Find(src, path string) (line, column int, exact bool) {
	at, _, exact := newLocator([]byte(src)).find(path)
	return at.Line, at.Column, exact
}
