package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"strings"
	"time"

	"weir/internal/config"
)

// Bounds of talking to the admin API. A verdict may take a round of probes;
// anything else is answered at once.
const (
	connectTimeout = 3 * time.Second
	answerTimeout  = 90 * time.Second
	answerBytes    = 64 << 20
)

// client talks to the admin API of one running Weir.
type client struct {
	address string // host:port or unix:/path
	source  string // where the address comes from, for messages
	token   string // empty: none is sent
	http    *http.Client
}

// newClient makes a client for address. It does not connect yet.
func newClient(address, source, token string) *client {
	var d net.Dialer
	network, dial := "tcp", dialable(address)
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, dial = "unix", path
	}
	transport := &http.Transport{
		DisableKeepAlives: true, // one command, one or two questions
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, connectTimeout)
			defer cancel()
			conn, err := d.DialContext(ctx, network, dial)
			if err != nil {
				return nil, &unreachable{err}
			}
			return conn, nil
		},
	}
	return &client{address: address, source: source, token: token, http: &http.Client{Transport: transport, Timeout: answerTimeout}}
}

// dialable turns an address to listen on into one to connect to: a wildcard
// becomes this machine.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address // the dial says what is wrong with it
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// unreachable marks an error of connecting: nothing was said to anybody.
type unreachable struct{ error }

// Unwrap is what went wrong.
func (u *unreachable) Unwrap() error { return u.error }

// refusal is the admin API's "no": its problem details, as far as commands
// use them.
type refusal struct {
	Status         int             `json:"status"`
	Type           string          `json:"type"`
	Title          string          `json:"title"`
	Detail         string          `json:"detail"`
	Problems       config.Problems `json:"problems,omitempty"`
	Result         string          `json:"result,omitempty"`
	Held           int             `json:"held,omitempty"`
	CurrentVersion int             `json:"current_version,omitempty"`

	raw []byte // as it was sent, for --json
}

// Error is what the other side said, and for a token what to do about it.
func (r *refusal) Error() string {
	text := r.Detail
	if text == "" {
		text = strings.ToLower(r.Title)
	}
	if r.Status == http.StatusUnauthorized {
		text += "; give --token-file, $WEIR_TOKEN_FILE, or -c with the configuration that names it"
	}
	return text
}

// question is one request to the admin API.
type question struct {
	method, path string
	body         []byte
	header       map[string]string
}

// aboutFile is a question that a configuration goes with.
func aboutFile(method, path string, source []byte) question {
	return question{method: method, path: path, body: source, header: map[string]string{"Content-Type": "application/yaml"}}
}

// ask sends q and decodes the answer into out: a *[]byte gets it as it is,
// nil drops it. A refusal comes back as *refusal.
func (c *client) ask(ctx context.Context, q question, out any) error {
	req, err := http.NewRequestWithContext(ctx, q.method, "http://"+c.host()+q.path, bytes.NewReader(q.body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Weir-Author", userName())
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.Header.Get("Server"), "weir") {
		return c.absent(errors.New("what answers there is not Weir's admin API"))
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerBytes))
	if err != nil {
		return c.explain(err)
	}
	return decode(resp, raw, out)
}

// decode makes out, or an error, of an answer.
func decode(resp *http.Response, raw []byte, out any) error {
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
		r := &refusal{raw: raw, Status: resp.StatusCode, Title: resp.Status}
		if err := json.Unmarshal(raw, r); err != nil {
			return fmt.Errorf("read the answer %s: %w", resp.Status, err)
		}
		return r
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*out = raw
		return nil
	default:
		if err := json.Unmarshal(raw, out); err != nil {
			return fmt.Errorf("read the answer %s: %w", resp.Status, err)
		}
		return nil
	}
}

// host is the Host header: the admin API checks it.
func (c *client) host() string {
	if strings.HasPrefix(c.address, "unix:") {
		return "localhost"
	}
	return dialable(c.address)
}

// explain tells a Weir that is not there from one that did not answer.
func (c *client) explain(err error) error {
	var u *unreachable
	if errors.As(err, &u) {
		return c.absent(u.error)
	}
	return fmt.Errorf("ask the Weir at %s (%s): %w", c.address, c.source, err)
}

// absent says where we looked and what we found.
func (c *client) absent(why error) error {
	return &exitError{code: exitAbsent, err: fmt.Errorf("no Weir at %s (%s): %w", c.address, c.source, why)}
}

// userName is who sits here, for the history of the other side.
func userName() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}
