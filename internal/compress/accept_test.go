package compress_test

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weir/internal/compress"
)

func best(fields ...string) compress.Coding {
	var a compress.Accept
	for _, f := range fields {
		a.Add([]byte(f))
	}
	return a.Best()
}

func TestBest(t *testing.T) {
	f := func(want compress.Coding, fields ...string) {
		t.Helper()
		if got := best(fields...); got != want {
			t.Errorf("%q: got %v, want %v", fields, got, want)
		}
		if got := naiveBest(fields); got != want {
			t.Errorf("%q: the reference says %v, want %v", fields, got, want)
		}
	}

	// who says nothing gets plain bytes
	f(compress.None)
	f(compress.None, "")
	f(compress.None, " ", ",, ,")

	// what browsers and tools send
	f(compress.Zstd, "gzip, deflate, br, zstd")
	f(compress.Brotli, "gzip, deflate, br")
	f(compress.Gzip, "gzip, deflate")
	f(compress.None, "deflate")
	f(compress.None, "identity")
	f(compress.Zstd, "*")

	// the weight decides before our own liking does
	f(compress.Gzip, "gzip;q=1.0, br;q=0.9, zstd;q=0.999")
	f(compress.Brotli, "gzip;q=0.5, br;q=0.501")
	f(compress.Zstd, "gzip;q=0.5, br;q=0.50, zstd;q=0.500")
	f(compress.Gzip, "gzip;q=0.001")

	// names and the q are letters of either case, and a name has an old form
	f(compress.Gzip, "GZip;Q=0.5")
	f(compress.Brotli, "BR")
	f(compress.Gzip, "x-gzip, compress, x-compress")
	f(compress.Gzip, "X-GZIP;q=0.7, br;q=0.6")

	// blanks may stand around the semicolon, and nowhere else
	f(compress.Gzip, "\t gzip \t;\t q=0.5 \t,")
	f(compress.None, "gzip;q =1")
	f(compress.None, "gzip;q= 1")
	f(compress.None, "gz ip")

	// 0 means not acceptable
	f(compress.None, "gzip;q=0")
	f(compress.None, "gzip;q=0.000, br;q=0.")
	f(compress.Gzip, "br;q=0, gzip;q=0.1")

	// the asterisk stands for all that is not named
	f(compress.Zstd, "gzip, *")
	f(compress.Gzip, "gzip, *;q=0.5")
	f(compress.Brotli, "zstd;q=0, *;q=0.2")
	f(compress.Gzip, "gzip;q=0.2, *;q=0")
	f(compress.None, "*;q=0")
	f(compress.None, "gzip;q=0.2, br;q=0.2, zstd;q=0.2, *;q=0.3") // identity is meant too

	// plain bytes win if they are wanted more, not if they are wanted as much
	f(compress.None, "identity, gzip;q=0.9")
	f(compress.None, "identity;q=0.5, *;q=0.4")
	f(compress.Gzip, "identity;q=0.5, gzip;q=0.5")
	f(compress.Gzip, "identity;q=0.5, gzip")
	f(compress.Gzip, "gzip;q=0.1") // not mentioned

	// plain bytes are what is left, whatever the client thinks of them
	f(compress.None, "identity;q=0")
	f(compress.None, "identity;q=0, deflate")
	f(compress.Zstd, "identity;q=0, *")

	// a member that is not well formed is as if it were not there
	for _, q := range []string{
		"", "q", "q=", "q=2", "q=1.1", "q=1.001", "q=0.0001", "q=1.0000", "q=.5", "q=00.5", "q=-1", "q=0,5", "q=0.5 x",
		"q=0.5;", "q=0.5;q=0.5", "q=\"1\"", "level=1", "qq=1", "q=1e0", "q=0x1", "q=+1", "q=0..", "q=a", ";q=1",
	} {
		f(compress.None, "gzip;"+q)
		f(compress.Brotli, "gzip;"+q+", br;q=0.3")
	}
	f(compress.Zstd, "zstd;q=x, *")

	// of two weights the lower counts
	f(compress.Brotli, "gzip, br;q=0.5, gzip;q=0.4")
	f(compress.None, "gzip;q=0, x-gzip")
	f(compress.Gzip, "*, *;q=0, gzip;q=0.5")

	// fields add up
	f(compress.Brotli, "gzip", "br")
	f(compress.None, "gzip", "gzip;q=0")
	f(compress.Gzip, "gzip;q=0.8", "", "*;q=0.2")

	// folding as Unicode does would see a name here
	f(compress.None, "z\u017ftd")
	f(compress.None, strings.Repeat("gzip", 1000))
}

func TestCodingString(t *testing.T) {
	for c, want := range map[compress.Coding]string{
		compress.None: "identity", compress.Gzip: "gzip", compress.Zstd: "zstd", compress.Brotli: "br",
	} {
		if got := c.String(); got != want {
			t.Errorf("Coding(%d): got %q, want %q", c, got, want)
		}
		if got := best(want); got != c {
			t.Errorf("%q is taken for %v", want, got)
		}
	}
}

// naiveBest does in the simplest way what Accept does: it takes members apart
// with the grammar of RFC 9110 and sorts what is acceptable.
func naiveBest(fields []string) compress.Coding {
	weights := make(map[string]float64)
	for _, m := range strings.Split(strings.Join(fields, ","), ",") {
		parts := grammar.FindStringSubmatch(strings.Trim(m, " \t"))
		if parts == nil {
			continue
		}
		name, q := strings.ToLower(parts[1]), 1.0
		if name == "x-gzip" {
			name = "gzip"
		}
		if parts[2] != "" {
			q, _ = strconv.ParseFloat(parts[2], 64)
		}
		if old, ok := weights[name]; ok {
			q = min(q, old)
		}
		weights[name] = q
	}
	of := func(c compress.Coding) float64 {
		if q, ok := weights[c.String()]; ok {
			return q
		}
		return weights["*"]
	}
	codings := []compress.Coding{compress.Zstd, compress.Brotli, compress.Gzip, compress.None}
	slices.SortStableFunc(codings, func(a, b compress.Coding) int { return cmp.Compare(of(b), of(a)) })
	if of(codings[0]) == 0 {
		return compress.None
	}
	return codings[0]
}

var grammar = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\\.[0-9]{0,3})?|1(?:\\.0{0,3})?))?$")

func FuzzAccept(f *testing.F) {
	f.Add("gzip, deflate, br, zstd", "")
	f.Add("br;q=0.5, *;q=0", "identity;q=0")
	f.Add("x-gzip;q=1.000\t,;q=1, zstd ; Q=0.", "*")
	f.Add("gzip;q=0.1;q=1", "GZIP;q=.5,br;q=1.001")
	f.Fuzz(func(t *testing.T, one, two string) {
		if got, want := best(one, two), naiveBest([]string{one, two}); got != want {
			t.Errorf("%q, %q: got %v, want %v", one, two, got, want)
		}
	})
}
