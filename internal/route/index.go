package route

import "bytes"

// index finds the lowest number of a rule that a request meets. Rules are
// sorted into lists by host and, within a host, by path. A list holds numbers in
// rising order, so the search of each ends at the best that was found so far.
type index struct {
	rules []conditions

	exact     map[string]*paths // by host
	wild      map[string]*paths // by what follows "*."
	wildDepth int               // labels of the longest key of wild: no need to look for longer ones
	all       *paths            // rules without hosts
}

// add appends a rule. Nothing is left behind if it returns an error but a
// number that no list has.
func (x *index) add(c conditions, hosts []string, where place) error {
	number := len(x.rules)
	x.rules = append(x.rules, c)
	if len(hosts) == 0 {
		if x.all == nil {
			x.all = &paths{}
		}
		x.all.add(number, where)
		return nil
	}
	for _, h := range hosts {
		host, wild, err := hostPattern(h)
		if err != nil {
			return err
		}
		x.pathsOf(host, wild).add(number, where)
	}
	return nil
}

func (x *index) pathsOf(host string, wild bool) *paths {
	m := &x.exact
	if wild {
		m = &x.wild
		x.wildDepth = max(x.wildDepth, depth(host, '.')+1)
	}
	if *m == nil {
		*m = make(map[string]*paths)
	}
	p := (*m)[host]
	if p == nil {
		p = &paths{}
		(*m)[host] = p
	}
	return p
}

// find returns the number of the first rule that the request meets; the number
// of rules if it meets none.
func (x *index) find(r *Request) int {
	best := len(x.rules)
	if len(x.exact)+len(x.wild) > 0 {
		best = x.findHost(r, best)
	}
	return x.all.find(x.rules, r, best)
}

func (x *index) findHost(r *Request, best int) int {
	var buf [maxHost]byte
	host := requestHost(buf[:0], r.Host)
	if len(host) == 0 {
		return best
	}
	best = x.exact[string(host)].find(x.rules, r, best)
	end := len(host)
	for range x.wildDepth { // the nearest suffix is the shortest: from right to left
		end = bytes.LastIndexByte(host[:end], '.')
		if end <= 0 { // a host that begins with a dot has no label there
			break
		}
		best = x.wild[string(host[end+1:])].find(x.rules, r, best)
	}
	return best
}

// paths are the rules of one host, by path.
type paths struct {
	first       int // the lowest number in any of the lists
	any         []int
	exact       map[string][]int
	prefix      map[string][]int // without the slash at the end
	prefixDepth int              // slashes in the deepest key of prefix
}

func (p *paths) add(number int, where place) {
	if len(p.any)+len(p.exact)+len(p.prefix) == 0 {
		p.first = number // numbers only rise
	}
	switch where.kind {
	case anyPath:
		p.any = append(p.any, number)
	case exactPath:
		if p.exact == nil {
			p.exact = make(map[string][]int)
		}
		p.exact[where.path] = append(p.exact[where.path], number)
	case prefixPath:
		if p.prefix == nil {
			p.prefix = make(map[string][]int)
		}
		p.prefix[where.path] = append(p.prefix[where.path], number)
		p.prefixDepth = max(p.prefixDepth, depth(where.path, '/'))
	}
}

// find returns the lowest number below best whose rule the request meets, or
// best. It works on nil, which has no rules.
func (p *paths) find(rules []conditions, r *Request, best int) int {
	if p == nil || p.first >= best {
		return best
	}
	best = firstMet(rules, p.any, r, best)
	if len(p.exact) > 0 {
		best = firstMet(rules, p.exact[string(r.Path)], r, best)
	}
	// A path of ten thousand slashes must not cost ten thousand hashes: the
	// deepest prefix bounds the walk.
	end := 0
	for range p.prefixDepth {
		if end >= len(r.Path) {
			break
		}
		next := bytes.IndexByte(r.Path[end+1:], '/')
		if next < 0 {
			end = len(r.Path)
		} else {
			end += 1 + next
		}
		best = firstMet(rules, p.prefix[string(r.Path[:end])], r, best)
	}
	return best
}

func firstMet(rules []conditions, list []int, r *Request, best int) int {
	for _, number := range list {
		if number >= best {
			break
		}
		if rules[number].hold(r) {
			return number
		}
	}
	return best
}

// depth counts how often c occurs.
func depth(s string, c byte) (n int) {
	for i := range len(s) {
		if s[i] == c {
			n++
		}
	}
	return n
}
