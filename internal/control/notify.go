package control

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"time"

	"go.uber.org/zap"

	"weir/internal/config"
	"weir/internal/history"
)

const (
	notifyTime = 10 * time.Second
	notifyLog  = 4 << 10 // bytes of what the program says that are logged
)

// notice is what a program hears of a change that was undone, as JSON on its
// standard input.
type notice struct {
	Event   string         `json:"event"`   // rolled_back, not_confirmed
	Version int            `json:"version"` // that was undone
	To      int            `json:"to"`      // whose bytes run again
	Running int            `json:"running"` // as this version
	Why     string         `json:"why"`
	Guard   *history.Guard `json:"guard,omitempty"`
}

// notify runs the program, if there is one, on a goroutine of its own. What it
// says goes to the log, and so does its failing.
func (c *Controller) notify(n config.Notify, what notice) {
	if len(n.Exec) == 0 {
		return
	}
	input, err := json.Marshal(what)
	if err != nil {
		c.log.Error("guard: notice", zap.Error(err))
		return
	}
	c.notices.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), notifyTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, n.Exec[0], n.Exec[1:]...)
		var said bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &said, &said
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // nothing of Weir's own, which may be secret
		cmd.WaitDelay = time.Second
		err := cmd.Run()
		text := strings.TrimSpace(string(said.Bytes()[:min(said.Len(), notifyLog)]))
		if err != nil {
			c.log.Error("guard: the program that is to be told failed", zap.String("program", n.Exec[0]), zap.Error(err), zap.String("output", text))
			return
		}
		c.log.Info("guard: told", zap.String("program", n.Exec[0]), zap.String("output", text))
	})
}
