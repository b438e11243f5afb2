package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"go.uber.org/zap"
)

// Three doors stand before a handler. Host: a page of another site that makes
// its own name point at 127.0.0.1 is sent away. Origin: a page of another
// site cannot change anything. Token: whoever changes something, or reads the
// text of a configuration, knows the secret where there is one.

// checkHost refuses requests that reached a loopback listener under a name
// that is not this machine's: DNS rebinding. Other listeners are reached by
// any name, and have a token. The port is not looked at, for tunnels change it.
func (a *api) checkHost(r *http.Request) error {
	if !a.loopback || loopbackName(r.Host) {
		return nil
	}
	return newProblem(http.StatusForbidden, "foreign-host", fmt.Sprintf(
		"the admin API listens on loopback and answers only to localhost and loopback addresses, not to host %q", r.Host)).
		titled("Foreign host")
}

// checkOrigin refuses requests that a browser sent for a page of another
// origin. Programs that are no browsers send neither header.
func checkOrigin(r *http.Request) error {
	site := r.Header.Get("Sec-Fetch-Site")
	origin := r.Header.Get("Origin")
	foreign := site != "" && site != "same-origin"
	if origin != "" {
		// "null" and whatever does not parse have no host, and match none.
		u, err := url.Parse(origin)
		foreign = foreign || err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host)
	}
	if !foreign {
		return nil
	}
	return newProblem(http.StatusForbidden, "cross-origin", "a page of another origin may not do this").
		titled("Cross-origin request")
}

// checkToken wants the bearer token where one is set. A token that cannot be
// read refuses everybody: a lost file must not open the door.
func (a *api) checkToken(w http.ResponseWriter, r *http.Request) error {
	if a.token == nil {
		return nil
	}
	want, err := a.token()
	if err != nil {
		a.log.Error("admin token cannot be read", zap.Error(err))
		return newProblem(http.StatusServiceUnavailable, "token-unreadable",
			"the token file cannot be read; the log says why").titled("Token unreadable")
	}
	if want == "" {
		return nil
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// Digests have equal lengths, so the comparison does not tell how long
	// the token is.
	w1, g1 := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(strings.TrimSpace(given)))
	if strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(w1[:], g1[:]) == 1 {
		return nil
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="weir"`)
	detail := "this needs the token: Authorization: Bearer TOKEN"
	if given != "" {
		detail = "the token is wrong"
	}
	return newProblem(http.StatusUnauthorized, "token", detail).titled("Token required")
}

// loopbackName reports whether hostport names this machine over loopback.
func loopbackName(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// isLoopback reports whether a is a TCP address of the loopback interface.
func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// authorHeader carries the name of whoever uses a client such as the command
// line. It is a courtesy for the log and the history, not a proof.
const authorHeader = "X-Weir-Author"

// author says who sent a request: the name it gave, and where it came from.
func author(r *http.Request) string {
	from := "unix socket"
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		from = host
	}
	name := printable(r.Header.Get(authorHeader), 64)
	if name == "" {
		return from
	}
	return name + " (" + from + ")"
}

// printable returns at most n characters of s, without those that could
// change how a log or a terminal shows them.
func printable(s string, n int) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
	if runes := []rune(clean); len(runes) > n {
		clean = string(runes[:n])
	}
	return strings.TrimSpace(clean)
}
