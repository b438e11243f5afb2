package control

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"weir/internal/config"
)

// field is one value that differs between two structs of package config.
type field struct {
	path     string // timeouts.connect
	from, to string // empty where values are not for everybody's eyes
}

// values renders what happened to the value.
func (f field) values() string {
	if f.from == "" && f.to == "" {
		return "changed"
	}
	return f.from + " -> " + f.to
}

// String is a change as people read it: timeouts.connect 1s -> 2s.
func (f field) String() string { return f.path + " " + f.values() }

// text renders fields, without those that known says are told elsewhere.
func text(fields []field, known func(string) bool) []string {
	var out []string
	for _, f := range fields {
		if s := f.String(); known == nil || !known(s) {
			out = append(out, s)
		}
	}
	return out
}

func textSet(fields []field) map[string]bool {
	set := make(map[string]bool, len(fields))
	for _, s := range text(fields, nil) {
		set[s] = true
	}
	return set
}

// diffFields compares two values of the same type of package config, field by
// field, under the names that they have in the file. It goes by reflection so
// that no field, of today or later, can change without being seen: a change
// that the plan does not show is one that nobody knows was made.
func diffFields[T any](path string, old, new T) []field {
	if reflect.DeepEqual(old, new) {
		return nil // most are equal, and this is ten times quicker
	}
	var fields []field
	compare(path, reflect.ValueOf(old), reflect.ValueOf(new), func(f field) { fields = append(fields, f) })
	return fields
}

// unshown are the keys whose values a plan does not tell: a page of text does
// not help in one line, and what is sent or run by a probe may hold a secret.
var unshown = []string{"body", "payload", "send", "expect_text", "argv", "exec"}

func compare(path string, a, b reflect.Value, emit func(field)) {
	if slices.Contains(unshown, path[strings.LastIndexByte(path, '.')+1:]) {
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			emit(field{path: path})
		}
		return
	}
	if isLeaf(a.Type()) {
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			emit(field{path: path, from: render(a), to: render(b)})
		}
		return
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			compare(join(path, fileKey(a.Type().Field(i).Name)), a.Field(i), b.Field(i), emit)
		}
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				emit(field{path: path, from: render(a), to: render(b)})
			}
			return
		}
		compare(path, a.Elem(), b.Elem(), emit)
	case reflect.Slice:
		compareSlices(path, a, b, emit)
	default:
		if !a.Equal(b) {
			emit(field{path: path, from: render(a), to: render(b)})
		}
	}
}

func compareSlices(path string, a, b reflect.Value, emit func(field)) {
	if a.Len() == b.Len() && (a.Len() == 0 || reflect.DeepEqual(a.Interface(), b.Interface())) {
		return
	}
	if old, ok := a.Interface().([]config.Header); ok {
		compareHeaders(path, old, b.Interface().([]config.Header), emit)
		return
	}
	emit(field{path: path, from: render(a), to: render(b)})
}

// compareHeaders names the headers and never their values: these may come from
// the environment and be secrets, and a plan is logged.
func compareHeaders(path string, old, new []config.Header, emit func(field)) {
	names := func(hs []config.Header) []string {
		var out []string
		for _, h := range hs {
			out = append(out, h.Name)
		}
		return out
	}
	a, b := names(old), names(new)
	if !slices.Equal(a, b) {
		emit(field{path: path, from: list(a), to: list(b)})
		return
	}
	for i := range old {
		if old[i] != new[i] {
			emit(field{path: join(path, old[i].Name)})
		}
	}
}

// isLeaf tells whether values of t are shown as a whole: numbers, text, and
// types that know how to print themselves.
func isLeaf(t reflect.Type) bool {
	return t.Kind() != reflect.Pointer && t.Implements(reflect.TypeFor[fmt.Stringer]())
}

// render shows a value in one line, as near to the file as is short.
func render(v reflect.Value) string {
	if isLeaf(v.Type()) {
		return fmt.Sprint(v.Interface())
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "none"
		}
		return render(v.Elem())
	case reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, render(v.Index(i)))
		}
		return list(items)
	case reflect.Struct:
		return renderStruct(v)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64) // as it is written: no 1e+06
	case reflect.String:
		if v.String() == "" || strings.ContainsAny(v.String(), " \n,") {
			return fmt.Sprintf("%q", v.String())
		}
	}
	return fmt.Sprint(v.Interface())
}

// renderStruct shows the fields that are set, and of a header the name alone.
func renderStruct(v reflect.Value) string {
	switch s := v.Interface().(type) {
	case config.StatusRange:
		return fmt.Sprintf("%d-%d", s.From, s.To)
	case config.Header:
		return s.Name
	}
	var items []string
	for i := range v.NumField() {
		key := fileKey(v.Type().Field(i).Name)
		if f := v.Field(i); !f.IsZero() && !slices.Contains(unshown, key) {
			items = append(items, key+" "+render(f))
		}
	}
	return "{" + strings.Join(items, ", ") + "}"
}

func list(items []string) string { return "[" + strings.Join(items, ", ") + "]" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fileKey turns a field's name into its key in the file: ClientIPs → client_ips.
func fileKey(name string) string {
	if name == "KeepAlive" {
		return "keepalive" // the one key that is not made like the others
	}
	name = strings.ReplaceAll(name, "IPs", "Ips")
	var b strings.Builder
	rs := []rune(name)
	for i, r := range rs {
		// a word starts at a capital that follows a small letter
		if i > 0 && unicode.IsUpper(r) && !unicode.IsUpper(rs[i-1]) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
