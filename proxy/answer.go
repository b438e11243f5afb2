package proxy

import (
	"bytes"
	"net/http"
	"time"

	"weir/internal/metrics"
)

// An answer that Weir makes itself has a reason: in the access log, in
// weir_errors_total and in X-Weir-Reason. Its body is one sentence, as text or
// JSON, and names no address.

// sentences explain a reason to whoever sent the request.
var sentences = map[metrics.Reason]string{
	metrics.NoRoute:           "nothing here serves this host and path",
	metrics.NoHealthy:         "no backend of this service is healthy",
	metrics.PoolEmpty:         "this service has no backends",
	metrics.AllFull:           "every backend of this service is busy",
	metrics.QueueFull:         "every backend of this service is busy, and so is the queue",
	metrics.QueueTimeout:      "no backend of this service was free in time",
	metrics.ConnectRefused:    "the backend refused the connection",
	metrics.ConnectTimeout:    "the backend did not accept the connection in time",
	metrics.UpstreamReset:     "the backend closed the connection before it answered",
	metrics.UpstreamTimeout:   "the backend did not answer in time",
	metrics.BadResponse:       "the backend sent something that is not an HTTP answer",
	metrics.RequestTimeout:    "the request took longer than it may",
	metrics.HeaderTooLarge:    "the header of the request is too large",
	metrics.URITooLong:        "the request line is too long",
	metrics.BodyTooLarge:      "the body of the request is too large",
	metrics.BadRequest:        "this is not a well-formed HTTP/1.1 request",
	metrics.ClientTimeout:     "the request did not arrive in time",
	metrics.RateLimited:       "too many requests or connections from this client",
	metrics.Denied:            "this client may not come in",
	metrics.Unauthorized:      "this needs a name and a password",
	metrics.MethodNotAllowed:  "this method is not served here",
	metrics.ExpectationFailed: "this expectation is not known here",
	metrics.ShuttingDown:      "the proxy is shutting down",
	metrics.CircuitOpen:       "this service is given a rest, for it has been answering with errors",
	metrics.Draining:          "the backend was taken out of service before it answered",
}

// refuseFor refuses with a detail, and returns false.
func (ex *exchange) refuseFor(reason metrics.Reason, detail string) bool {
	ex.detail = detail
	ex.refuse(reason)
	return false
}

// refuse answers with a reason instead of an answer from a backend.
func (ex *exchange) refuse(reason metrics.Reason) {
	ex.reason = reason
	if reason == metrics.ClientClosed {
		ex.status = reason.Status()
		ex.closing = true
		ex.broken = true
		return
	}
	if closesAfter(reason) {
		ex.closing = true
	}
	sentence := sentences[reason]
	if ex.detail != "" && reason.Status() < 500 { // what a backend did wrong is for the log
		sentence = ex.detail
	}
	contentType, body := "text/plain; charset=utf-8", ex.w.scratch[:0]
	if ex.wantsJSON() {
		contentType = "application/json"
		body = append(append(body, `{"reason":"`...), reason.String()...)
		body = append(append(body, `","message":"`...), sentence...)
		body = append(body, "\"}\n"...)
	} else {
		body = append(append(append(body, reason.String()...), ": "...), sentence...)
		body = append(body, '\n')
	}
	ex.w.scratch = body
	ex.say(reason.Status(), contentType, nil, body)
}

// closesAfter lists the reasons after which the client's bytes are no longer
// known to begin with a request.
func closesAfter(r metrics.Reason) bool {
	switch r {
	case metrics.BadRequest, metrics.HeaderTooLarge, metrics.URITooLong, metrics.ClientTimeout,
		metrics.BodyTooLarge, metrics.ExpectationFailed:
		return true
	}
	return false
}

// wantsJSON reads the Accept header no more closely than a one-line body needs.
func (ex *exchange) wantsJSON() bool {
	accept, ok := ex.head.Get("Accept", 0)
	return ok && bytes.Contains(accept, []byte("application/json")) && !bytes.Contains(accept, []byte("text/html"))
}

// say sends an answer of Weir's own. extra is header lines, or nil.
func (ex *exchange) say(status int, contentType string, extra, body []byte) {
	ex.status = status
	if status == http.StatusNoContent || status == http.StatusNotModified {
		contentType, body = "", nil
	}
	out := ex.appendOwnHead(appendStatusLine(ex.out[:0], status), contentType, int64(len(body)))
	out = append(out, extra...)
	if ex.site != nil {
		out = append(out, ex.site.response.lines...)
	}
	ex.settle()
	out = append(ex.appendConnection(out), crlf...)
	if !ex.isHead {
		out = append(out, body...)
		ex.bytesOut += int64(len(body))
	}
	ex.out = out
	if ex.sent || ex.cc.send(out, clientWriteIdle, time.Time{}, &ex.pace) != nil {
		ex.clientLeft()
	}
}

// appendOwnHead writes the header lines of Weir's own answers, but for those on
// which the operator's rules have another word. No contentType: no body.
func (ex *exchange) appendOwnHead(dst []byte, contentType string, length int64) []byte {
	var rules *headerRules
	if ex.site != nil {
		rules = &ex.site.response
	}
	if rules.leaves("date") {
		dst = append(append(append(dst, "Date: "...), ex.w.date()...), crlf...)
	}
	if contentType != "" && rules.leaves("content-type") {
		dst = append(append(append(dst, "Content-Type: "...), contentType...), crlf...)
	}
	if contentType != "" {
		dst = append(appendInt(append(dst, "Content-Length: "...), length), crlf...)
	}
	if ex.reason != metrics.NoReason && rules.leaves("x-weir-reason") {
		dst = append(append(append(dst, "X-Weir-Reason: "...), ex.reason.String()...), crlf...)
	}
	if (ex.status == http.StatusServiceUnavailable || ex.status == http.StatusTooManyRequests) && rules.leaves("retry-after") {
		dst = append(appendInt(append(dst, "Retry-After: "...), max(1, ex.retryAfter)), crlf...)
	}
	if ex.status == http.StatusUnauthorized && ex.site != nil {
		dst = append(dst, ex.site.challenge...)
	}
	if ex.reason == metrics.MethodNotAllowed {
		dst = append(dst, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"...)
	}
	return append(dst, ex.quota...)
}

// appendConnection says whether the connection goes on, where that is not
// implied by the client's version.
func (ex *exchange) appendConnection(dst []byte) []byte {
	switch {
	case ex.closing:
		return append(dst, "Connection: close\r\n"...)
	case ex.http10:
		return append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}

func (ex *exchange) serveRedirect(r *redirect) {
	ex.extra = ex.extra[:0]
	if ex.site.response.leaves("location") {
		ex.extra = append(ex.extra, "Location: "...)
		ex.extra = append(r.location(ex.extra, ex), crlf...)
	}
	ex.say(r.status, "text/plain; charset=utf-8", ex.extra, nil)
}

func (ex *exchange) serveRespond(r *respond) {
	ex.say(r.status, r.contentType, nil, r.body)
}

// statusLines are the status lines that Weir sends itself.
func appendStatusLine(dst []byte, status int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = appendInt(dst, int64(status))
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	return append(dst, crlf...)
}
