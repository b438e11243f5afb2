package proxy

import (
	"bytes"
	"strings"
)

// hashKey says by what consistent_hash sends requests to backends.
type hashKey struct {
	kind byte   // 'h' header, 'c' cookie, 'q' query, 'p' path; 0: the client's address
	name string // of the header, in lower case, the cookie or the parameter
}

func hashKeyOf(key string) hashKey {
	kind, name, _ := strings.Cut(key, ":")
	switch kind {
	case "header":
		return hashKey{'h', strings.ToLower(name)}
	case "cookie":
		return hashKey{'c', name}
	case "query":
		return hashKey{'q', name}
	case "path":
		return hashKey{'p', ""}
	}
	return hashKey{}
}

// hash is the request's key. One that lacks what the key is made of goes by its
// client's address.
func (k hashKey) hash(ex *exchange) uint64 {
	var value []byte
	switch k.kind {
	case 'h':
		value, _ = ex.head.Get(k.name, 0)
	case 'c':
		value, _ = ex.head.cookie(k.name)
	case 'q':
		value = parameter(ex.target.query, k.name)
	case 'p':
		value = ex.target.path
	}
	if len(value) == 0 {
		b := ex.client.As16()
		return hashBytes(b[:])
	}
	return hashBytes(value)
}

// parameter is the value of the first query parameter of that name, as it came.
func parameter(query []byte, name string) []byte {
	query = bytes.TrimPrefix(query, question)
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, ampersand)
		if n, value, _ := bytes.Cut(pair, equals); string(n) == name {
			return value
		}
	}
	return nil
}

var (
	question  = []byte{'?'}
	ampersand = []byte{'&'}
)

// hashBytes is 64-bit FNV-1a, mixed at the end as MurmurHash3 does: FNV alone
// leaves the high bits of short keys nearly alike. It is the same in every process
// and after every restart, so that a key keeps its backend.
func hashBytes(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
