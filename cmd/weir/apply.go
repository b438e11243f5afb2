package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/control"
)

// applyCommand sends a configuration to the running Weir and waits for the
// verdict.
func applyCommand() *cobra.Command {
	var (
		admin     adminFlags
		ifVersion int
		asJSON    bool
		force     bool
		noGuard   bool
		confirm   time.Duration
		hold      time.Duration
		shadow    time.Duration
		stage     string
	)
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Change the running configuration and wait for the verdict",
		Long: `Sends FILE (- is standard input) to the running Weir, which checks it, binds
what is new, records the version and switches to it, or refuses and changes
nothing. Exit code 0: it runs. 1: it was refused, for the reasons printed, or
is held because of a freeze.

Afterwards the guard watches what the change does to traffic, and undoes it if
that is worse. With --confirm it is undone in any case unless weir confirm says
in time that it is to stay: for changes that may lock you out.`,
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
			query := url.Values{}
			if force {
				query.Set("force", "true")
			}
			if noGuard {
				query.Set("no_guard", "true")
			}
			if stage != "" {
				query.Set("stage", stage)
			}
			for name, d := range map[string]time.Duration{"confirm": confirm, "hold": hold, "shadow": shadow} {
				if d != 0 {
					query.Set(name, d.String())
				}
			}
			q := aboutFile(http.MethodPut, strings.TrimSuffix("/v1/config?"+query.Encode(), "?"), source)
			if ifVersion > 0 {
				q.header["If-Match"] = strconv.Quote(strconv.Itoa(ifVersion))
			}
			return change(cmd, c, q, asJSON, args[0])
		},
	}
	admin.bind(cmd)
	cmd.Flags().IntVar(&ifVersion, "if-version", 0, "refuse unless version `N` runs")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	cmd.Flags().BoolVar(&force, "force", false, "apply it also if the guard has undone it before, and during a freeze")
	cmd.Flags().BoolVar(&noGuard, "no-guard", false, "do not watch what it does to traffic")
	cmd.Flags().StringVar(&stage, "stage", "", "try it first on so many `PERCENT` of the clients, step by step: 5,25,100")
	cmd.Flags().DurationVar(&hold, "hold", 0, "how long each step of --stage lasts (default 30s)")
	cmd.Flags().DurationVar(&shadow, "shadow", 0, "do not apply it: for `TIME` only count what it would decide otherwise")
	cmd.Flags().DurationVar(&confirm, "confirm", 0, "undo it after `TIME` unless weir confirm is called")
	return cmd
}

// readSource reads a configuration's bytes; "-" is standard input.
func readSource(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}

// change asks for a change of the configuration and prints the verdict. file
// is what the bytes are called here, for the problems with them.
func change(cmd *cobra.Command, c *client, q question, asJSON bool, file string) error {
	var v control.Verdict
	err := c.ask(cmd.Context(), q, &v)
	var no *refusal
	switch {
	case errors.As(err, &no) && asJSON:
		if _, err := cmd.OutOrStdout().Write(no.raw); err != nil {
			return err
		}
		return silently(exitRefused)
	case errors.As(err, &no):
		return explainRefusal(cmd.ErrOrStderr(), no, file)
	case err != nil:
		return err
	}
	for i := range v.Warnings {
		if file != "" {
			v.Warnings[i].File = file
		}
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), v)
	}
	return printVerdict(cmd.OutOrStdout(), v)
}

// askAbout asks something about the configuration in file, and explains what is
// wrong with it if that is the answer.
func askAbout(cmd *cobra.Command, c *client, q question, answer any, file string) error {
	err := c.ask(cmd.Context(), q, answer)
	if no := (*refusal)(nil); errors.As(err, &no) {
		return explainRefusal(cmd.ErrOrStderr(), no, file)
	}
	return err
}

// explainRefusal prints what is wrong with a configuration, as weir check
// would, or leaves the one sentence of another refusal to the caller's caller.
func explainRefusal(w io.Writer, no *refusal, file string) error {
	if no.CurrentVersion > 0 && no.Held == 0 {
		return fmt.Errorf("%s; look at what changed and use --if-version %d", no.Error(), no.CurrentVersion)
	}
	if len(no.Problems) == 0 {
		return no
	}
	for _, p := range no.Problems {
		if file != "" {
			p.File = file // the other side knows the bytes, not the name
		}
		fmt.Fprintln(w, p)
	}
	return fmt.Errorf("refused: %s; nothing has changed", plural(len(no.Problems), "problem"))
}

// printVerdict tells a person what has happened.
func printVerdict(w io.Writer, v control.Verdict) error {
	for _, c := range v.Plan {
		if _, err := fmt.Fprintln(w, c); err != nil {
			return err
		}
	}
	if v.Trial != nil {
		printTrial(w, v.Trial)
		_, err := fmt.Fprintln(w, "weir trial shows how it goes, weir trial abort ends it")
		return err
	}
	printWarnings(w, v.Warnings)
	text := fmt.Sprintf("version %d runs (was %d), after %.0f ms", v.Version, v.Previous, v.TookMS)
	if v.Result == "unchanged" {
		text = fmt.Sprintf("nothing to change: version %d runs", v.Version)
	}
	if v.Message != "" {
		text += "; " + v.Message
	}
	if !v.Watched.IsZero() {
		text += "; the guard watches it until " + v.Watched.Local().Format(time.TimeOnly)
	}
	if !v.ConfirmBy.IsZero() {
		text += "; it is undone at " + v.ConfirmBy.Local().Format(time.TimeOnly) + " unless weir confirm says that it stays"
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
