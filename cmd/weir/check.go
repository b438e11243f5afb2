package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"weir/internal/config"
)

// checkResult is what weir check --json prints.
type checkResult struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Problems config.Problems  `json:"problems"`
	Warnings []config.Finding `json:"warnings"`
}

// checkCommand says everything that is wrong with a configuration file.
func checkCommand() *cobra.Command {
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a configuration file",
		Long: `Reads FILE (- is standard input) as weir run would and prints every problem as
file:line:column: path: message; fix, or, if there are none, every warning: what
is right and hardly meant, with its code. It talks to nobody: addresses are not
bound and names are not resolved; weir plan does that. Exit code 0: it is right.
1: it is not, or there are warnings and --strict.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := readSource(cmd, args[0])
			if err != nil {
				return err
			}
			name := displayName(args[0])
			result := checkResult{File: name, Problems: config.Problems{}, Warnings: []config.Finding{}}
			cfg, err := config.Parse(name, source, os.LookupEnv)
			switch {
			case err == nil:
				result.OK = true
				result.Warnings = append(result.Warnings, config.Lint(name, source, cfg)...)
			case !errors.As(err, &result.Problems):
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), result)
			} else {
				err = printCheck(cmd.OutOrStdout(), result, cfg)
			}
			if err == nil && (!result.OK || strict && len(result.Warnings) > 0) {
				err = silently(exitRefused)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 if there are warnings")
	return cmd
}

// displayName is what a file is called in messages.
func displayName(arg string) string {
	if arg == "-" {
		return "stdin"
	}
	return arg
}

// printCheck prints what was found, to stdout: it is what was asked for.
func printCheck(w io.Writer, r checkResult, cfg *config.Config) error {
	if !r.OK {
		_, err := fmt.Fprintln(w, r.Problems.Error())
		return err
	}
	printWarnings(w, r.Warnings)
	text := fmt.Sprintf("%s: ok: %s", r.File, size(cfg))
	if n := len(r.Warnings); n > 0 {
		text += "; " + plural(n, "warning")
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// mostOfAKind is how many warnings of one code are printed for a person.
const mostOfAKind = 10

// printWarnings prints warnings, and of those of one kind only the first few.
func printWarnings(w io.Writer, fs []config.Finding) {
	count, order := map[string]int{}, []string(nil)
	for _, f := range fs {
		if count[f.Code]++; count[f.Code] <= mostOfAKind {
			fmt.Fprintln(w, f)
		} else if count[f.Code] == mostOfAKind+1 {
			order = append(order, f.Code)
		}
	}
	for _, code := range order {
		fmt.Fprintf(w, "%d more of %s are not shown; --json has all\n", count[code]-mostOfAKind, code)
	}
}

// size counts what a configuration holds.
func size(cfg *config.Config) string {
	routes, backends := 0, 0
	for _, l := range cfg.Listeners {
		routes += len(l.Routes)
	}
	for _, p := range cfg.Pools {
		backends += len(p.Backends)
	}
	return plural(len(cfg.Listeners), "listener") + ", " + plural(routes, "route") + ", " +
		plural(len(cfg.Pools), "pool") + ", " + plural(backends, "backend")
}
