package main

import (
	"net/http"

	"github.com/spf13/cobra"
)

// unpinCommand makes the file count again after a rollback.
func unpinCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "unpin",
		Short: "Follow the configuration file again after a rollback",
		Long: `Reads the configuration file and applies it, as if it had just been edited.
When it is refused, Weir stays pinned to what runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := admin.client()
			if err != nil {
				return err
			}
			return change(cmd, c, question{method: http.MethodPost, path: "/v1/unpin"}, asJSON, "")
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	return cmd
}
