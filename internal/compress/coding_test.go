package compress_test

import (
	"strings"
	"testing"

	"weir/internal/compress"
)

func TestCompressible(t *testing.T) {
	f := func(want bool, types ...string) {
		t.Helper()
		for _, s := range types {
			if got := compress.Compressible([]byte(s)); got != want {
				t.Errorf("%q: got %v, want %v", s, got, want)
			}
		}
	}

	// text, whatever it is called
	f(true, "text/html", "text/plain", "text/css", "text/javascript", "text/csv", "text/markdown", "text/x-anything")
	f(true, "application/json", "application/xml", "application/javascript", "application/graphql", "application/yaml")
	f(true, "application/ld+json", "application/manifest+json", "application/problem+json", "model/gltf+json")
	f(true, "application/xhtml+xml", "application/rss+xml", "application/atom+xml", "image/svg+xml")

	// binary formats that leave much to gain, and those that leave none
	f(true, "application/wasm", "font/ttf", "font/otf", "application/vnd.ms-fontobject", "image/bmp", "image/x-icon")
	f(false, "image/png", "image/jpeg", "image/webp", "font/woff2", "video/mp4", "audio/mpeg", "application/zip",
		"application/gzip", "application/pdf", "application/octet-stream")

	// parameters, blanks and the case of letters do not matter
	f(true, "text/html; charset=utf-8", "text/html;", " Application/JSON\t;x=1", "IMAGE/SVG+XML")
	f(false, "image/png; x=text/html", "application/zip;+json")

	// what is flushed piece by piece
	f(false, "text/event-stream", "Text/Event-Stream; charset=utf-8", "application/grpc", "application/grpc+json",
		"application/grpc-web+proto", "multipart/form-data; boundary=x", "multipart/mixed+json")

	// what is not a type
	f(false, "", ";", " ", "text", "json", "application/jso", "application/jsonx", strings.Repeat("a", 200)+"+json")
}
