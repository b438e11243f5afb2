// Package config owns what the operator wrote: the types of a configuration,
// its defaults, a strict parse that reports every problem at once, and the
// watching of the file it comes from.
//
// It does not know what a running proxy is. A Config is intent; whether an
// address answers or a name resolves is somebody else's question.
package config

import (
	"net/netip"
	"sort"
	"time"
)

// Config is one configuration, complete: every default is filled in, every
// reference resolves, every value is within its range. Parse makes it; nobody
// changes it afterwards, so it may be shared between goroutines.
type Config struct {
	Admin     Admin
	History   History
	Guard     Guard
	Log       Log
	Record    Record
	Defaults  Defaults
	Listeners []Listener // in the order of the file
	Pools     []Pool     // sorted by name
}

// Pool returns the pool of that name, or nil.
func (c *Config) Pool(name string) *Pool {
	i := sort.Search(len(c.Pools), func(i int) bool { return c.Pools[i].Name >= name })
	if i < len(c.Pools) && c.Pools[i].Name == name {
		return &c.Pools[i]
	}
	return nil
}

// Admin says where the admin API listens.
type Admin struct {
	Address   string // host:port or unix:/path
	TokenFile string // holds the bearer token; empty only where Address is loopback or unix
}

// History says where accepted versions are kept.
type History struct {
	Dir    string        // empty: .weir/ beside the configuration file
	Keep   int           // number of versions, at least 2
	MaxAge time.Duration // of those that are kept, but for the running one and the one before it; 0: any
	Git    bool          // each version is committed to a git repository in Dir as well
}

// Guard says when a change is undone because of what it does to traffic.
type Guard struct {
	Enabled          bool
	Window           time.Duration // that a change is watched, 1 s to 1 h
	MinRequests      int           // of a route in that time, or it is not judged; at least 1
	MaxErrorIncrease int           // percentage points that the share of errors may rise, 0 to 100
	MaxLatencyFactor float64       // by which the median and the 99th percentile may rise, 1.1 to 1000
	Notify           Notify
}

// Notify is who hears of a change that was undone.
type Notify struct {
	Exec []string // a program and its arguments; empty: nobody
}

// Log says what is logged.
type Log struct {
	Level        string  // debug, info, warn or error
	Access       bool    // one record a request
	AccessFormat string  // json
	Sample       float64 // share of requests in the access log, 0 to 1
}

// Record says which requests are remembered, without their bodies, so that a
// configuration can be tried on them.
type Record struct {
	Requests int     // the latest so many; 0: none
	Sample   float64 // share of the requests that are taken, 0 to 1
}

// Defaults are the values that listeners, pools and routes start from.
type Defaults struct {
	PathHandling string // normalize, reject or raw
	Timeouts     Timeouts
	Limits       Limits
}

// Timeouts bound each wait of a request. Zero means no bound, but no wait for
// ClientHalfClosed.
type Timeouts struct {
	ClientHeader     time.Duration // from a request's first byte to the end of its header
	ClientBodyIdle   time.Duration // between two reads of a request's body
	ClientIdle       time.Duration // a keep-alive connection between requests
	ClientHalfClosed time.Duration // no progress, after the client closed its sending side
	Connect          time.Duration // for a connection to a backend
	Response         time.Duration // between two reads from a backend
	StreamIdle       time.Duration // silence of an upgraded connection or an event stream
	Request          time.Duration // the whole request
}

// Limits bound what one request or one listener may take, and how slow a client
// may be. Zero means no bound.
type Limits struct {
	HeaderBytes      int   // request line and header lines together, in bytes
	Headers          int   // number of header lines
	BodyBytes        int64 // request body, in bytes
	MinRate          int64 // of a client that sends a body or takes an answer, in bytes a second
	Connections      int   // open client connections of one listener
	ConnectionsPerIP int   // the same from one client address
}

// Listener is an address that Weir accepts on.
type Listener struct {
	Name           string
	Address        string // host:port, [v6]:port, :port or unix:/path
	Protocol       string // http
	ProxyProtocol  string // off, accept or require: the PROXY header in front of a connection
	TrustedProxies []netip.Prefix
	PathHandling   string  // resolved: defaults, then the listener's
	Routes         []Route // the first that matches serves
}

// Route is a match on a request and what happens to it. Exactly one of Pool,
// Redirect and Respond is set.
type Route struct {
	Name            string // unique within its listener
	Match           Match
	Allow           []netip.Prefix // of clients; empty: all
	Deny            []netip.Prefix // of clients; wins over Allow
	BasicAuth       BasicAuth
	RateLimit       RateLimit
	PathHandling    string // resolved: defaults, then the listener's, then the route's
	Rewrite         Rewrite
	RequestHeaders  HeaderRules
	ResponseHeaders HeaderRules
	Pool            string
	Redirect        *Redirect
	Respond         *Respond
	Retries         Retries
	Hedge           Hedge
	CircuitBreaker  CircuitBreaker
	Compress        bool     // answers, by what the client accepts
	Upgrades        []string // protocols that a connection may change to, lower case; "*": any
	Timeouts        Timeouts // resolved: defaults, then the pool's, then the route's
	Limits          Limits   // resolved like Timeouts
}

// BasicAuth asks clients for a name and a password.
type BasicAuth struct {
	UsersFile string // as written; lines of name:bcrypt-hash. Empty: nobody is asked
	Realm     string // what the password is for, shown by browsers; empty only without UsersFile
}

// RateLimit bounds how many requests of one key are let through.
type RateLimit struct {
	RequestsPerSecond float64 // on average, 0.00001 to 1000000; 0: no bound
	Burst             int     // at once, at least 1; 0 only where there is no bound
	Key               string  // client_ip, header:NAME or cookie:NAME
}

// Match says which requests a route is for. All that is set must hold; what is
// empty holds for every request.
type Match struct {
	Hosts     []string // lower case; exact, or "*.example.com": any subdomain
	Path      string   // prefix, at segment borders
	PathExact string
	PathRegex string // RE2, not anchored
	Methods   []string
	Headers   []Header // value "*": present
	Query     []Header // value "*": present
	ClientIPs []netip.Prefix
}

// Header is a name with a value; of a header line or a query parameter.
type Header struct{ Name, Value string }

// HeaderRules change headers: Remove first, then Set, then Add.
type HeaderRules struct {
	Set    []Header // replaces all lines of that name
	Add    []Header // one more line
	Remove []string
}

// Rewrite changes a request before it goes to a backend: StripPrefix first, then
// PathRegex, then AddPrefix.
type Rewrite struct {
	StripPrefix string
	AddPrefix   string
	PathRegex   string // RE2; what it matches becomes PathReplace
	PathReplace string // $1, ${name} refer to groups of PathRegex
	Host        string // the Host header for the backend; empty: the client's
}

// Redirect answers with a Location.
type Redirect struct {
	To     string // may hold {host}, {path}, {query} and {uri} of the request
	Status int    // 301, 302, 303, 307 or 308
}

// Respond answers with a fixed text.
type Respond struct {
	Status      int // 200 to 599
	Body        string
	ContentType string
}

// Retries says when a request is sent again, and how often.
type Retries struct {
	Attempts      int           // extra attempts, 0 to 10; 0: none
	On            []string      // connect, reset, timeout and statuses from 500 to 599; empty: never
	Budget        int           // percent of the requests of late that may be retries, 0 to 100
	PerTryTimeout time.Duration // of one attempt; 0: none
	BackOff       time.Duration // before the second retry and later ones, 0 to 10 s; grows with each
}

// Hedge says when a request that waits for its answer is sent to a second
// backend as well.
type Hedge struct {
	After  string // a duration, or pN: the N-th percentile of the route's own answers; empty: never
	Budget int    // percent of the requests of late that may be hedged, 0 to 100
}

// CircuitBreaker says when a route is given a rest.
type CircuitBreaker struct {
	ErrorShare  int           // percent of the answers of Window that open it, 1 to 100; 0: there is none
	MinRequests int           // answers within Window before it is asked, at least 1
	Window      time.Duration // 1 s to 5 min
	Open        time.Duration // until a request is let through again to see, at least 100 ms
}

// Pool is a set of backends that serve the same thing.
type Pool struct {
	Name                string
	Balance             string        // the policy: weighted_round_robin, random, first and others
	HashKey             string        // of consistent_hash: client_ip, path, header:NAME, cookie:NAME or query:NAME
	HashBalance         int           // of consistent_hash: percent of a fair part in flight, 110 to 1000; 0: no bound
	AdaptiveConcurrency bool          // max_requests is the most; how many it is follows from latency
	SlowStart           time.Duration // until a backend that comes into rotation has its full weight; 0: at once
	Backends            []Backend     // in the order of the file; addresses are unique
	Health              Health
	Sticky              Sticky
	Queue               Queue
	Drain               Drain
	KeepAlive           KeepAlive
	SendProxyProtocol   string   // off, v1 or v2: the PROXY header that connections begin with
	Timeouts            Timeouts // resolved: defaults, then the pool's
	Limits              Limits   // resolved like Timeouts
}

// Backend is one address of a pool.
type Backend struct {
	Address     string // host:port, [v6]:port or unix:/path
	Weight      int    // 0 to 65535; 0: no traffic
	Tier        int    // 0 serves first; a higher one when all lower are out
	MaxRequests int    // at the same time; 0: no bound
}

// Health says how a pool learns that a backend is unfit.
type Health struct {
	Active         *Active // nil: no probes
	Passive        Passive
	Heartbeat      Heartbeat
	LoadHeader     string // of answers, in which a backend tells its load from 0 to 1; empty: none
	PanicThreshold int    // percent of the backends that must be usable, 0 to 100; 0: none need be
}

// Active is a probe that is made again and again. What does not belong to its
// type is empty.
type Active struct {
	Type            string        // http, tcp, grpc, exec or agent
	Path            string        // http; agent: empty without HTTP
	Method          string        // http
	Host            string        // http; empty: the backend's address
	Headers         []Header      // http
	Payload         string        // http: the body of the request
	Expect          []StatusRange // http: any of them is a pass
	Body            string        // http: must be in the answer's body; empty: not looked at
	ReuseConnection bool          // http: the next probe may use the connection of this one
	Send            string        // tcp and agent: said first
	ExpectText      string        // tcp: must be in what is answered; empty: nothing need be
	Service         string        // grpc; empty: the server as a whole
	Authority       string        // grpc; empty: the backend's address
	Argv            []string      // exec: the program and its arguments
	Port            int           // 0: the backend's own, but for agent, which has one; not for exec
	Interval        time.Duration
	DownInterval    time.Duration // while a backend is down, at least Interval; 0: Interval
	Timeout         time.Duration // at most Interval
	Fall            int           // failures in a row that take a backend out
	Rise            int           // passes in a row that bring it back
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ From, To int }

// Heartbeat says how often backends have to report that they are there.
type Heartbeat struct {
	TTL time.Duration // a backend is out when this long has passed since its last report; 0: none are wanted
}

// Passive says when real traffic takes a backend out.
type Passive struct {
	Enforce           bool          // false: it is only told who would be taken out
	ConsecutiveErrors int           // 0: never
	Ejection          time.Duration // the first time; grows with each
	MaxEjection       time.Duration
	MaxEjected        int      // percent of the pool that may be out at once, 0 to 100
	HalfOpen          bool     // who comes back gets one request at a time until one has gone well
	Count             []string // what is an error: connect, timeout, reset, bad_response and statuses from 500 to 599
	SuccessRate       SuccessRate
}

// SuccessRate ejects backends that succeed less often than the others.
type SuccessRate struct {
	Enabled     bool
	Deviations  float64       // a backend is out that is this many standard deviations below the mean, 0.1 to 10
	MinBackends int           // with enough requests, or nobody is judged; at least 3
	MinRequests int           // of a backend within Interval, or it is not judged; at least 1
	Interval    time.Duration // over which successes are counted, 1 s to 5 min
}

// Sticky keeps a client at the backend that it had, by a cookie.
type Sticky struct {
	Cookie     string        // its name; empty: clients do not stick
	TTL        time.Duration // the cookie's Max-Age; 0: until the browser is closed
	SecretFile string        // as written; holds what the cookie is signed with. Empty: Weir makes a key and keeps it with its history
}

// Queue holds requests while every backend is at its max_requests.
type Queue struct {
	Size    int           // requests that wait at most; 0: none wait
	Timeout time.Duration // how long one waits at most
}

// Drain says how a backend leaves that is drained or no longer listed.
type Drain struct {
	Timeout time.Duration // after which what still runs is closed; 0: it may run on for ever
}

// KeepAlive says how long unused connections to backends are kept.
type KeepAlive struct {
	IdlePerBackend int           // connections to one backend; 0: none are kept
	IdleTimeout    time.Duration // a connection's, unused
}
