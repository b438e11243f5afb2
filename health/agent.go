package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

const maxReport = 4 << 10 // bytes of an agent's answer

// Agent is the Check that asks a program beside the backend how it does, and is
// content with any answer that ParseReport understands and that does not say
// down. Over TCP the answer is one line, and the agent may close after it; with a
// Path it is the body of an HTTP answer with status 200.
type Agent struct {
	Port  int    // where it listens; 0: the backend's own port
	Send  []byte // sent first, for agents that serve many backends. Not over HTTP
	Path  string // asked by HTTP GET; "": by TCP
	Hello []byte // sent to the backend's own port: it may want a PROXY header
}

// Probe asks the agent of addr.
func (c Agent) Probe(ctx context.Context, addr string) error {
	r, err := c.Report(ctx, addr)
	if err != nil {
		return err
	}
	return r.Err()
}

// Report asks the agent of addr and returns its answer.
func (c Agent) Report(ctx context.Context, addr string) (Report, error) {
	ask := c.line
	if c.Path != "" {
		ask = c.get
	}
	answer, err := ask(ctx, addr)
	if err != nil {
		return silent, fmt.Errorf("agent: %w", err)
	}
	return ParseReport(answer)
}

// line asks over TCP. A line counts when its end has come: half of maxconn:30
// is a number too.
func (c Agent) line(ctx context.Context, addr string) (string, error) {
	conn, err := dialHello(ctx, withPort(addr, c.Port), c.Port, c.Hello)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer untilDone(ctx, conn)()
	if _, err := conn.Write(c.Send); err != nil {
		return "", fmt.Errorf("send: %w", cause(ctx, err))
	}
	said, found, err := readUntil(conn, maxReport, func(said []byte, fresh int) bool {
		return bytes.ContainsAny(said[fresh:], "\r\n")
	})
	if err != nil {
		return "", fmt.Errorf("answer %.64q: %w", said, cause(ctx, err))
	}
	if !found {
		return "", fmt.Errorf("answer %.64q is no whole line", said)
	}
	return string(said), nil
}

// get asks over HTTP.
func (c Agent) get(ctx context.Context, addr string) (string, error) {
	res, err := HTTP{Path: c.Path, Port: c.Port, Hello: c.Hello}.exchange(ctx, addr)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d, want 200", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxReport+1))
	if err != nil {
		return "", fmt.Errorf("read body: %w", err)
	}
	if len(body) > maxReport {
		return "", errors.New("answer of more than 4 KiB")
	}
	return string(body), nil
}

// Advised is a Check with an agent beside it. Down is what either says; but an
// agent that is not there, or talks nonsense, is no failure of the backend.
type Advised struct {
	Check Check
	Agent Agent
}

// Probe asks the Check, and if it passes the agent.
func (c Advised) Probe(ctx context.Context, addr string) error {
	r, err := c.Report(ctx, addr)
	if err != nil {
		return err
	}
	return r.Err()
}

// Report does what Probe does. Its error is that of the Check.
func (c Advised) Report(ctx context.Context, addr string) (Report, error) {
	if err := c.Check.Probe(ctx, addr); err != nil {
		return silent, err
	}
	r, err := c.Agent.Report(ctx, addr)
	if err != nil {
		return silent, nil
	}
	return r, nil
}
