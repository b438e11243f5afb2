package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"weir/internal/config"
)

// adminBlock is what a configuration file says about the admin API.
type adminBlock = config.Admin

// readAdminBlock reads the admin block of a configuration file. The rest of
// the file may be wrong: right after a broken edit is when somebody wants to
// ask the running Weir about it.
func readAdminBlock(path string) (adminBlock, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return adminBlock{}, fmt.Errorf("read the admin block: %w", err)
	}
	cfg, err := config.Parse(path, src, os.LookupEnv)
	if err != nil {
		cfg, err = config.Parse(path, onlyAdmin(src), os.LookupEnv)
	}
	if err != nil {
		return adminBlock{}, fmt.Errorf("the admin block of %s cannot be read; say --admin ADDRESS instead: %w", path, err)
	}
	return resolved(cfg.Admin, path), nil
}

// adminBlockOf is the admin block of a file that is right as a whole: what
// weir run goes by.
func adminBlockOf(path string) (adminBlock, bool) {
	src, err := os.ReadFile(path)
	if err != nil {
		return adminBlock{}, false
	}
	cfg, err := config.Parse(path, src, os.LookupEnv)
	if err != nil {
		return adminBlock{}, false
	}
	return resolved(cfg.Admin, path), true
}

// resolved makes the token file's path one that is relative to the
// configuration file, as the history's directory is.
func resolved(block adminBlock, path string) adminBlock {
	if f := block.TokenFile; f != "" && !filepath.IsAbs(f) {
		block.TokenFile = filepath.Join(filepath.Dir(path), f)
	}
	return block
}

// smallest is a configuration with nothing but what every one must have.
const smallest = "\nlisteners: [{name: none, address: '127.0.0.1:0', routes: [{name: none, respond: {status: 200}}]}]\n"

// onlyAdmin makes a small configuration of the top-level admin block of src:
// the line that starts with "admin:" and those that belong to it.
func onlyAdmin(src []byte) []byte {
	var out bytes.Buffer
	inside := false
	for line := range bytes.Lines(src) {
		if top := len(bytes.TrimSpace(line)) > 0 && line[0] != ' ' && line[0] != '\t' && line[0] != '#' && line[0] != '}'; top {
			inside = bytes.HasPrefix(line, []byte("admin:"))
		}
		if inside {
			out.Write(line)
		}
	}
	out.WriteString(smallest)
	return out.Bytes()
}
