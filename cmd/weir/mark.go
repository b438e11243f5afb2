package main

import (
	"encoding/json"
	"fmt"
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
	wait    bool          // until nothing runs on it any more
	timeout time.Duration // for what runs, if the flag is given
	last    lasting
}

// drainCommand takes a backend out of service and lets it finish.
func drainCommand() *cobra.Command {
	m := &marking{as: pool.Drain}
	return m.ending(m.command("drain", "Give a backend no new work and let it finish what it has",
		`The backend gets no new requests. Those that it has may run to their end until
the deadline, the pool's drain.timeout from now or --timeout; streams and
WebSockets end one after the other in the second half of that time. Then what
still runs is closed. The backend stays out, whatever its probes say and however
often the configuration changes, until weir ready, which also takes the deadline
away.

With --wait the command shows what is left and ends with exit code 0 when nothing
is. Ctrl-C ends the command and not the drain. Draining again with --timeout moves
the deadline, also that of a backend that is no longer configured.`))
}

// maintainCommand takes a backend out and stops probing it.
func maintainCommand() *cobra.Command {
	m := &marking{as: pool.Maintenance}
	return m.ending(m.command("maintain", "Take a backend out for maintenance: no requests, no probes",
		`The backend gets no new requests and is not probed until weir ready. What it has
ends as after weir drain.`))
}

// readyCommand brings a backend back.
func readyCommand() *cobra.Command {
	return (&marking{as: pool.Ready}).command("ready", "Put a backend back into service",
		`Undoes weir drain and weir maintain: what still runs goes on. Where the pool has a
health check, requests come when it passes.`)
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

// ending adds what the two have that end a backend's work.
func (m *marking) ending(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&m.wait, "wait", false, "wait until nothing runs on the backend, and show progress")
	cmd.Flags().DurationVar(&m.timeout, "timeout", 0, "how long what runs may go on, 0s for ever (default the pool's drain.timeout)")
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
	wish := map[string]any{"admin": m.as.String()}
	m.last.into(wish)
	if cmd.Flags().Changed("timeout") {
		wish["timeout"] = m.timeout.String()
	}
	body, err := json.Marshal(wish)
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
		w := &drainWait{name: name, path: path, client: c, out: progress, terminal: isTerminal(progress)}
		if b, err = w.run(cmd.Context(), b); err != nil {
			return err
		}
	}
	switch {
	case m.json:
		return printJSON(out, b)
	case m.wait:
		return nil // it has said how it ended
	case b.Drain != nil:
		_, err = fmt.Fprintf(out, "%s: %s, %s\n", name, b.Admin, progressOf(b, time.Now()))
	default:
		_, err = fmt.Fprintf(out, "%s: %s, health %s, %s in flight\n", name, b.Admin, b.Health, plural(b.InFlight, "request"))
	}
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
