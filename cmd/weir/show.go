package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

// showCommand prints a version's bytes.
func showCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "show [N]",
		Short: "Print version N of the configuration, byte for byte",
		Long: `Prints the text of version N as it was accepted; without N, of the version
that runs. With --json, what is known about it and the text as a string.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/v1/config"
			if len(args) == 1 {
				n, err := versionNumber(args[0])
				if err != nil {
					return err
				}
				path = fmt.Sprintf("/v1/versions/%d", n)
			}
			accept := "text/yaml"
			if asJSON {
				accept = "application/json"
			}
			c, err := admin.client()
			if err != nil {
				return err
			}
			var raw []byte
			q := question{method: http.MethodGet, path: path, header: map[string]string{"Accept": accept}}
			if err := c.ask(cmd.Context(), q, &raw); err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
