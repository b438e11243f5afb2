package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/internal/history"
)

const (
	gitTime  = 20 * time.Second // for one call of git
	gitAgain = 30 * time.Second // when to try again after one failed
	gitFile  = "weir.yaml"      // what the configuration is called in the repository
	gitPack  = 500              // commits between two looks at whether to pack
)

// mirror commits versions to a git repository in the history directory. It works
// on a goroutine of its own, so that git, however slow, delays no change.
type mirror struct {
	wake   chan struct{}
	failed atomic.Pointer[string] // nil: all is well, or off
	since  int                    // commits since the last packing; the goroutine's
}

// poke says that there may be something to commit.
func (m *mirror) poke() {
	select {
	case m.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// runMirror commits what is not committed yet, first what an earlier process has
// left, until ctx ends.
func (c *Controller) runMirror(ctx context.Context) {
	c.mirror.poke()
	retry := time.NewTimer(gitAgain)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.mirror.wake:
		case <-retry.C:
		}
		if !c.current.Load().cfg.History.Git {
			c.mirror.failed.Store(nil)
			continue
		}
		err := c.commitVersions(ctx)
		if ctx.Err() != nil {
			return // the next start goes on
		}
		c.noteMirror(err)
		if err != nil {
			retry.Reset(gitAgain)
		}
	}
}

// noteMirror tells of a failure once.
func (c *Controller) noteMirror(err error) {
	before := c.mirror.failed.Load()
	if err == nil {
		if before != nil {
			c.log.Info("history is committed to git again")
		}
		c.mirror.failed.Store(nil)
		return
	}
	text := err.Error()
	if before == nil || *before != text {
		c.log.Error("history is not committed to git; it is tried again", zap.Error(err))
	}
	c.mirror.failed.Store(&text)
}

func (m *mirror) warnings() []string {
	if text := m.failed.Load(); text != nil {
		return []string{"history.git: versions are not committed to git: " + *text}
	}
	return nil
}

// commitVersions commits each version that ran and is newer than the last commit
// of one. What is held, or tried, does not become the repository's state.
func (c *Controller) commitVersions(ctx context.Context) error {
	g := repository(c.history.Dir())
	if err := g.prepare(ctx); err != nil {
		return err
	}
	head, last, err := g.last(ctx)
	if err != nil {
		return err
	}
	versions := c.history.List()
	if n := len(versions); n > 0 && last > versions[n-1].Number {
		last = 0 // the versions were removed by hand, and are numbered anew
	}
	var source []byte
	for _, v := range versions {
		if v.Number <= last || !v.Ran() {
			continue
		}
		_, text, err := c.history.Get(v.Number)
		if errors.Is(err, history.ErrNotFound) {
			continue // pruned in between
		}
		if err == nil {
			head, err = g.commit(ctx, head, v, text)
		}
		if err != nil {
			return fmt.Errorf("version %d: %w", v.Number, err)
		}
		source = text
		c.mirror.since++
	}
	if source == nil {
		return nil
	}
	if c.mirror.since >= gitPack {
		c.mirror.since = 0
		_, _ = g.run(ctx, nil, nil, "gc", "--auto", "--quiet") // it only saves room
	}
	return c.checkOut(ctx, g, source)
}

// checkOut makes the work tree and the index agree with what was committed, so
// that git status has nothing to say.
func (c *Controller) checkOut(ctx context.Context, g repository, source []byte) error {
	if err := c.history.Keep(gitFile, source); err != nil {
		return err
	}
	blob, err := g.run(ctx, nil, source, "hash-object", "--stdin")
	if err == nil {
		// Somebody may be at work in the index: then it is theirs.
		_, _ = g.run(ctx, nil, nil, "update-index", "--add", "--cacheinfo", "100644,"+blob+","+gitFile)
	}
	return err
}

// repository is a git repository, by the directory that it is in. It is written
// with git's plumbing, which runs no hooks, signs nothing and wants no work tree.
type repository string

func (g repository) dir() string { return filepath.Join(string(g), ".git") }

// prepare makes the repository if there is none. Its files are its owner's alone,
// as the versions are. Everything else in the directory is ignored, so that
// git add takes no secrets.
func (g repository) prepare(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(g.dir(), "HEAD")); err == nil {
		return nil
	}
	if _, err := g.run(ctx, nil, nil, "init", "--quiet", "--template=", "--shared=0600", "--initial-branch=main"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(g.dir(), "info"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(g.dir(), "info", "exclude"), []byte("# Weir's own files stay here.\n/*\n!/"+gitFile+"\n"), 0o600)
}

// last is the commit that HEAD names, "" if there is none, and the newest version
// that was committed up to there.
func (g repository) last(ctx context.Context) (head string, version int, err error) {
	if head, err = g.run(ctx, nil, nil, "for-each-ref", "--format=%(objectname)", g.branch(ctx)); err != nil || head == "" {
		return "", 0, err
	}
	subject, err := g.run(ctx, nil, nil, "log", "-1", "--format=%s", "--grep=^version [0-9][0-9]*: ", head)
	if err == nil {
		_, _ = fmt.Sscanf(subject, "version %d:", &version) // no commit is of a version: 0
	}
	return head, version, err
}

// branch is the reference that HEAD stands for, which may not exist yet.
func (g repository) branch(ctx context.Context) string {
	name, err := g.run(ctx, nil, nil, "symbolic-ref", "--quiet", "HEAD")
	if err != nil || name == "" {
		return "refs/heads/main" // HEAD is detached: somebody looks around
	}
	return name
}

// commit makes v the file's content in a commit on top of head, and returns it.
// The index is one of our own: what somebody has staged is not ours to commit.
func (g repository) commit(ctx context.Context, head string, v history.Version, source []byte) (string, error) {
	index := filepath.Join(g.dir(), "weir.index")
	env := []string{"GIT_INDEX_FILE=" + index}
	_ = os.Remove(index)
	_ = os.Remove(index + ".lock") // a crash's
	defer os.Remove(index)
	if head != "" {
		if _, err := g.run(ctx, env, nil, "read-tree", head); err != nil {
			return "", err
		}
	}
	blob, err := g.run(ctx, nil, source, "hash-object", "-w", "--stdin")
	if err != nil {
		return "", err
	}
	if _, err := g.run(ctx, env, nil, "update-index", "--add", "--cacheinfo", "100644,"+blob+","+gitFile); err != nil {
		return "", err
	}
	tree, err := g.run(ctx, env, nil, "write-tree")
	if err != nil {
		return "", err
	}
	args := []string{"commit-tree", tree}
	before := strings.Repeat("0", len(tree)) // no such reference yet
	if head != "" {
		args, before = append(args, "-p", head), head
	}
	commit, err := g.run(ctx, author(v), []byte(message(v)), args...)
	if err != nil {
		return "", err
	}
	_, err = g.run(ctx, author(v), nil, "update-ref", "-m", fmt.Sprintf("weir: version %d", v.Number), g.branch(ctx), commit, before)
	return commit, err
}

// message is "version 13: api, ann, rolled back to …", and the hash by which the
// version is known.
func message(v history.Version) string {
	parts := []string{v.Origin}
	if v.RollbackOf != 0 {
		parts[0] = fmt.Sprintf("%s of %d", v.Origin, v.RollbackOf)
	}
	for _, s := range []string{v.Author, v.Note} {
		if s != "" {
			parts = append(parts, strings.Join(strings.Fields(s), " "))
		}
	}
	return fmt.Sprintf("version %d: %s\n\nTime: %s\nSHA-256: %s\n", v.Number, strings.Join(parts, ", "), v.Time.Format(time.RFC3339), v.Hash)
}

// author is the environment that names who made the version, and Weir as who
// commits it. git drops some characters of a name and wants one that is left.
func author(v history.Version) []string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("<>\x00", r) || r < ' ' {
			return -1
		}
		return r
	}, v.Author)
	if strings.Trim(name, " .,:;\"'\\") == "" {
		name = "weir"
	}
	return []string{
		"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=weir@localhost", "GIT_AUTHOR_DATE=" + v.Time.Format(time.RFC3339),
		"GIT_COMMITTER_NAME=weir", "GIT_COMMITTER_EMAIL=weir@localhost",
	}
}

// run calls git with nobody's configuration but the repository's own, and returns
// what it printed.
func (g repository) run(ctx context.Context, env []string, stdin []byte, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, gitTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null", "-c", "gc.autoDetach=false"}, args...)...)
	cmd.Dir = string(g)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + string(g), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
	}, env...)
	if args[0] != "init" {
		cmd.Env = append(cmd.Env, "GIT_DIR="+g.dir(), "GIT_WORK_TREE="+string(g))
	}
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &said
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return "", fmt.Errorf("git %s took more than %v", args[0], gitTime)
	case errors.Is(err, exec.ErrNotFound):
		return "", errors.New("there is no git on this machine: install it, or set history.git to false")
	case err != nil:
		text := strings.TrimSpace(string(said.Bytes()[:min(said.Len(), notifyLog)]))
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, text)
	}
	return strings.TrimSpace(out.String()), nil
}
