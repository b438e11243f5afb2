package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"weir/internal/history"
)

// versionList is the admin API's list of versions, oldest first.
type versionList struct {
	Running  int               `json:"running"`
	Versions []history.Version `json:"versions"`
	Verified *int              `json:"verified,omitempty"` // with --verify: how many are right
	Damaged  []string          `json:"damaged,omitempty"`  // and what is wrong with the others
}

// historyCommand lists the versions that are kept.
func historyCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
		verify bool
	)
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the versions of the configuration, newest first",
		Long: `Lists the versions that are kept, newest first; * runs. With --verify each is read
and compared with its hash; those that are damaged or missing are named, and the
exit code is 1 if there are any.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := admin.client()
			if err != nil {
				return err
			}
			var list versionList
			path := "/v1/versions"
			if verify {
				path += "?verify=true"
			}
			if err := c.ask(cmd.Context(), question{method: http.MethodGet, path: path}, &list); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), list)
			} else {
				err = list.print(cmd.OutOrStdout())
			}
			if err == nil && len(list.Damaged) > 0 {
				err = silently(exitRefused)
			}
			return err
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&verify, "verify", false, "read each version and compare it with its hash")
	return cmd
}

// print renders the list, and what a verification has found.
func (l versionList) print(w io.Writer) error {
	err := l.table().print(w)
	if l.Verified == nil || err != nil {
		return err
	}
	for _, text := range l.Damaged {
		fmt.Fprintln(w, text)
	}
	_, err = fmt.Fprintf(w, "%s verified, %d damaged\n", plural(*l.Verified, "version"), len(l.Damaged))
	return err
}

// table renders the list; a star marks the version that runs.
func (l versionList) table() *table {
	t := &table{}
	t.row("VERSION", "TIME", "ORIGIN", "AUTHOR", "VERDICT", "GUARD", "SIZE", "NOTE")
	for i := len(l.Versions) - 1; i >= 0; i-- {
		v := l.Versions[i]
		number := strconv.Itoa(v.Number)
		if v.Number == l.Running {
			number += " *"
		}
		origin := v.Origin
		if v.RollbackOf > 0 {
			origin = fmt.Sprintf("%s of %d", v.Origin, v.RollbackOf)
		}
		guard := ""
		if v.Guard != nil {
			guard = v.Guard.Verdict
		}
		t.row(number, clock(v.Time), origin, v.Author, v.Verdict, guard, strconv.Itoa(v.Size), v.Note)
	}
	return t
}

// versionNumber reads a version number from the command line.
func versionNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a version number; want one of weir history", s)
	}
	return n, nil
}
