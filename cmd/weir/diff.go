package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"weir/internal/control"
)

// diffCommand says what differs between two versions, or a version and a file.
func diffCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "diff A B|FILE",
		Short: "Say what changes from version A to version B, or to a file",
		Long: `Prints what changes for traffic from version A to version B or to what FILE says
(- is standard input; a file that is called like a number is ./12), one line a
change, and then the difference of the texts. Exit code 0: the texts are equal.
2: they differ.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := askDiff(cmd, args[0], args[1])
			if err != nil {
				return err
			}
			c, err := admin.client()
			if err != nil {
				return err
			}
			return showDiff(cmd.Context(), cmd.OutOrStdout(), c, q, args[1], asJSON)
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// askDiff is the question for what leads from version a to b, a version or a file.
func askDiff(cmd *cobra.Command, a, b string) (question, error) {
	from, err := versionNumber(a)
	if err != nil {
		return question{}, err
	}
	path := fmt.Sprintf("/v1/versions/%d/diff", from)
	if _, err := strconv.Atoi(b); err == nil {
		to, err := versionNumber(b)
		return question{method: http.MethodGet, path: fmt.Sprintf("%s/%d", path, to)}, err
	}
	source, err := readSource(cmd, b)
	if errors.Is(err, fs.ErrNotExist) {
		return question{}, fmt.Errorf("%q is neither a version number nor a file", b)
	}
	return question{method: http.MethodPost, path: path + "?name=" + url.QueryEscape(displayName(b)), body: source}, err
}

func showDiff(ctx context.Context, w io.Writer, c *client, q question, b string, asJSON bool) error {
	var d control.Diff
	err := c.ask(ctx, q, &d)
	switch {
	case err != nil:
		return err
	case asJSON:
		err = printJSON(w, d)
	default:
		err = printDiff(w, d, displayName(b))
	}
	if err == nil && d.Text != "" {
		err = silently(exitDifferent)
	}
	return err
}

// printDiff prints the changes in meaning, then those of the text. b is what was
// compared with version A.
func printDiff(w io.Writer, d control.Diff, b string) error {
	if d.Text == "" {
		_, err := fmt.Fprintf(w, "version %d and %s are the same, byte for byte\n", d.A, cmp.Or(versionName(d.B), b))
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

// versionName is "version 12"; "" for none.
func versionName(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("version %d", n)
}
