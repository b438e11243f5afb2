package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"weir/internal/control"
)

// diffCommand says what differs between two versions.
func diffCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Say what changes from version A to version B",
		Long: `Prints what changes for traffic from version A to version B, one line a change,
and then the difference of the texts. Exit code 0: the texts are equal. 2: they
differ.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var versions [2]int
			for i, arg := range args {
				var err error
				if versions[i], err = versionNumber(arg); err != nil {
					return err
				}
			}
			c, err := admin.client()
			if err != nil {
				return err
			}
			var d control.Diff
			path := fmt.Sprintf("/v1/versions/%d/diff/%d", versions[0], versions[1])
			if err := c.ask(cmd.Context(), question{method: http.MethodGet, path: path}, &d); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), d)
			} else {
				err = printDiff(cmd.OutOrStdout(), d)
			}
			if err == nil && d.Text != "" {
				err = silently(exitDifferent)
			}
			return err
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printDiff prints the changes in meaning, then those of the text.
func printDiff(w io.Writer, d control.Diff) error {
	if d.Text == "" {
		_, err := fmt.Fprintf(w, "versions %d and %d are the same, byte for byte\n", d.A, d.B)
		return err
	}
	for _, line := range d.Lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	switch {
	case d.Note != "":
		fmt.Fprintln(w, d.Note)
	case len(d.Lines) == 0:
		fmt.Fprintln(w, "both mean the same; only the texts differ")
	}
	_, err := fmt.Fprintf(w, "\n%s", d.Text)
	return err
}
