package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/internal/config"
)

// check is the check of a pool with these keys under health.active.
func check(t *testing.T, keys string) config.Active {
	t.Helper()
	return *parse(t, pool("backends: [], health: {active: {"+keys+"}}")).Pools[0].Health.Active
}

func TestActive(t *testing.T) {
	active := func(keys string) config.Active { t.Helper(); return check(t, keys) }
	want := config.Active{
		Type: "http", Path: "/", Method: "GET", Expect: []config.StatusRange{{From: 200, To: 399}}, ReuseConnection: true,
		Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 2,
	}
	if got := active(""); !reflect.DeepEqual(got, want) {
		t.Errorf("active: {} is %+v, want %+v", got, want)
	}
	if got := active("interval: 1s").Timeout; got != time.Second {
		t.Errorf("timeout %v, want the interval's 1s", got)
	}
	if active("reuse_connection: false").ReuseConnection {
		t.Error("connections are reused although it is switched off")
	}
	if got := active("type: tcp, port: 81"); got.Type != "tcp" || got.Port != 81 {
		t.Errorf("got %+v", got)
	}
	if got := active("host: 'a.example:80', path: '/h?x=y'"); got.Host != "a.example:80" || got.Path != "/h?x=y" {
		t.Errorf("got %+v", got)
	}

	expect := func(text string, want ...config.StatusRange) {
		t.Helper()
		if got := active("expect: " + text).Expect; !reflect.DeepEqual(got, want) {
			t.Errorf("expect %s is %v, want %v", text, got, want)
		}
	}
	expect("200-399", config.StatusRange{From: 200, To: 399})
	expect("200", config.StatusRange{From: 200, To: 200})
	expect(`"200, 204,300-399"`, config.StatusRange{From: 200, To: 200}, config.StatusRange{From: 204, To: 204}, config.StatusRange{From: 300, To: 399})
	expect("[200, 204, 300-399]", config.StatusRange{From: 200, To: 200}, config.StatusRange{From: 204, To: 204}, config.StatusRange{From: 300, To: 399})

	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, pool("backends: [], health: {active: {"+keys+"}}"), "active", want...)
	}
	f("timeout: 9s", `.timeout: 9s is longer than the interval 5s; a probe must end before the next starts`)
	f("timeout: 0s, interval: 0s", `.timeout: it must be longer than 0s`, `.interval: it must be longer than 0s`)
	f("fall: 0, rise: 0", `.fall: 0 is less than 1`, `.rise: 0 is less than 1`)
	f("type: udp", `.type: "udp" is not known; known here: http, tcp, grpc, exec, agent`)
	f("path: healthz", `.path: "healthz" is not a path from /, with or without a query; such as /healthz`)
	f("path: ''", `.path: "" is not a path from /, with or without a query; such as /healthz`)
	f("method: get", `.method: methods are case-sensitive and nobody sends "get"; write GET`)
	f("method: HEAD, body: ok", `.body: an answer to HEAD has no body to look in; use method GET`)
	f("host: 'a b'", `.host: "a b" is not a host name; one has letters, digits, hyphens and dots (others in their xn-- form)`)
	f("headers: {host: a}", `.headers.host: the Host header has a key of its own; use host`)
	f("headers: {Content-Length: 1}", `.headers.Content-Length: Content-Length belongs to the connection or the framing of a message; Weir writes it itself; remove it`)
	f("headers: {'a b': c}", `.headers.a b: "a b" is not a header name`)
	f(`headers: {a: "b\nc"}`, `.headers.a: "b\nc" has the control character '\n'`)
	f("payload: x", `.payload: a request with method GET has no body to send it in; use method POST`)
	f("method: HEAD, payload: x", `.payload: a request with method HEAD has no body to send it in; use method POST`)
	f("method: [], payload: x", `.method: want text, not a list`)
	f("down_interval: 4s", `.down_interval: 4s is shorter than the interval 5s; 0s is the interval`)
	f("down_interval: 1s, interval: 5", `.interval: "5" has no unit; write 5s, or 5ms`)
	f("reuse_connection: 0", `.reuse_connection: "0" is neither true nor false; write true or false`)
	f("port: 65536", `.port: 65536 is not between 0 and 65535`)
	f("expect: 2xx", `.expect: "2xx" is not a status between 100 and 599, or a range of them; such as 200-399, or 200,204`)
	f("expect: 399-200", `.expect: "399-200" is not a status between 100 and 599, or a range of them; such as 200-399, or 200,204`)
	f("expect: [200, 600]", `.expect[1]: "600" is not a status between 100 and 599, or a range of them; such as 200-399, or 200,204`)
	f("expect: []", `.expect: an empty list: no answer would pass; such as 200-399`)
	f("expect: {}", `.expect: want a status or a range such as 200-399, not a mapping`)
	wantProblems(t, pool("backends: [], health: {active: }"), "active", `: a check with nothing in it; write active: {} to probe with the defaults, or remove it`)
}

// Each type has its keys, and nothing of another's.
func TestActiveTypes(t *testing.T) {
	f := func(keys string, want config.Active) {
		t.Helper()
		want.Interval, want.Timeout, want.Fall, want.Rise = 5*time.Second, 2*time.Second, 3, 2
		if got := check(t, keys); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is\n%+v, want\n%+v", keys, got, want)
		}
	}
	f("type: tcp", config.Active{Type: "tcp"})
	f(`type: tcp, port: 81, send: "PING\r\n", expect_text: PONG`, config.Active{Type: "tcp", Port: 81, Send: "PING\r\n", ExpectText: "PONG"})
	f("method: POST, headers: {A: b, a: ''}, payload: '{}'", config.Active{
		Type: "http", Path: "/", Method: "POST", Expect: []config.StatusRange{{From: 200, To: 399}},
		Headers: []config.Header{{Name: "A", Value: "b"}, {Name: "a"}}, Payload: "{}", ReuseConnection: true,
	})
	f("type: grpc", config.Active{Type: "grpc"})
	f("type: grpc, port: 81, service: a.B, authority: 'a.example:80'", config.Active{Type: "grpc", Port: 81, Service: "a.B", Authority: "a.example:80"})
	f("type: exec, argv: [check, '', '${HOST}', 7]", config.Active{Type: "exec", Argv: []string{"check", "", "example.com", "7"}})
	f("type: agent, port: 1", config.Active{Type: "agent", Port: 1})
	f(`type: agent, port: 65535, path: '', send: "a\n"`, config.Active{Type: "agent", Port: 65535, Send: "a\n"})
	f("type: agent, port: 81, path: '/a?b=c', send: ''", config.Active{Type: "agent", Port: 81, Path: "/a?b=c"})

	if got := check(t, "down_interval: 30s").DownInterval; got != 30*time.Second {
		t.Errorf("down_interval %v, want 30s", got)
	}
	if got := check(t, "down_interval: 1s, interval: 1s").DownInterval; got != time.Second {
		t.Errorf("down_interval %v, want 1s", got)
	}
}

func TestActiveTypesProblems(t *testing.T) {
	f := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, pool("backends: [], health: {active: {"+keys+"}}"), "active.", want...)
	}
	f("type: grpc, authority: 'a b'", `authority: "a b" is not a host name; one has letters, digits, hyphens and dots (others in their xn-- form)`)
	f("type: tcp, send: [a]", `send: want text, not a list`)

	const such = "; such as [/usr/local/bin/check, --quick]"
	f("type: exec", `argv: missing`+such)
	f("type: exec, argv: []", `argv: an empty list: there is nothing to run`+such)
	f("type: exec, argv: check", `argv: want a list, not the value "check"; write [check]`)
	f("type: exec, argv: ['', a]", `argv[0]: the program has no name; such as /usr/local/bin/check`)
	f("type: exec, argv: ['${EMPTY}']", `argv[0]: the program has no name; such as /usr/local/bin/check`)
	f("type: exec, argv: [a, [b]]", `argv[1]: want text, not a list`)
	f("type: exec, argv: [a, ~]", `argv[1]: an argument with nothing in it; write "" for an empty argument`)
	f(`type: exec, argv: [a, "b\0"]`, `argv[1]: "b\x00" has a NUL, which ends an argument`)

	f("type: agent", `port: missing; where the agent listens`)
	f("type: agent, port: 0", `port: 0 is not between 1 and 65535`)
	f("type: agent, port: 81, path: a", `path: "a" is not a path from /, with or without a query; such as /healthz`)
	f("type: agent, port: 81, path: /a, send: b", `send: an agent with a path is asked by HTTP, and sent nothing else; keep one`)
}

// What belongs to another type is refused, each key by each type.
func TestActiveForeignKeys(t *testing.T) {
	values := map[string]string{
		"path": "/", "method": "GET", "host": "a", "headers": "{}", "payload": "''", "expect": "200", "body": "''",
		"send": "''", "expect_text": "''", "service": "''", "authority": "a", "argv": "[a]", "port": "81", "reuse_connection": "true",
	}
	f := func(kind string, own ...string) {
		t.Helper()
		given := "type: " + kind
		for _, key := range own {
			given += ", " + key + ": " + values[key]
		}
		check(t, given)
		for key, value := range values {
			if strings.Contains(given, " "+key+":") {
				continue
			}
			got := problems(t, pool("backends: [], health: {active: {"+given+", "+key+": "+value+"}}"))
			if len(got) != 1 || !strings.Contains(got[0], "active."+key+": a check of type "+kind+" has no "+key+"; use type ") {
				t.Errorf("%s on a check of type %s: %q", key, kind, got)
			}
		}
	}
	f("http", "path", "method", "host", "headers", "payload", "expect", "body", "port", "reuse_connection")
	f("tcp", "send", "expect_text", "port")
	f("grpc", "service", "authority", "port")
	f("exec", "argv")
	f("agent", "port", "path", "send")

	g := func(keys string, want ...string) {
		t.Helper()
		wantProblems(t, pool("backends: [], health: {active: {"+keys+"}}"), "active.", want...)
	}
	g("type: tcp, path: /, expect: 200",
		`path: a check of type tcp has no path; use type http or agent, or remove it`,
		`expect: a check of type tcp has no expect; use type http, or remove it`)
	g("type: exec, argv: [a], port: 81", `port: a check of type exec has no port; use type http or tcp or grpc or agent, or remove it`)

	// whose they are is not known if the type is not
	g("type: grcp, service: a, port: 81", `type: "grcp" is not known; did you mean "grpc"?`)
	// and a null is no key
	check(t, "type: tcp, path: ")
}
