// Package proxy is the data plane: it accepts, routes, forwards and answers.
//
// A request is a short story told by one [exchange] on one coroutine of one
// event loop: serve → route → outbound → forward → reply → observe. The files
// carry the names of these steps. docs/life-of-a-request.md walks through it.
//
// The package owns listeners, client and upstream connections and the compiled
// snapshot of a configuration. It does not know where configurations come from
// (internal/control), how backends are chosen (pool) or why one is down (health).
//
// fasthttp's server reads the requests and owns the life of a client's
// connection; it never writes to it. Every byte that goes to a client is
// written by this package, straight from the backend's own header lines, so
// that order, case and repetition survive (docs/decisions/0004-answers-past-fasthttp.md).
package proxy
