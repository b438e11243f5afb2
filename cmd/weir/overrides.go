package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/control"
	"weir/pool"
)

// lasting is the flags of what an operator says of a backend.
type lasting struct {
	last time.Duration
	why  string
}

func (l *lasting) bind(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&l.last, "for", 0, "undo it by itself after `TIME`")
	cmd.Flags().StringVar(&l.why, "why", "", "the reason, for weir status")
}

// into adds them to a body for the admin API.
func (l *lasting) into(body map[string]any) {
	if l.last != 0 {
		body["for"] = l.last.String()
	}
	if l.why != "" {
		body["why"] = l.why
	}
}

// weightCommand gives a backend another weight than the configured one.
func weightCommand() *cobra.Command {
	var (
		q    statusQuery
		last lasting
	)
	cmd := &cobra.Command{
		Use:   "weight POOL/BACKEND N|configured",
		Short: "Give a backend another weight while Weir runs",
		Long: `The backend counts with weight N, 0 for none of the traffic, instead of what the
configuration says, through changes and restarts, until weir weight POOL/BACKEND
configured or the end of --for.`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: q.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			weight := pool.Configured
			if args[1] != "configured" {
				n, err := strconv.Atoi(args[1])
				if err != nil || n < 0 {
					return fmt.Errorf("%q is not a weight; want 0 to 65535, or configured", args[1])
				}
				weight = n
			}
			path, err := backendPath(args[0])
			if err != nil {
				return err
			}
			ask := map[string]any{"weight": weight}
			last.into(ask)
			body, err := json.Marshal(ask)
			if err != nil {
				return err
			}
			c, err := q.admin.client()
			if err != nil {
				return err
			}
			var b pool.BackendStatus
			if err := c.ask(cmd.Context(), question{method: http.MethodPut, path: path, body: body}, &b); err != nil {
				return err
			}
			if q.json {
				return printJSON(cmd.OutOrStdout(), b)
			}
			text := fmt.Sprintf("weight %d, as configured", b.Weight)
			if b.WeightOverride != nil {
				text = fmt.Sprintf("weight %d (configured %d)", *b.WeightOverride, b.Weight)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, effective %d\n", args[0], text, b.EffectiveWeight)
			return err
		},
	}
	q.admin.bind(cmd)
	cmd.Flags().BoolVar(&q.json, "json", false, "print JSON")
	last.bind(cmd)
	return cmd
}

// overridesCommand lists what operators have said of backends.
func overridesCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "overrides",
		Short: "List, export or lift what was said of backends while Weir ran",
		Long: `Lists what weir drain, maintain and weight have said, by whom, since and until
when. It counts instead of the configuration and is no part of it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := admin.client()
			if err != nil {
				return err
			}
			var list struct {
				Overrides []control.Override `json:"overrides"`
			}
			if err := c.ask(cmd.Context(), question{method: http.MethodGet, path: "/v1/overrides"}, &list); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return overrideTable(list.Overrides).print(cmd.OutOrStdout())
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(exportCommand(), clearCommand())
	return cmd
}

// overrideTable renders overrides, one line each.
func overrideTable(list []control.Override) *table {
	t := &table{}
	t.row("OVERRIDE", "WHAT", "BY", "SINCE", "UNTIL", "WHY")
	for _, o := range list {
		why := o.Why
		if !o.Absent.IsZero() {
			why = strings.TrimSpace("rests: not configured since " + clock(o.Absent) + " " + why)
		}
		what := o.Value
		if o.What != control.OverrideAdmin {
			what = o.What + " " + o.Value
		}
		t.row(o.Pool+"/"+o.Backend, what, o.By, clock(o.Since), clock(o.Until), why)
	}
	return t
}

// printOverrides is their part of weir status; nothing where there are none.
func printOverrides(w io.Writer, list []control.Override) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return overrideTable(list).print(w)
}

// exportCommand makes overrides permanent.
func exportCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the configuration that runs with the overrides written into it",
		Long: `Prints the text that runs with the weights changed in place, and a weight of 0 for
backends that are drained or in maintenance; comments, order and layout stay. So
they become permanent:

  weir overrides export > new.yaml && weir apply new.yaml && weir overrides clear

Exit code 1: one cannot be written, because an alias or a merge stands for more
than that backend; which and where is said, and the rest is printed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := admin.client()
			if err != nil {
				return err
			}
			var e control.Export
			if err := askAbout(cmd, c, question{method: http.MethodGet, path: "/v1/overrides/export"}, &e, ""); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), e)
			} else {
				_, err = io.WriteString(cmd.OutOrStdout(), e.Source)
			}
			if err != nil || len(e.Left) == 0 {
				return err
			}
			for _, text := range e.Left {
				fmt.Fprintln(cmd.ErrOrStderr(), "weir: not written:", text)
			}
			return silently(exitRefused)
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// clearCommand lifts overrides.
func clearCommand() *cobra.Command {
	var q statusQuery
	cmd := &cobra.Command{
		Use:               "clear [POOL/BACKEND]",
		Short:             "Lift the overrides of a backend, or all: the configuration counts again",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: q.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/v1/overrides"
			if len(args) == 1 {
				if _, err := backendPath(args[0]); err != nil {
					return err
				}
				name, address, _ := strings.Cut(args[0], "/")
				path += "?" + url.Values{"pool": {name}, "backend": {address}}.Encode()
			}
			c, err := q.admin.client()
			if err != nil {
				return err
			}
			var done struct {
				Lifted int `json:"lifted"`
			}
			if err := c.ask(cmd.Context(), question{method: http.MethodDelete, path: path}, &done); err != nil {
				return err
			}
			if q.json {
				return printJSON(cmd.OutOrStdout(), done)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s lifted\n", plural(done.Lifted, "override"))
			return err
		},
	}
	q.admin.bind(cmd)
	cmd.Flags().BoolVar(&q.json, "json", false, "print JSON")
	return cmd
}
