package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/control"
)

// freezeCommand makes changes wait.
func freezeCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "freeze DURATION [WHY]",
		Short: "Record changes instead of applying them, for a while",
		Long: `For DURATION (30m, 2h) changes of the configuration are checked and recorded as
held versions, and not applied: edits of the file, weir apply, the admin API. It
holds over a restart. Rollbacks, also the guard's, work, and so does weir apply
--force. Another freeze takes the place of this one.

At the end, or at weir thaw, the file is applied if it was edited; other held
versions stay in weir history.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := time.ParseDuration(args[0]); err != nil {
				return fmt.Errorf("%q is not a duration; want one such as 30m or 2h", args[0])
			}
			ask := map[string]string{"for": args[0]}
			if len(args) == 2 {
				ask["why"] = args[1]
			}
			body, err := json.Marshal(ask)
			if err != nil {
				return err
			}
			c, err := admin.client()
			if err != nil {
				return err
			}
			var f control.Frozen
			if err := c.ask(cmd.Context(), question{method: http.MethodPost, path: "/v1/freeze", body: body}, &f); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), f)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%v; weir thaw ends that\n", f)
			return err
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// thawCommand ends a freeze.
func thawCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "thaw",
		Short: "End a freeze, and apply the configuration file if it was edited",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := admin.client()
			if err != nil {
				return err
			}
			return change(cmd, c, question{method: http.MethodPost, path: "/v1/thaw"}, asJSON, "")
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	return cmd
}
