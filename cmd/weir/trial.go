package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/control"
	"weir/proxy"
)

// trialCommand shows a change that is tried before it is made, and ends it.
func trialCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "trial [promote|abort]",
		Short: "Show, promote or abort a change that is staged or a shadow",
		Long: `Shows the change that weir apply --stage or --shadow began, or the last one
that ended. promote makes a staged version the one that runs, for all clients,
at once; abort ends the trial.`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"promote", "abort"},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := admin.client()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				body := fmt.Appendf(nil, `{"do":%q}`, args[0])
				return change(cmd, c, question{method: http.MethodPost, path: "/v1/trial", body: body}, asJSON, "")
			}
			var t control.Trial
			if err := c.ask(cmd.Context(), question{method: http.MethodGet, path: "/v1/trial"}, &t); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), t)
			}
			printTrial(cmd.OutOrStdout(), &t)
			return nil
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printTrial tells a person how a trial goes, or went.
func printTrial(w io.Writer, t *control.Trial) {
	if t == nil {
		return
	}
	what := fmt.Sprintf("version %d is tried by %d %% of the clients", t.Version, t.Share)
	if t.Kind == "shadow" {
		what = "a shadow is asked about each request"
	}
	switch {
	case t.Ended != "":
		fmt.Fprintf(w, "trial: %s; ended: %s", what, t.Ended)
		if t.Why != "" {
			fmt.Fprintf(w, " (%s)", t.Why)
		}
		fmt.Fprintln(w)
	case len(t.Steps) > 0:
		fmt.Fprintf(w, "trial: %s until %s, then %d %%\n", what, clock(t.Until), t.Steps[0])
	default:
		fmt.Fprintf(w, "trial: %s until %s\n", what, clock(t.Until))
	}
	for _, r := range t.Routes {
		if r.After.Requests > 0 {
			fmt.Fprintf(w, "  route %s: %s: %s, errors %.1f %% (others %.1f %%), p99 %.0f ms (others %.0f ms)\n", r.Route, r.Verdict,
				plural(r.After.Requests, "answer"), r.After.ErrorShare, r.Before.ErrorShare, 1000*r.After.P99, 1000*r.Before.P99)
		}
	}
	if s := t.Shadowed; s != nil {
		fmt.Fprintf(w, "  %d requests, %d of them would be decided otherwise\n", s.Requests, s.Differ)
		printDifferences(w, s.Differences)
	}
}

func printDifferences(w io.Writer, ds []proxy.Difference) {
	for _, d := range ds {
		fmt.Fprintf(w, "  %s %s%s (and %d like it)\n    now:  %s\n    then: %s\n", d.Method, d.Host, d.Path, d.Count-1, d.Old, d.New)
	}
}

// replayCommand tries a configuration on requests of the recent past.
func replayCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Decide recorded requests under another configuration",
		Long: `Routes the requests that the running Weir has recorded (record in its
configuration) through the configuration that runs and through FILE, without
asking any backend, and prints what would differ: route, pool, status, and what
the backend gets. Exit code 0: nothing. 2: something. 1: FILE is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := readSource(cmd, args[0])
			if err != nil {
				return err
			}
			c, err := admin.client()
			if err != nil {
				return err
			}
			return replay(cmd, c, source, args[0], asJSON)
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func replay(cmd *cobra.Command, c *client, source []byte, file string, asJSON bool) error {
	var out control.Replayed
	began := time.Now()
	if err := askAbout(cmd, c, aboutFile(http.MethodPost, "/v1/replay", source), &out, file); err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if asJSON {
		if err := printJSON(w, out); err != nil {
			return err
		}
	} else {
		printDifferences(w, out.Differences)
		fmt.Fprintf(w, "%s replayed against version %d in %v, %d of them would be decided otherwise\n",
			plural(out.Requests, "request"), out.Version, time.Since(began).Round(time.Millisecond), out.Differ)
	}
	if out.Differ > 0 {
		return silently(exitDifferent)
	}
	return nil
}
