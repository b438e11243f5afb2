// Package conformance tries messages on a proxy that no proxy should be fooled
// by: malformed, ambiguous and borderline requests of clients, and answers of
// backends of the same kinds. It owns the cases, a recording backend and the
// judgement, and reads every message with a strict reader of its own.
//
// It does not know Weir: Run asks any proxy at an address that passes requests
// on to an Origin. What the proxy must do besides is said at Target.
//
// The cases are in testdata. requests.json and responses.json came from
// elsewhere and are kept as they are; more-requests.json and
// more-responses.json are ours, in the same format; demands.json says for cases
// of all four what else the other side must see. A character of a text is one
// octet. In ours
//
//	@H@ @P@ @OPORT@  are the proxy's host, a path of the case's own, the origin's port
//	@x3(ab)@         is ababab
//	@PAUSE@          is a moment in which nothing is sent
//
// and an element of a script can be an act instead of text: @EARLY@ (first: do
// not wait for the request's body), @WAIT 50@ (milliseconds), @CLOSE@, @RESET@
// and @HANG@.
package conformance
