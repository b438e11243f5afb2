package main

import (
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"
)

// rollbackCommand runs an earlier version again.
func rollbackCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "rollback [N]",
		Short: "Run version N again, or the one before",
		Long: `Makes a new version with the bytes of version N (default: the version before
the one that runs). Backends keep their health and their connections. The
file on disk now differs: Weir is pinned, and leaves the file alone until it is
edited again or weir unpin.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := 0
			if len(args) == 1 {
				var err error
				if to, err = versionNumber(args[0]); err != nil {
					return err
				}
			}
			body, err := json.Marshal(map[string]int{"to": to})
			if err != nil {
				return err
			}
			c, err := admin.client()
			if err != nil {
				return err
			}
			return change(cmd, c, question{method: http.MethodPost, path: "/v1/rollback", body: body}, asJSON, "")
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	return cmd
}
