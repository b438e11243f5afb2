package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// finding is one kind of fault and the sentence for it; no sentence, no fault.
type finding struct {
	kind Kind
	why  string
}

// judge weighs what happened, the worst first.
func (x *trial) judge() Verdict {
	v := Verdict{Kind: OK, Outcome: x.outcome()}
	for _, f := range []finding{
		{Desync, x.poisoned},
		{Desync, x.surplus()},
		{Desync, x.openTooLong()},
		{Malformed, x.malformed()},
		{Malformed, x.trespass()},
		x.expected(),
		{Wrong, x.changed()},
	} {
		if f.why != "" {
			v.Kind, v.Why = f.kind, f.why
			break
		}
	}
	if v.Kind == Desync {
		v.Outcome = Confused
	}
	return v
}

// outcome is what the proxy did, apart from confusion.
func (x *trial) outcome() Outcome {
	passed := len(x.whole()) > 0
	if x.c.isResponse() {
		a := x.final()
		passed = a != nil && a.Whole && !x.isOwn(a)
	}
	switch {
	case x.malformed() != "" || x.trespass() != "":
		return Relayed
	case passed:
		return Repaired
	}
	return Refused
}

// whole are the requests that arrived to their end.
func (x *trial) whole() []Request {
	return slices.DeleteFunc(slices.Clone(x.requests), func(r Request) bool { return !r.Whole })
}

// final is the first final answer.
func (x *trial) final() *Answer {
	if len(x.answers) == 0 {
		return nil
	}
	return x.answers[0]
}

// surplus finds more requests at the origin than the client sent, and answers
// in another order than the requests'.
func (x *trial) surplus() string {
	most := x.c.Requests
	if x.c.isResponse() {
		if most = 2; x.c.more.Once {
			most = 1 // what may have been done is not asked for again
		}
	}
	if len(x.requests) > most {
		var list []string
		for _, r := range x.requests {
			list = append(list, fmt.Sprintf("%s %.60s", r.Method, r.Target))
		}
		return fmt.Sprintf("%d requests at the origin, %d were sent: %s", len(x.requests), most, strings.Join(list, ", "))
	}
	for i, a := range x.answers {
		if i < len(x.requests) && a.Asked != "" && x.requests[i].Target != "" && a.Asked != x.name(i) {
			return fmt.Sprintf("answer %d is that to %.60s, not to %.60s", i+1, a.Asked, x.name(i))
		}
	}
	return ""
}

// name is what the i-th request is called in its answer.
func (x *trial) name(i int) string { return askedName(x.requests[i].Method, x.requests[i].Target) }

// openTooLong finds a connection that goes on although what comes next on it
// may be anything.
func (x *trial) openTooLong() string {
	a := x.final()
	switch {
	case a == nil || x.closed:
		return ""
	case x.isRefusal(x.answers[len(x.answers)-1]) && x.invalid():
		return fmt.Sprintf("the connection stays open after a %d", x.answers[len(x.answers)-1].Status)
	case x.mustClose() == "framing":
		return "the connection stays open after Transfer-Encoding with Content-Length, or in HTTP/1.0"
	}
	return ""
}

// invalid says whether a refusal means that the message was faulty, so that its
// end cannot be known.
func (x *trial) invalid() bool {
	return !x.c.isResponse() && x.c.Expect != Any && x.c.Expect != Accept
}

// mustClose says why the connection must end after the first answer, whatever
// that is: RFC 9112, sections 6.1 and 9.6.
func (x *trial) mustClose() string {
	if x.c.isResponse() || x.c.Requests > 1 {
		return ""
	}
	head, _, _ := strings.Cut(strings.ReplaceAll(x.sent, "\r\n", "\n"), "\n\n")
	first, rest, _ := strings.Cut(head, "\n")
	fields := looseFields(rest)
	old := strings.HasSuffix(first, "HTTP/1.0")
	coded := len(values(fields, "Transfer-Encoding")) > 0
	switch {
	case coded && (old || len(values(fields, "Content-Length")) > 0):
		return "framing"
	case has(fields, "Connection", "close"), old && !has(fields, "Connection", "keep-alive"):
		return "close"
	}
	return ""
}

// looseFields reads the lines of a head that may be anything.
func looseFields(text string) (fields []Field) {
	for line := range strings.SplitSeq(text, "\n") {
		if name, value, found := strings.Cut(line, ":"); found {
			fields = append(fields, Field{name, strings.Trim(value, " \t")})
		}
	}
	return fields
}

// malformed finds what is forbidden in what either side got.
func (x *trial) malformed() string {
	for _, r := range x.requests {
		if len(r.Wrong) > 0 {
			return "at the origin: " + strings.Join(r.Wrong, "; ")
		}
	}
	if strings.HasPrefix(x.sent, "PRI * HTTP/2") {
		return "" // whoever answers that speaks something else
	}
	wrong := slices.Clone(x.wrong)
	for _, a := range x.answers {
		wrong = append(wrong, a.Wrong...)
		if len(a.Interim) > 0 && strings.Contains(x.sent, " HTTP/1.0\r\n") {
			wrong = append(wrong, "an interim answer for HTTP/1.0")
		}
	}
	if len(wrong) > 0 {
		return "at the client: " + strings.Join(wrong, "; ")
	}
	return ""
}

// trespass finds fields of the client's that must not come as they are: those
// that Connection names, and an X-Forwarded-For that does not end in the
// client's address, which also shows octets that no proxy has looked at.
func (x *trial) trespass() string {
	if x.c.isResponse() {
		if a := x.final(); a != nil && !x.isOwn(a) {
			return x.forbidden(a.Fields)
		}
		return ""
	}
	for _, r := range x.requests {
		if len(r.Wrong) == 0 && !endsIn(items(r.Fields, "X-Forwarded-For"), x.client) {
			return fmt.Sprintf("X-Forwarded-For of %.60q is %q", r.Target, values(r.Fields, "X-Forwarded-For"))
		}
		if why := x.forbidden(r.Fields); why != "" {
			return why
		}
	}
	return ""
}

func endsIn(list []string, last string) bool { return len(list) > 0 && list[len(list)-1] == last }

// forbidden holds fields against the case's own demands.
func (x *trial) forbidden(fields []Field) string {
	for _, name := range x.c.more.Absent {
		if list := values(fields, name); len(list) > 0 {
			return fmt.Sprintf("%s: %.60q was passed on", name, list)
		}
	}
	for name, text := range x.c.more.Never {
		for _, v := range values(fields, name) {
			if strings.Contains(v, text) {
				return fmt.Sprintf("%s: %.60q was passed on", name, v)
			}
		}
	}
	return ""
}

// isOwn says whether the proxy made an answer itself.
func (x *trial) isOwn(a *Answer) bool { return a.Status >= 500 && a.Status != x.c.more.Status }

// expected holds the outcome against the case's Expect.
func (x *trial) expected() finding {
	if x.c.isResponse() {
		return x.expectedAnswer()
	}
	passed, a := len(x.whole()), x.final()
	undecided := a == nil && !x.closed
	switch x.c.Expect {
	case Incomplete:
		if passed > 0 {
			return finding{Desync, "a whole request arrived at the origin, though the client sent none"}
		}
		return finding{}
	case Reject, Reject400:
		if passed > 0 {
			return finding{Lax, fmt.Sprintf("%d forwarded", passed)}
		}
	case Accept:
		return x.accepted(passed)
	}
	switch {
	case undecided:
		return finding{Slow, fmt.Sprintf("neither an answer nor the end of the connection after %v", patience)}
	case x.c.Expect == Reject400 && a != nil && a.Status != 400:
		return finding{Wrong, fmt.Sprintf("status %d instead of 400", a.Status)}
	case passed == 0 && a != nil && a.Status < 400 && x.c.Expect != Any:
		return finding{Wrong, fmt.Sprintf("status %d for what was not forwarded", a.Status)}
	}
	return finding{}
}

// accepted checks that a legal message went there and back.
func (x *trial) accepted(passed int) finding {
	a := x.final()
	switch {
	case a != nil && a.Asked == "":
		return finding{Wrong, fmt.Sprintf("a legal message is answered by %d %.80q", a.Status, a.Body)}
	case a == nil && x.closed:
		return finding{Wrong, "the connection ends instead of an answer"}
	case passed < x.c.Requests || len(x.answers) < x.c.Requests:
		kind := Slow
		if x.closed || x.isRefusal(x.answers[len(x.answers)-1]) {
			kind = Wrong
		}
		return finding{kind, fmt.Sprintf("of %d requests %d arrived and %d were answered", x.c.Requests, passed, len(x.answers))}
	case x.mustClose() != "" && !x.closed:
		return finding{Wrong, "the connection stays open"}
	case !a.Whole:
		return finding{Wrong, "the answer is cut"}
	}
	return finding{}
}

// expectedAnswer does the same for what the origin answered.
func (x *trial) expectedAnswer() finding {
	a := x.final()
	if (a == nil || !a.Whole) && !x.closed {
		return finding{Slow, fmt.Sprintf("no end of the answer after %v", patience)}
	}
	whole := a != nil && a.Whole && !x.isOwn(a)
	switch {
	case x.c.Expect == Pass && !whole:
		if a == nil {
			return finding{Wrong, "the connection ends instead of an answer"}
		}
		return finding{Wrong, fmt.Sprintf("a legal answer arrives as %d, whole: %v", a.Status, a.Whole)}
	case whole && x.c.more.Cut:
		return finding{Desync, fmt.Sprintf("the cut is hidden: a whole %d with %d octets", a.Status, len(a.Body))}
	case x.c.Expect == Reject && whole:
		return finding{Lax, fmt.Sprintf("arrives as a whole %d", a.Status)}
	}
	return finding{}
}

// changed finds what is no longer what was sent.
func (x *trial) changed() string {
	fields, body := []Field(nil), []byte(nil)
	switch a := x.final(); {
	case x.c.isResponse():
		if a == nil || x.isOwn(a) || !a.Whole {
			return ""
		}
		if want := x.c.more.Status; want != 0 && a.Status != want {
			return fmt.Sprintf("status %d, want %d", a.Status, want)
		}
		fields, body = a.Fields, a.Body
	case len(x.whole()) == 0:
		return ""
	default:
		r := x.whole()[0]
		if !strings.HasSuffix(r.Target, x.c.more.Target) {
			return fmt.Sprintf("target %.80q, want %q at its end", r.Target, x.c.more.Target)
		}
		fields, body = r.Fields, r.Body
	}
	for name, want := range x.c.more.Values {
		if got := values(fields, name); strings.Join(got, ", ") != expand(strings.Join(want, ", ")) {
			return fmt.Sprintf("%s: %q, want %q", name, got, want)
		}
	}
	if want := x.c.more.Body; want != nil && string(body) != expand(*want) {
		return fmt.Sprintf("body %.60q, want %.60q", body, expand(*want))
	}
	return ""
}
