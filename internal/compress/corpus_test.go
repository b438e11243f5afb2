package compress_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// corpus makes texts that compress about as well as what servers send: real
// words follow each other at random, markup and keys repeat, identifiers do not.
type corpus struct {
	rnd   *rand.Rand
	zipf  *rand.Zipf
	words []string
}

func newCorpus() *corpus {
	c := &corpus{rnd: rand.New(rand.NewPCG(1, 2))}
	const vowels, consonants = "aeiou", "bcdfghlmnprstvw"
	for range 3000 {
		var w strings.Builder
		for range 1 + c.rnd.IntN(4) {
			w.WriteByte(consonants[c.rnd.IntN(len(consonants))])
			w.WriteByte(vowels[c.rnd.IntN(len(vowels))])
			if c.rnd.IntN(3) == 0 {
				w.WriteByte("nrst"[c.rnd.IntN(4)])
			}
		}
		c.words = append(c.words, w.String())
	}
	c.zipf = rand.NewZipf(c.rnd, 1.2, 4, uint64(len(c.words)-1))
	return c
}

func (c *corpus) word() string { return c.words[c.zipf.Uint64()] }

func (c *corpus) sentence(n int) string {
	var s strings.Builder
	for i := range n {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(c.word())
	}
	return s.String()
}

// json returns n bytes of a list of records.
func (c *corpus) json(n int) []byte {
	b := []byte(`{"items":[`)
	for len(b) < n {
		b = fmt.Appendf(b, `{"id":"%016x","name":"%s","owner":{"login":"%s","url":"https://api.example.com/users/%d"},`+
			`"price":%d.%02d,"currency":"EUR","created_at":"2026-%02d-%02dT%02d:%02d:%02dZ","in_stock":%t,"tags":["%s","%s"],"description":"%s."},`,
			c.rnd.Uint64(), c.sentence(3), c.word(), c.rnd.IntN(100000), c.rnd.IntN(500), c.rnd.IntN(100),
			1+c.rnd.IntN(12), 1+c.rnd.IntN(28), c.rnd.IntN(24), c.rnd.IntN(60), c.rnd.IntN(60), c.rnd.IntN(2) == 0,
			c.word(), c.word(), c.sentence(5+c.rnd.IntN(25)))
	}
	return b[:n]
}

// html returns n bytes of a page of cards and paragraphs.
func (c *corpus) html(n int) []byte {
	b := []byte("<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Shop</title></head>\n<body>\n")
	for len(b) < n {
		b = fmt.Appendf(b, "  <article class=\"card card--%s\" id=\"item-%x\">\n    <a class=\"card__link\" href=\"/%s/%s?ref=%x\">\n"+
			"      <img class=\"card__image\" src=\"https://cdn.example.com/i/%x.webp\" alt=\"%s\" loading=\"lazy\">\n"+
			"      <h2 class=\"card__title\">%s</h2>\n    </a>\n    <p class=\"card__text\">%s.</p>\n  </article>\n",
			c.word(), c.rnd.Uint32(), c.word(), c.word(), c.rnd.Uint32(), c.rnd.Uint64(), c.sentence(3), c.sentence(4),
			c.sentence(10+c.rnd.IntN(50)))
	}
	return b[:n]
}
