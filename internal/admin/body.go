package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Limits on what may be sent, in bytes.
const (
	maxConfig  = 8 << 20 // what config.Parse reads at most
	maxRequest = 64 << 10
)

// readBody reads a request's body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, newProblem(http.StatusRequestEntityTooLarge, "", fmt.Sprintf("the body is larger than %d bytes", limit))
	}
	if err != nil {
		return nil, newProblem(http.StatusBadRequest, "", "the body could not be read: "+err.Error())
	}
	return body, nil
}

// readJSON decodes a request's body into v, strictly: a misspelt key must not
// quietly do something else. want shows a right body. An empty body leaves v
// as it is.
func readJSON(w http.ResponseWriter, r *http.Request, v any, want string) error {
	body, err := readBody(w, r, maxRequest)
	if err != nil || len(body) == 0 {
		return err
	}
	if err := unmarshalStrict(body, v); err != nil {
		return newProblem(http.StatusBadRequest, "", fmt.Sprintf("the body is not what is wanted here: %v; want %s", err, want))
	}
	return nil
}

// unmarshalStrict is json.Unmarshal that knows no other keys than v's.
func unmarshalStrict(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows after the first value")
	}
	return nil
}
