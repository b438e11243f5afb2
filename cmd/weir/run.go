package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/handover"
)

// gcPercent trades memory for CPU: Weir's heap is small and steady, and
// collecting it when it has doubled would be most of what Go costs. GOGC and
// GOMEMLIMIT of the environment win.
const gcPercent = 400

// runCommand serves.
func runCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the load balancer",
		Long: `Serves what the configuration file says, follows its edits, and answers the
admin API. The system log goes to stderr, the access log to stdout, one JSON
object a line.

A file that is wrong does not keep Weir from starting: it runs the newest good
version and says so. --strict exits instead.

SIGHUP reads the file again. SIGUSR2 is weir upgrade: the program, which may have
been replaced on disk, takes over in a new process. SIGTERM and SIGINT stop accepting, finish the
requests that run, then leave; a second one leaves at once (exit code 1).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.config, err = findConfig(o.config, "weir.yaml", "/etc/weir/weir.yaml"); err != nil {
				return err
			}
			o.stdout, o.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			// Before anything else: a SIGHUP would end a process that is not listening.
			signals := make(chan os.Signal, 8)
			signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
			defer signal.Stop(signals)
			if o.program, err = handover.Program(); err != nil {
				return err
			}
			if o.inherited, err = handover.Inherit(); err != nil {
				return err
			}
			o.args, o.notifier = os.Args[1:], handover.NewNotifier()
			return serve(cmd.Context(), o, signals)
		},
	}
	cmd.Flags().StringVarP(&o.config, "config", "c", "", "configuration `FILE` (default ./weir.yaml, else /etc/weir/weir.yaml)")
	cmd.Flags().BoolVar(&o.strict, "strict", false, "exit if the file is wrong, instead of running the newest good version")
	cmd.Flags().IntVar(&o.loops, "loops", 0, "number of event loops (default: one a processor)")
	cmd.Flags().DurationVar(&o.grace, "grace", 30*time.Second, "how long requests may finish after SIGTERM")
	return cmd
}

// findConfig is the configuration file to run: the one that was named, which
// need not exist where there is a history, else the first candidate there is.
func findConfig(named string, candidates ...string) (string, error) {
	if named != "" {
		return named, nil
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("no configuration: there is neither %s nor %s; name one with -c, or see weir demo", candidates[0], candidates[1])
}
