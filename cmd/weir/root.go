package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes. They are part of the interface: scripts and HEALTHCHECK lines
// depend on them.
const (
	exitDone      = 0 // what was asked for is done
	exitRefused   = 1 // refused, failed, or not ready
	exitDifferent = 2 // plan, diff: there are differences
	exitAbsent    = 3 // no Weir answers where we looked
)

// exitError ends a command with a code of its own.
type exitError struct {
	code int
	err  error // nil: all was said already
}

// Error is the text of the error behind the code.
func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap gives the error behind the code.
func (e *exitError) Unwrap() error { return e.err }

// silently ends a command with code after it has printed all there is to say.
func silently(code int) error { return &exitError{code: code} }

// execute runs one command line and returns its exit code. Errors go to
// stderr, one sentence each; usage is printed when it is asked for and not
// when something fails.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	coded := &exitError{code: exitRefused, err: err}
	errors.As(err, &coded)
	if coded.err != nil {
		fmt.Fprintf(stderr, "weir: %v\n", coded.err)
	}
	return coded.code
}

// rootCommand is the table of contents of the command line.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "A load balancer whose configuration can be undone",
		Long: `Weir fronts HTTP services: it spreads load by weight, takes out backends that
fail, and treats its own configuration as something that can go wrong. Every
configuration it has run is a numbered version; undoing one is one command.

weir demo shows it at work without any configuration.

Exit codes: 0 done, 1 refused or failed, 2 there are differences (plan, diff),
3 no Weir answers where it was looked for.`,
		SilenceErrors: true, // execute prints them
		SilenceUsage:  true,
	}
	root.AddCommand(
		runCommand(), demoCommand(),
		checkCommand(), planCommand(), applyCommand(),
		historyCommand(), showCommand(), diffCommand(), rollbackCommand(), unpinCommand(), confirmCommand(), freezeCommand(), thawCommand(), trialCommand(), replayCommand(),
		statusCommand(), drainCommand(), maintainCommand(), readyCommand(), weightCommand(), overridesCommand(),
		upgradeCommand(),
		benchCommand(), versionCommand(),
	)
	return root
}
