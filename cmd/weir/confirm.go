package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

// confirmCommand keeps what weir apply --confirm would undo.
func confirmCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "confirm",
		Short: "Keep a change that was applied with --confirm",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := admin.client()
			if err != nil {
				return err
			}
			var kept struct {
				Version int `json:"version"`
			}
			if err := c.ask(cmd.Context(), question{method: http.MethodPost, path: "/v1/confirm"}, &kept); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), kept)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "version %d stays\n", kept.Version)
			return err
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the version as JSON")
	return cmd
}
