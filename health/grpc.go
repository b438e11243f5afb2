package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	grpcCheck     = "/grpc.health.v1.Health/Check"
	grpcPrefix    = 5       // bytes before a message: is it compressed, and how long is it
	maxGRPCAnswer = 4 << 10 // bytes; the answer that is hoped for has 7
	serving       = 1       // of HealthCheckResponse.ServingStatus
)

// GRPC is the Check that calls grpc.health.v1.Health/Check, over a new
// connection that speaks HTTP/2 in clear text from the first byte. What does not
// say SERVING fails.
type GRPC struct {
	Service   string // the name to ask about; "" is the server as a whole
	Authority string // of the request; "" is the address asked
	Port      int    // asked instead of the backend's own port; 0: the backend's own
	Hello     []byte // sent first to the backend's own port: it may want a PROXY header
}

// Probe makes the call to addr and judges the answer.
func (c GRPC) Probe(ctx context.Context, addr string) error {
	addr = withPort(addr, c.Port)
	req, err := c.request(ctx, addr)
	if err != nil {
		return err
	}
	t := c.transport(addr)
	defer t.CloseIdleConnections()
	res, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return judgeGRPC(res)
}

func (c GRPC) transport(addr string) *http.Transport {
	t := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dialHello(ctx, addr, c.Port, c.Hello) },
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxCheckHeader,
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}

func (c GRPC) request(ctx context.Context, addr string) (*http.Request, error) {
	body := bytes.NewReader(c.message())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+hostOf(addr)+grpcCheck, body)
	if err != nil {
		return nil, fmt.Errorf("check request: %w", err)
	}
	if c.Authority != "" {
		req.Host = c.Authority
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	req.Header.Set("User-Agent", userAgent)
	return req, nil
}

// message is a HealthCheckRequest with its prefix. Its one field is a string
// with number 1, which is not written when empty. The answer's one field is an
// enum with number 1: two messages that small need no protobuf.
func (c GRPC) message() []byte {
	b := make([]byte, grpcPrefix)
	if c.Service != "" {
		b = append(b, 1<<3|2)
		b = binary.AppendUvarint(b, uint64(len(c.Service)))
		b = append(b, c.Service...)
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-grpcPrefix))
	return b
}

func judgeGRPC(res *http.Response) error {
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d, want 200", res.StatusCode)
	}
	if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/grpc") {
		return fmt.Errorf("content type %.64q, want application/grpc", kind)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxGRPCAnswer+1))
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if len(body) > maxGRPCAnswer {
		return errors.New("answer of more than 4 KiB")
	}
	trailer := res.Trailer // complete, now that the body has ended
	if res.Header.Get("Grpc-Status") != "" {
		trailer = res.Header // there was nothing to say but the status
	}
	if err := grpcStatus(trailer); err != nil {
		return err
	}
	return judgeServing(body)
}

// grpcStatus is the failure of the call, if it failed.
func grpcStatus(trailer http.Header) error {
	status := trailer.Get("Grpc-Status")
	switch status {
	case "0":
		return nil
	case "":
		return errors.New("answer without a grpc-status")
	}
	text := trailer.Get("Grpc-Message")
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	name := "unknown"
	if n, err := strconv.ParseUint(status, 10, 8); err == nil && int(n) < len(grpcCodes) {
		name = grpcCodes[n]
	}
	return fmt.Errorf("grpc-status %.8s (%s): %s", oneLine(status, 8), name, oneLine(text, maxReason))
}

var grpcCodes = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
	"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

var servingStatuses = [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

func judgeServing(answer []byte) error {
	status, err := servingStatus(answer)
	switch {
	case err != nil:
		return err
	case status == serving:
		return nil
	case status < uint64(len(servingStatuses)):
		return fmt.Errorf("serving status %s, want SERVING", servingStatuses[status])
	}
	return fmt.Errorf("serving status %d, want SERVING", status)
}

var errNoMessage = errors.New("answer is no HealthCheckResponse")

// servingStatus reads a HealthCheckResponse with its prefix.
func servingStatus(b []byte) (status uint64, err error) {
	if len(b) < grpcPrefix || uint64(binary.BigEndian.Uint32(b[1:])) != uint64(len(b)-grpcPrefix) {
		return 0, errNoMessage
	}
	if b[0] != 0 {
		return 0, errors.New("answer is compressed, which it was not asked to be")
	}
	for b = b[grpcPrefix:]; len(b) > 0; {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, errNoMessage
		}
		value, size := field(tag, b[n:])
		if size < 0 {
			return 0, errNoMessage
		}
		if tag == 1<<3 {
			status = value
		}
		b = b[n+size:]
	}
	return status, nil
}

// field reads the field that begins after tag: what it says, if it is a varint,
// and how many bytes it takes; -1 if it is none.
func field(tag uint64, b []byte) (value uint64, size int) {
	var length uint64
	switch tag & 7 {
	case 0, 2:
		value, size = binary.Uvarint(b)
		if size <= 0 {
			return 0, -1
		}
		if tag&7 == 2 {
			length = value
		}
	case 1:
		length = 8
	case 5:
		length = 4
	default:
		return 0, -1
	}
	if length > uint64(len(b)-size) {
		return 0, -1
	}
	return value, size + int(length)
}
