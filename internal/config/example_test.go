package config_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"gopkg.in/yaml.v3"

	"weir/internal/config"
)

// keys are the paths of all keys of a type: admin.address, listeners.routes.name.
func keys(t reflect.Type, path string, found map[string]bool) {
	switch t {
	case reflect.TypeFor[config.Header](), reflect.TypeFor[config.StatusRange]():
		return // written in a form of their own
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		keys(t.Elem(), path, found)
	case reflect.Struct:
		if !strings.HasPrefix(t.PkgPath(), "weir/") {
			return
		}
		for f := range t.Fields() {
			if path == "pools" && f.Name == "Name" {
				continue // the key of the mapping
			}
			at := strings.TrimPrefix(path+"."+keyOf(f.Name), ".")
			found[at] = true
			keys(f.Type, at, found)
		}
	}
}

// keyOf is a field's key: ClientIdle is client_idle, ClientIPs is client_ips.
func keyOf(field string) string {
	switch field {
	case "TTL":
		return "ttl"
	case "KeepAlive":
		return "keepalive"
	case "ClientIPs":
		return "client_ips"
	case "ConnectionsPerIP":
		return "connections_per_ip"
	}
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// mentioned are the paths of all keys in a document, with the names of pools left out.
func mentioned(n *yaml.Node, path string, found map[string]bool) {
	for i, c := range n.Content {
		at := path
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			at = strings.TrimPrefix(path+"."+n.Content[i-1].Value, ".")
		}
		found[poolName.ReplaceAllString(at, "pools")] = true
		mentioned(c, at, found)
	}
}

var poolName = regexp.MustCompile(`^pools\.[^.]+`)

// allKeys are those of the configuration that an operator can write. Timeouts
// and limits are asked for under defaults only: elsewhere they are the same.
func allKeys() []string {
	found := map[string]bool{}
	keys(reflect.TypeFor[config.Config](), "", found)
	repeated := regexp.MustCompile(`^(pools|listeners\.routes)\.(timeouts|limits)\.`)
	var all []string
	for key := range found {
		if !repeated.MatchString(key) {
			all = append(all, key)
		}
	}
	return all
}

func TestExample(t *testing.T) {
	src, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// it runs as it is: without an environment
	if _, err := config.Parse("config.example.yaml", src, nil); err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	mentioned(doc.Content[0], "", found)
	for _, key := range allKeys() {
		if !found[key] {
			t.Errorf("config.example.yaml does not show %s", key)
		}
	}
}

// What the example shows outside of listeners and pools are the defaults, as its comments say.
func TestExampleDefaults(t *testing.T) {
	src, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("config.example.yaml", src, nil)
	if err != nil {
		t.Fatal(err)
	}
	small := parse(t, smallest)
	small.Listeners, small.Pools = c.Listeners, c.Pools
	if !reflect.DeepEqual(c, small) {
		t.Errorf("the example's admin, history, log and defaults are not the defaults: %+v", c)
	}
}

// documented are the keys in the first column of the reference's tables, and
// what they are in. Where a table is says what its keys begin with.
func documented(text string) map[string]bool {
	sections := map[string][]string{
		"listeners": {"listeners."}, "routes": {"listeners.routes."}, "match": {"listeners.routes."}, "rewrite": {"listeners.routes."},
		"request_headers and response_headers": {"listeners.routes.request_headers.", "listeners.routes.response_headers."},
		"pools":                                {"pools."}, "health": {"pools."}, "health.active": {"pools."}, "health.passive": {"pools."},
	}
	named := map[string]bool{}
	prefixes := []string{""}
	for line := range strings.SplitSeq(text, "\n") {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' {
			prefixes = sections[heading]
			if prefixes == nil {
				prefixes = []string{""}
			}
		}
		cell, ok := strings.CutPrefix(line, "| `")
		if !ok {
			continue
		}
		cell, _, _ = strings.Cut(cell, " | ")
		for key := range strings.SplitSeq(cell, ", ") {
			key, _, _ = strings.Cut(strings.Trim(key, "`"), "`")
			for _, prefix := range prefixes {
				path := strings.ReplaceAll(prefix+key, "[]", "")
				for at := len(path); at > 0; at = strings.LastIndex(path[:at], ".") {
					named[path[:at]] = true
				}
			}
		}
	}
	return named
}

// docs/configuration.md has every key in a table and no other, and its examples are right.
func TestReference(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	named := documented(string(text))
	for _, key := range allKeys() {
		if !named[key] {
			t.Errorf("docs/configuration.md does not name %s", key)
		}
	}
	for key := range named {
		if !slices.Contains(allKeys(), key) {
			t.Errorf("docs/configuration.md names %s, which is no key", key)
		}
	}

	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) == 0 {
		t.Error("no examples")
	}
	for _, e := range examples {
		if _, err := config.Parse("example", []byte(e[1]), func(string) (string, bool) { return "eu", true }); err != nil {
			t.Errorf("%v in\n%s", err, e[1])
		}
	}
}
