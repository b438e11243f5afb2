package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// scalar is a value's text with the environment filled in. False: not given,
// or not a scalar, or a variable is not set; the latter two are reported.
func (v value) scalar(want string) (string, bool) {
	if !v.given() {
		return "", false
	}
	if v.node.Kind != yaml.ScalarNode {
		v.bad("", "want %s, not %s", want, v.describe())
		return "", false
	}
	return v.expand(v.node.Value)
}

// expand replaces each ${NAME} by what the environment has, and $${ by ${.
func (v value) expand(s string) (string, bool) {
	if !strings.Contains(s, "${") {
		return s, true
	}
	var b strings.Builder
	ok := true // every unset variable of a value is reported, not only the first
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), ok
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i] + "{")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		name, rest, closed := strings.Cut(s[i+2:], "}")
		if !closed || !isVariable(name) {
			v.bad("write $${ for the characters ${ themselves", "%q is not ${NAME}", s[i:])
			return "", false
		}
		text, set := v.lookup(name)
		if !set {
			v.bad("set it, or write $${ for the characters ${ themselves", "the environment variable %s is not set", name)
			ok = false
		}
		b.WriteString(text)
		s = rest
	}
}

func (v value) lookup(name string) (string, bool) {
	if v.d.env == nil {
		return "", false
	}
	return v.d.env(name)
}

func isVariable(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// The readers below set *dst if the file has the key with a good value, and
// leave the default if not. ok says which; v is for more to say about it.

func (t *table) text(key string, dst *string) (v value, ok bool) {
	v = t.get(key)
	s, ok := v.scalar("text")
	if ok {
		*dst = s
	}
	return v, ok
}

func (t *table) oneOf(key string, dst *string, words ...string) (v value, ok bool) {
	v = t.get(key)
	s, ok := v.scalar("a word")
	switch {
	case !ok:
	case slices.Contains(words, s):
		*dst = s
		return v, true
	default:
		v.bad(didYouMean(s, words), "%q is not known", s)
	}
	return v, false
}

// boolean knows two words: yes, no, on and off were booleans in some versions of
// YAML and strings in others.
func (t *table) boolean(key string, dst *bool) {
	v := t.get(key)
	switch s, ok := v.scalar("true or false"); {
	case !ok:
	case s == "true" || s == "false":
		*dst = s == "true"
	default:
		v.bad("write true or false", "%q is neither true nor false", s)
	}
}

// noMost is the upper bound of an integer that has none.
const noMost = math.MaxInt32

func (t *table) integer(key string, dst *int, least, most int) (v value, ok bool) {
	v = t.get(key)
	s, ok := v.scalar("a whole number")
	if !ok {
		return v, false
	}
	// The text is read, not YAML's idea of it: 010 is ten and 1_000 no number.
	n, err := strconv.Atoi(s)
	switch {
	case err != nil && !isDigits(strings.TrimPrefix(s, "-")):
		v.bad("", "%q is not a whole number", s)
	case err == nil && n >= least && n <= most:
		*dst = n
		return v, true
	case most == noMost && (err == nil && n < least || s[0] == '-'):
		v.bad("", "%s is less than %d", s, least)
	default:
		v.bad("", "%s is not between %d and %d", s, least, most)
	}
	return v, false
}

func isDigits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

func (t *table) fraction(key string, dst *float64) {
	v := t.get(key)
	s, ok := v.scalar("a number between 0 and 1")
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= 1) { // written so that NaN fails
		v.bad("0.1 is every tenth, 1 is all", "%q is not a number between 0 and 1", s)
		return
	}
	*dst = f
}

// decimal reads a number, which may have a fraction.
func (t *table) decimal(key string, dst *float64, least, most float64) {
	v := t.get(key)
	s, ok := v.scalar("a number")
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		v.bad("", "%q is not a number", s)
	case !(f >= least && f <= most): // written so that NaN fails
		v.bad("", "%s is not between %v and %v", s, least, most)
	default:
		*dst = f
	}
}

// span reads a duration that has a least and a most.
func (t *table) span(key string, dst *time.Duration, least, most time.Duration) {
	d := *dst
	v, ok := t.duration(key, &d, positive)
	switch {
	case !ok:
	case d < least || d > most:
		v.bad("", "%v is not between %v and %v", d, least, most)
	default:
		*dst = d
	}
}

// Whether a duration may be zero, which then means none.
const (
	orNone   = true
	positive = false
)

func (t *table) duration(key string, dst *time.Duration, zero bool) (v value, ok bool) {
	v = t.get(key)
	s, ok := v.scalar("a duration such as 5s")
	if !ok {
		return v, false
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && isDigits(s):
		v.bad(fmt.Sprintf("write %ss, or %sms", s, s), "%q has no unit", s)
	case err != nil:
		v.bad("write a number with ms, s, m or h, such as 500ms or 1m30s", "%q is not a duration", s)
	case d < 0:
		v.bad("", "%v is less than nothing", d)
	case d == 0 && !zero:
		v.bad("", "it must be longer than 0s")
	default:
		*dst = d
		return v, true
	}
	return v, false
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
}

func (t *table) size(key string, dst *int64, least, most int64) {
	v := t.get(key)
	s, ok := v.scalar("a size such as 32KiB")
	if !ok {
		return
	}
	// Units are exact: who writes 32k may mean either thousand.
	digits, unit := s, int64(1)
	for _, u := range sizeUnits {
		if rest, found := strings.CutSuffix(s, u.name); found {
			digits, unit = strings.TrimRight(rest, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case !isDigits(digits):
		v.bad("write bytes, or a number with KiB, MiB, GiB, KB, MB or GB, such as 32KiB", "%q is not a size", s)
	case err != nil || n > most/unit || n*unit < least:
		v.bad("", "%s is not between %d and %d bytes", s, least, most)
	default:
		*dst = n * unit
	}
}
