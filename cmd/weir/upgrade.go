package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/admin"
)

// upgradeCommand replaces the running process.
func upgradeCommand() *cobra.Command {
	var (
		flags  adminFlags
		o      admin.UpgradeOptions
		wait   bool
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Replace the running Weir by the program that is on disk now",
		Long: `Starts the file that the running Weir was started from, which you have replaced
before, with the same arguments. The new process takes over the listening
sockets and the idle connections; the old one finishes what it has. No
connection is refused or reset.

If the new process does not serve within --ready-timeout, nothing has changed
and the exit code is 1. If it dies within --probation, the old one serves again;
--wait waits for the end of that. A Weir that is told to leave is not missed.

SIGUSR2 does the same with the defaults. What is executed cannot be chosen here:
whoever may use the admin API must not be able to run programs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.client()
			if err != nil {
				return err
			}
			q := url.Values{"ready_timeout": {o.ReadyTimeout.String()}, "probation": {o.Probation.String()}}
			if wait {
				q.Set("wait", "true")
			}
			c.http.Timeout = 0 // the other side bounds it
			return followUpgrade(cmd.Context(), c, q, cmd.OutOrStdout(), asJSON)
		},
	}
	flags.bind(cmd)
	cmd.Flags().DurationVar(&o.ReadyTimeout, "ready-timeout", admin.DefaultReadyTimeout, "how long the new process may take to serve")
	cmd.Flags().DurationVar(&o.Probation, "probation", admin.DefaultProbation, "how long the old process stays to come back if the new one dies")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the end of the probation")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each step as a line of JSON")
	return cmd
}

// followUpgrade begins the upgrade and prints its steps. The last one decides
// about the exit code.
func followUpgrade(ctx context.Context, c *client, q url.Values, out io.Writer, asJSON bool) error {
	body, err := c.open(ctx, question{method: http.MethodPost, path: "/v1/upgrade?" + q.Encode()})
	if err != nil {
		return err
	}
	defer body.Close()
	last := admin.UpgradeStep{}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if asJSON {
			_, err = fmt.Fprintln(out, lines.Text())
		} else {
			_, err = fmt.Fprintln(out, upgradeLine(last))
		}
		if err != nil {
			return err
		}
	}
	switch {
	case last.Step == admin.UpgradeFailed, last.Step == admin.UpgradeRolledBack:
		return silently(exitRefused)
	case last.Step == admin.UpgradeReady && q.Get("wait") == "", last.Step == admin.UpgradeDone:
		return nil
	}
	return errors.Join(errors.New("the old process ended before the verdict; weir status tells what runs"), lines.Err())
}

// upgradeLine is a step for people.
func upgradeLine(s admin.UpgradeStep) string {
	took := (time.Duration(s.TookMS) * time.Millisecond).String()
	switch s.Step {
	case admin.UpgradeStarting:
		return fmt.Sprintf("%s starts as process %d", s.Program, s.PID)
	case admin.UpgradeReady:
		return fmt.Sprintf("process %d (%s) serves, after %s; the old one comes back if it dies before %s",
			s.PID, s.Build, took, s.Probation.Local().Format(time.TimeOnly))
	case admin.UpgradeDone:
		return fmt.Sprintf("the upgrade is done, after %s", took)
	case admin.UpgradeFailed:
		return "FAILED: " + s.Message
	case admin.UpgradeRolledBack:
		return "ROLLED BACK: " + s.Message
	}
	return s.Step + " " + s.Message
}

// open sends q and returns the answer's body as it comes, for the caller to
// close. A refusal comes back as *refusal.
func (c *client) open(ctx context.Context, q question) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, "http://"+c.host()+q.path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Weir-Author", userName())
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	switch {
	case !strings.HasPrefix(resp.Header.Get("Server"), "weir"):
		err = c.absent(errors.New("what answers there is not Weir's admin API"))
	case resp.StatusCode != http.StatusOK:
		raw, _ := io.ReadAll(io.LimitReader(resp.Body, answerBytes))
		if err = decode(resp, raw, nil); err == nil {
			err = fmt.Errorf("the answer is %s", resp.Status)
		}
	default:
		return resp.Body, nil
	}
	_ = resp.Body.Close()
	return nil, err
}
