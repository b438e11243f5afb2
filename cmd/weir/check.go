package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"weir/internal/config"
)

// checkResult is what weir check --json prints.
type checkResult struct {
	File     string          `json:"file"`
	OK       bool            `json:"ok"`
	Problems config.Problems `json:"problems"`
}

// checkCommand says everything that is wrong with a configuration file.
func checkCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a configuration file",
		Long: `Reads FILE (- is standard input) as weir run would and prints every problem as
file:line:column: path: message; fix. It talks to nobody: addresses are not
bound and names are not resolved. Exit code 0: it is right. 1: it is not.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := readSource(cmd, args[0])
			if err != nil {
				return err
			}
			cfg, err := config.Parse(displayName(args[0]), source, os.LookupEnv)
			return report(cmd, displayName(args[0]), cfg, err, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// displayName is what a file is called in messages.
func displayName(arg string) string {
	if arg == "-" {
		return "stdin"
	}
	return arg
}

// report prints the outcome of a parse. Problems go to stdout: they are what
// was asked for.
func report(cmd *cobra.Command, file string, cfg *config.Config, err error, asJSON bool) error {
	result := checkResult{File: file, OK: err == nil, Problems: config.Problems{}}
	if err != nil && !errors.As(err, &result.Problems) {
		return err
	}
	out := cmd.OutOrStdout()
	switch {
	case asJSON:
		if err := printJSON(out, result); err != nil {
			return err
		}
	case result.OK:
		_, err := fmt.Fprintf(out, "%s: ok: %s\n", file, size(cfg))
		return err
	default:
		if _, err := fmt.Fprintln(out, result.Problems.Error()); err != nil {
			return err
		}
	}
	if !result.OK {
		return silently(exitRefused)
	}
	return nil
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
