package conformance

import (
	"embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Case is one message, or a few, to try on a proxy.
type Case struct {
	ID       string   `json:"id"`
	Group    string   `json:"group"`
	Title    string   `json:"title"`
	Raw      string   `json:"raw"`      // what the client sends; of a response case: instead of a plain request
	Script   []string `json:"script"`   // what the origin answers; only response cases have one
	Method   string   `json:"method"`   // of a response case's plain request
	Expect   string   `json:"expect"`   // one of the words below
	Ref      string   `json:"ref"`      // where it is demanded
	Demand   string   `json:"demand"`   // what is demanded, in words
	Requests int      `json:"requests"` // how many requests Raw is at most

	more demand
}

// What Expect can be.
const (
	Reject     = "reject"     // nothing is forwarded; of an answer: 5xx, or it is visibly cut
	Reject400  = "reject400"  // the same, and the status is 400
	Fix        = "fix"        // rejected, or forwarded with nothing forbidden in it
	Should     = "should"     // ought to be rejected; forwarding it repaired is tolerable
	Accept     = "accept"     // legal: forwarded and answered
	Incomplete = "incomplete" // has no end: never a whole request at the origin
	Any        = "any"        // either is legal
	Pass       = "pass"       // of an answer: legal, relayed
)

// demand is what a case asks for beyond its Expect, if it is forwarded: of the
// request at the origin, or of the answer at the client.
type demand struct {
	ID     string              `json:"id"`
	Absent []string            `json:"absent"` // fields that must not arrive
	Never  map[string]string   `json:"never"`  // field: text that must not be in any of its lines
	Values map[string][]string `json:"values"` // field: its lines, in order; joined by a comma they are the same
	Target string              `json:"target"` // how the target must end
	Body   *string             `json:"body"`
	Status int                 `json:"status"` // of the final answer
	Once   bool                `json:"once"`   // the origin must not be asked twice
	Own    int                 `json:"own"`    // how many more requests, for what the proxy answers itself
	Cut    bool                `json:"cut"`    // the answer has no end: a whole one hides that
}

//go:embed testdata/*.json
var data embed.FS

// Requests are the cases in which a client sends something odd.
func Requests() []Case { return load("requests.json", "more-requests.json") }

// Responses are the cases in which the origin does.
func Responses() []Case {
	cases := load("responses.json", "more-responses.json")
	for i := range cases {
		if cases[i].Group == "" {
			cases[i].Group = "response"
		}
		cases[i].Requests = 1
	}
	return cases
}

// Demands are the cases of which more is asked than their Expect.
func Demands() (ids []string) {
	for _, d := range read[demand]("demands.json") {
		ids = append(ids, d.ID)
	}
	return ids
}

func load(names ...string) (cases []Case) {
	demands := make(map[string]demand)
	for _, d := range read[demand]("demands.json") {
		demands[d.ID] = d
	}
	for _, name := range names {
		cases = append(cases, read[Case](name)...)
	}
	for i := range cases {
		cases[i].more = demands[cases[i].ID]
	}
	return cases
}

// read cannot fail once a test has seen it work: the files are in the binary.
func read[T any](name string) (list []T) {
	text, err := data.ReadFile("testdata/" + name)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		panic(fmt.Sprintf("BUG: conformance: %s: %v", name, err))
	}
	return list
}

// isResponse says which side is odd.
func (c *Case) isResponse() bool { return len(c.Script) > 0 }

// Invalid says whether the RFCs call the message invalid, so that proxies can be
// ranked by what they do with it.
func (c *Case) Invalid() bool { return c.Expect != Accept && c.Expect != Any && c.Expect != Pass }

// request is what the client sends, before filling.
func (c *Case) request() string {
	switch {
	case c.Raw != "":
		return c.Raw
	case strings.HasPrefix(c.Script[0], "HTTP/1.1 101"):
		return c.Method + " @P@ HTTP/1.1\r\nHost: @H@\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	case c.Method == "POST":
		return "POST @P@ HTTP/1.1\r\nHost: @H@\r\nContent-Length: 5\r\n\r\nhello"
	}
	return c.Method + " @P@ HTTP/1.1\r\nHost: @H@\r\n\r\n"
}

// repetition is the innermost @x3(ab)@ of a text.
var repetition = regexp.MustCompile(`@x(\d+)\(([^@]*)\)@`)

// expand writes repetitions out, inner ones first, and makes every character
// the octet that it stands for.
func expand(text string) string {
	for repetition.MatchString(text) {
		text = repetition.ReplaceAllStringFunc(text, func(m string) string {
			parts := repetition.FindStringSubmatch(m)
			n, _ := strconv.Atoi(parts[1]) // the expression saw digits
			return strings.Repeat(parts[2], n)
		})
	}
	octets := make([]byte, 0, len(text))
	for _, r := range text {
		octets = append(octets, byte(r))
	}
	return string(octets)
}
