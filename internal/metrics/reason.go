package metrics

import "net/http"

// Reason says why Weir answered in a backend's place, or what a backend did
// wrong. The same words stand in the access log, in the metrics and in the
// header X-Weir-Reason.
type Reason uint8

// The reasons. 502: a backend was tried and misbehaved. 503: nobody was tried.
// 504: a timer fired.
const (
	NoReason          Reason = iota
	NoRoute                  // no route matches the request
	NoHealthy                // the pool has backends, none is fit to serve
	PoolEmpty                // the pool lists no backend, or none has an address yet
	AllFull                  // every backend is at its limit
	QueueFull                // and as many requests wait as may
	QueueTimeout             // none was free in time
	ConnectRefused           // the backend's address did not accept
	ConnectTimeout           // nor did it refuse, in time
	UpstreamReset            // the backend closed before its answer was complete
	UpstreamTimeout          // the backend was silent for too long
	BadResponse              // what the backend sent is not an HTTP answer
	RequestTimeout           // the whole request took longer than it may
	HeaderTooLarge           // the client's header is over the limit
	URITooLong               // so is its request line
	BodyTooLarge             // or its body
	BadRequest               // what the client sent is not an HTTP request
	ClientTimeout            // the client was silent in the middle of its request
	ClientClosed             // the client left before the answer: never an answer, only in the log
	RateLimited              // the client asked too often
	Denied                   // the client may not come in
	Unauthorized             // nor without a name and a password
	MethodNotAllowed         // the route does not take this method
	ExpectationFailed        // the client expects something that Weir does not know
	ShuttingDown             // Weir is about to leave
	CircuitOpen              // the route's circuit breaker is open
	Draining                 // the backend has left, and the time of its requests was over
	BadStatus                // a status of a backend that the route retries: a reason to try again, never an answer
	Hedged                   // another backend was quicker: an attempt that was given up, never an answer
	Stale                    // a kept connection turned out to be closed: a reason to try again, never an answer
	reasons
)

var reasonTable = [reasons]struct {
	text   string
	status int
}{
	NoReason:          {"", 0},
	NoRoute:           {"no_route", http.StatusNotFound},
	NoHealthy:         {"no_healthy", http.StatusServiceUnavailable},
	PoolEmpty:         {"pool_empty", http.StatusServiceUnavailable},
	AllFull:           {"all_full", http.StatusServiceUnavailable},
	QueueFull:         {"queue_full", http.StatusServiceUnavailable},
	QueueTimeout:      {"queue_timeout", http.StatusServiceUnavailable},
	ConnectRefused:    {"connect_refused", http.StatusBadGateway},
	ConnectTimeout:    {"connect_timeout", http.StatusGatewayTimeout},
	UpstreamReset:     {"upstream_reset", http.StatusBadGateway},
	UpstreamTimeout:   {"upstream_timeout", http.StatusGatewayTimeout},
	BadResponse:       {"bad_response", http.StatusBadGateway},
	RequestTimeout:    {"request_timeout", http.StatusGatewayTimeout},
	HeaderTooLarge:    {"header_too_large", http.StatusRequestHeaderFieldsTooLarge},
	URITooLong:        {"uri_too_long", http.StatusRequestURITooLong},
	BodyTooLarge:      {"body_too_large", http.StatusRequestEntityTooLarge},
	BadRequest:        {"bad_request", http.StatusBadRequest},
	ClientTimeout:     {"client_timeout", http.StatusRequestTimeout},
	ClientClosed:      {"client_closed", statusClientClosed},
	RateLimited:       {"rate_limited", http.StatusTooManyRequests},
	Denied:            {"denied", http.StatusForbidden},
	Unauthorized:      {"unauthorized", http.StatusUnauthorized},
	MethodNotAllowed:  {"method_not_allowed", http.StatusMethodNotAllowed},
	ExpectationFailed: {"expectation_failed", http.StatusExpectationFailed},
	ShuttingDown:      {"shutting_down", http.StatusServiceUnavailable},
	CircuitOpen:       {"circuit_open", http.StatusServiceUnavailable},
	Draining:          {"draining", http.StatusServiceUnavailable},
	BadStatus:         {"bad_status", http.StatusBadGateway},
	Hedged:            {"hedged", http.StatusBadGateway},
	Stale:             {"stale", http.StatusBadGateway},
}

// statusClientClosed is nginx's 499: the client went away. It is logged, never sent.
const statusClientClosed = 499

// String is the word for logs, labels and headers; empty for NoReason.
func (r Reason) String() string { return reasonTable[r].text }

// Status is the HTTP status that goes with the reason; 0 for NoReason.
func (r Reason) Status() int { return reasonTable[r].status }
