package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"weir/internal/config"
	"weir/internal/control"
)

// planCommand says what a configuration would change.
func planCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say what applying a configuration would change, and change nothing",
		Long: `Sends FILE (- is standard input) to the running Weir, which says what it would
change, whom that would touch at this moment, and what stands in its way: names
that do not resolve, addresses that cannot be bound, files that cannot be read.
Nothing is changed.

Exit code 0: there is nothing to do. 2: there are changes. 1: it could not be
applied, for the reasons printed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := readSource(cmd, args[0])
			if err != nil {
				return err
			}
			c, err := admin.client()
			if err != nil {
				return err
			}
			var p control.Preview
			if err := c.ask(cmd.Context(), aboutFile(http.MethodPost, "/v1/config/plan", source), &p); err != nil {
				return err
			}
			nameFile(&p, displayName(args[0]))
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), p)
			} else {
				err = printPlan(cmd.OutOrStdout(), p)
			}
			if err != nil {
				return err
			}
			return planCode(p)
		},
	}
	admin.bind(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// nameFile gives what was found the name of the file: the other side knows the
// bytes alone.
func nameFile(p *control.Preview, name string) {
	for i := range p.Problems {
		p.Problems[i].File = name
	}
	for i := range p.Warnings {
		p.Warnings[i].File = name
	}
}

// planCode is the exit code of a plan.
func planCode(p control.Preview) error {
	switch {
	case p.Blocked():
		return silently(exitRefused)
	case len(p.Changes) > 0:
		return silently(exitDifferent)
	}
	return nil
}

// printPlan prints one line a change with whom it touches, then what there is to
// know, then a sum.
func printPlan(w io.Writer, p control.Preview) error {
	if len(p.Problems) > 0 {
		fmt.Fprintln(w, p.Problems.Error())
		_, err := fmt.Fprintf(w, "%s: it cannot be applied; nothing has been changed\n", plural(len(p.Problems), "problem"))
		return err
	}
	for _, ch := range p.Changes {
		line := ch.Line
		if ch.Impact != nil {
			line += "; " + ch.Impact.String()
		}
		fmt.Fprintln(w, line)
	}
	var shown []config.Finding
	errors, warnings, old := 0, 0, 0
	for _, f := range p.Warnings {
		switch {
		case f.Running:
			old++
			continue
		case f.Severity == "error":
			errors++
		default:
			warnings++
		}
		shown = append(shown, f.Finding)
	}
	printWarnings(w, shown)
	_, err := fmt.Fprintln(w, planSum(p, errors, warnings, old))
	return err
}

// planSum is the last line: "2 changes, 1 warning; nothing has been changed".
func planSum(p control.Preview, errors, warnings, old int) string {
	text := plural(len(p.Changes), "change")
	switch {
	case p.Same:
		text = fmt.Sprintf("nothing to change: version %d runs", p.Version)
	case len(p.Changes) == 0:
		text = fmt.Sprintf("nothing to change: it means the same as version %d, only the text differs", p.Version)
	}
	if errors > 0 {
		text += ", " + plural(errors, "error")
	}
	if warnings > 0 {
		text += ", " + plural(warnings, "warning")
	}
	if errors > 0 {
		text += ": it cannot be applied"
	}
	if len(p.Changes) > 0 || errors > 0 {
		text += "; nothing has been changed"
	}
	if old > 0 {
		text += fmt.Sprintf(" (%s that version %d has as well: weir check)", plural(old, "warning"), p.Version)
	}
	return text
}
