package control

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"weir/internal/config"
)

const (
	ownKeyName  = "sticky.key" // in history.dir
	ownKeySize  = 32           // bytes
	leastSecret = 16           // bytes of a secret file, without the space around it
	mostSecret  = 4096         // more is another file
)

// ownKey is the key that Weir makes for the cookies of pools without a
// secret_file. Only the writer uses it.
type ownKey struct {
	key  []byte
	kept bool // beside the history, so that the next start has it too
}

// stickyKeys returns what cookies are signed with, for each pool whose clients
// keep their backend. Files are read anew each time. before is an earlier run of
// the configuration, or nil: to go back to it must not fail for a file that has
// become unreadable since.
func (c *Controller) stickyKeys(cfg *config.Config, before *compiled) (map[string][]byte, error) {
	keys := make(map[string][]byte)
	for _, p := range cfg.Pools {
		switch {
		case p.Sticky.Cookie == "":
			continue
		case p.Sticky.SecretFile == "":
			keys[p.Name] = c.ownStickyKey()
			continue
		}
		key, err := readSecret(c.beside(p.Sticky.SecretFile))
		if err != nil {
			err = fmt.Errorf("pools.%s.sticky.secret_file: %w", p.Name, err)
			if before == nil || before.keys[p.Name] == nil {
				return nil, err
			}
			c.log.Error("sticky cookies: the secret of before stays in force", zap.String("pool", p.Name), zap.Error(err))
			key = before.keys[p.Name]
		}
		keys[p.Name] = key
	}
	return keys, nil
}

// beside is where a relative name leads: to the configuration file's directory.
func (c *Controller) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.o.Path), name)
}

// readSecret reads a secret file. The error names it and what would be right.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: write a secret there, or leave secret_file out for a key that Weir makes", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, mostSecret+1))
	if err != nil {
		return nil, err
	}
	if len(content) > mostSecret {
		return nil, fmt.Errorf("%s has more than %d bytes, which no secret needs", path, mostSecret)
	}
	return secretIn(content, path)
}

func secretIn(content []byte, path string) ([]byte, error) {
	secret := bytes.TrimSpace(content)
	if len(secret) < leastSecret {
		return nil, fmt.Errorf("%s has %d bytes without the space around them; a secret has at least %d, such as those of openssl rand -hex 32",
			path, len(secret), leastSecret)
	}
	return secret, nil
}

// ownStickyKey is the key of before, that of an earlier start, or a new one. One
// that cannot be kept is good until Weir ends.
func (c *Controller) ownStickyKey() []byte {
	own := &c.stickyKey
	if own.kept {
		return own.key
	}
	if own.key == nil {
		raw := make([]byte, ownKeySize)
		_, _ = rand.Read(raw) // never fails: see its documentation
		own.key = hex.AppendEncode(nil, raw)
	}
	text, err := c.history.KeepOnce(ownKeyName, append(bytes.Clone(own.key), '\n'))
	path := filepath.Join(c.history.Dir(), ownKeyName)
	var key []byte
	if err == nil {
		key, err = secretIn(text, path)
	}
	if err != nil {
		c.log.Error("sticky cookies: their key is not kept, after a restart clients lose their backends",
			zap.String("file", path), zap.Error(err))
		return own.key
	}
	own.key, own.kept = key, true
	return key
}
