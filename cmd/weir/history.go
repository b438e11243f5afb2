package main

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"weir/internal/history"
)

// versionList is the admin API's list of versions, oldest first.
type versionList struct {
	Running  int               `json:"running"`
	Versions []history.Version `json:"versions"`
}

// historyCommand lists the versions that are kept.
func historyCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the versions of the configuration, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := admin.client()
			if err != nil {
				return err
			}
			var list versionList
			if err := c.ask(cmd.Context(), question{method: http.MethodGet, path: "/v1/versions"}, &list); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return list.table().print(cmd.OutOrStdout())
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
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
