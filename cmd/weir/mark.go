package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/pool"
)

// marking is one of the commands that change a backend's administrative state.
type marking struct {
	as      pool.Admin
	admin   adminFlags
	json    bool
	wait    bool // drain only: until nothing is in flight
	timeout time.Duration
	last    lasting
}

// drainCommand takes a backend out of service and lets it finish.
func drainCommand() *cobra.Command {
	m := &marking{as: pool.Drain}
	cmd := m.command("drain", "Give a backend no new work and let it finish what it has",
		`The backend gets no new requests; those that it has run to their end. It stays
so, whatever its probes say and however often the configuration changes, until
weir ready. With --wait the command ends when no request is left; exit code 1
when some still run after --timeout.`)
	cmd.Flags().BoolVar(&m.wait, "wait", false, "wait until no request is left, and show progress")
	cmd.Flags().DurationVar(&m.timeout, "timeout", 5*time.Minute, "how long to wait")
	return cmd
}

// maintainCommand takes a backend out and stops probing it.
func maintainCommand() *cobra.Command {
	return (&marking{as: pool.Maintenance}).command("maintain", "Take a backend out for maintenance: no requests, no probes",
		`The backend gets no new requests and is not probed until weir ready. Requests
that it has run to their end.`)
}

// readyCommand brings a backend back.
func readyCommand() *cobra.Command {
	return (&marking{as: pool.Ready}).command("ready", "Put a backend back into service",
		`Undoes weir drain and weir maintain. Where the pool has a health check, requests
come when it passes.`)
}

// command is what the three have in common.
func (m *marking) command(use, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:               use + " POOL/BACKEND",
		Short:             short,
		Long:              long,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: m.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return m.run(cmd, args[0]) },
	}
	m.admin.bind(cmd)
	cmd.Flags().BoolVar(&m.json, "json", false, "print JSON")
	if m.as != pool.Ready {
		m.last.bind(cmd)
	}
	return cmd
}

// run marks a backend, and waits if it is to be waited for. With --json the
// progress of waiting goes to stderr.
func (m *marking) run(cmd *cobra.Command, name string) error {
	c, err := m.admin.client()
	if err != nil {
		return err
	}
	path, err := backendPath(name)
	if err != nil {
		return err
	}
	ask := map[string]any{"admin": m.as.String()}
	m.last.into(ask)
	body, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	var b pool.BackendStatus
	if err := c.ask(cmd.Context(), question{method: http.MethodPut, path: path, body: body}, &b); err != nil {
		return err
	}
	out, progress := cmd.OutOrStdout(), cmd.OutOrStdout()
	if m.json {
		progress = cmd.ErrOrStderr()
	}
	if m.wait {
		if b, err = waitDrained(cmd.Context(), progress, c, path, m.timeout); err != nil {
			return err
		}
	}
	if m.json {
		return printJSON(out, b)
	}
	_, err = fmt.Fprintf(out, "%s: %s, health %s, %s in flight\n", name, b.Admin, b.Health, plural(b.InFlight, "request"))
	return err
}

// complete offers the backends of the running Weir to the shell.
func (m *marking) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		names = runningBackends(cmd.Context(), &m.admin)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// backendPath is where the admin API has a backend that is written
// POOL/BACKEND. A backend may be unix:/path, so the first slash divides.
func backendPath(name string) (string, error) {
	pool, address, ok := strings.Cut(name, "/")
	if !ok || pool == "" || address == "" {
		return "", fmt.Errorf("%q is not POOL/BACKEND, such as api/127.0.0.1:9001; weir status lists them", name)
	}
	return "/v1/pools/" + url.PathEscape(pool) + "/backends/" + url.PathEscape(address), nil
}

// drainPoll is how often a wait looks at what is left.
const drainPoll = 200 * time.Millisecond

// waitDrained returns a backend when it has no request left, and prints each
// change of their number until then.
func waitDrained(ctx context.Context, w io.Writer, c *client, path string, timeout time.Duration) (pool.BackendStatus, error) {
	deadline, tick := time.NewTimer(timeout), time.NewTicker(drainPoll)
	defer deadline.Stop()
	defer tick.Stop()
	for last := -1; ; {
		var b pool.BackendStatus
		if err := c.ask(ctx, question{method: http.MethodGet, path: path}, &b); err != nil || b.InFlight == 0 {
			return b, err
		}
		if b.InFlight != last {
			fmt.Fprintf(w, "%s in flight\n", plural(b.InFlight, "request"))
			last = b.InFlight
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return b, fmt.Errorf("%s still in flight after %v; no new ones come", plural(b.InFlight, "request"), timeout)
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
}
