package route_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/internal/route"
)

func bench(b *testing.B, rules []rule, req *route.Request) {
	table := compile(b, rules...)
	if _, ok := table.Lookup(req); !ok {
		b.Fatal("no rule")
	}
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(req)
	}
}

// A handful of rules, as most people have.
func BenchmarkFew(b *testing.B) {
	bench(b, []rule{
		{Hosts: []string{"api.example.com", "*.api.example.com"}, Path: "/v1/"},
		{Hosts: []string{"www.example.com"}},
		{Path: "/static"},
		{Path: "/"},
	}, request("www.example.com:8080", "/static/app.js"))
}

func BenchmarkHosts10000(b *testing.B) {
	var rules []rule
	for i := range 10000 {
		rules = append(rules, rule{Hosts: []string{fmt.Sprintf("h%d.example.com", i), fmt.Sprintf("*.w%d.example.com", i)}})
	}
	b.Run("exact", func(b *testing.B) { bench(b, rules, request("h9999.example.com", "/a/b")) })
	b.Run("wildcard", func(b *testing.B) { bench(b, rules, request("a.b.w9999.example.com", "/a/b")) })
}

func BenchmarkPaths10000(b *testing.B) {
	var rules []rule
	for i := range 10000 {
		rules = append(rules, rule{Path: fmt.Sprintf("/api/service%d/v1", i)}, rule{PathExact: fmt.Sprintf("/page/%d", i)})
	}
	b.Run("prefix", func(b *testing.B) { bench(b, rules, request("h", "/api/service9999/v1/users/17")) })
	b.Run("exact", func(b *testing.B) { bench(b, rules, request("h", "/page/9999")) })
}

// Requests made to be slow: the work must not grow with the square of their length.
func BenchmarkHostile(b *testing.B) {
	rules := []rule{{Hosts: []string{"*.a.b.c"}, Path: "/a/b"}, {}}
	b.Run("labels", func(b *testing.B) { bench(b, rules, request(strings.Repeat("a.", 4000)+"c", "/")) })
	b.Run("segments", func(b *testing.B) { bench(b, rules, request("x.a.b.c", strings.Repeat("/a", 4000))) })
}
