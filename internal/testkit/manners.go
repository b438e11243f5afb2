package testkit

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Answer sends a whole response: lines are header lines without their ends.
// Content-Length is added.
func Answer(status int, body string, lines ...string) Manner {
	text := fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n", status, http.StatusText(status), joined(lines), len(body))
	return func(x *Exchange) bool {
		if err := x.finish(); err != nil {
			return false
		}
		x.Write(text + onlyIf(x.Method() != "HEAD", body))
		return true
	}
}

// Named answers 200 with the header X-Backend: name, and name as the body.
func Named(name string) Manner { return Answer(200, name, "X-Backend: "+name) }

// Raw sends text as it is and keeps the connection if keep says so.
func Raw(text string, keep bool) Manner {
	return func(x *Exchange) bool {
		if keep && x.finish() != nil {
			return false
		}
		x.Write(text)
		return keep
	}
}

// Echo answers with the request as received: its head, and its body decoded.
func Echo(x *Exchange) bool {
	body, err := x.Body()
	if err != nil {
		return false
	}
	text := x.Head + string(body)
	x.Write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: %d\r\n\r\n", len(text)))
	x.Write(onlyIf(x.Method() != "HEAD", text))
	return true
}

// CloseBeforeHead closes without a word.
func CloseBeforeHead(*Exchange) bool { return false }

// CloseInHead closes after half a response head.
func CloseInHead(x *Exchange) bool {
	x.Write("HTTP/1.1 200 OK\r\nContent-Type: te")
	return false
}

// CloseAfterHead announces ten bytes and closes before the first of them.
func CloseAfterHead(x *Exchange) bool {
	x.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
	return false
}

// HalfBody announces more bytes than it sends, then closes.
func HalfBody(announced, sent int) Manner {
	return func(x *Exchange) bool {
		x.Write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", announced, strings.Repeat("x", sent)))
		return false
	}
}

// HalfChunked sends a chunk and closes without the last chunk.
func HalfChunked(x *Exchange) bool {
	x.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	return false
}

// NeverAnswer reads the request and leaves the client waiting until it hangs
// up or the backend ends.
func NeverAnswer(x *Exchange) bool {
	_, _ = io.Copy(io.Discard, x.R)
	return false
}

// StopInBody sends a head and part of the body, then nothing more until the
// client hangs up.
func StopInBody(x *Exchange) bool {
	x.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
	return NeverAnswer(x)
}

// After waits before it behaves as m does.
func After(d time.Duration, m Manner) Manner {
	return func(x *Exchange) bool { return x.Wait(d) && m(x) }
}

// Drip sends body one byte every d.
func Drip(body string, d time.Duration) Manner {
	return func(x *Exchange) bool {
		x.Write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)))
		for i := range body {
			if !x.Wait(d) || !x.Write(body[i:i+1]) {
				return false
			}
		}
		return true
	}
}

// Reset resets the connection instead of answering.
func Reset(x *Exchange) bool {
	reset(x.Conn)
	return false
}

// ResetInBody resets the connection inside the body.
func ResetInBody(x *Exchange) bool {
	x.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
	x.Wait(20 * time.Millisecond) // a reset overtakes what has not been read
	return Reset(x)
}

// CloseIdle answers as m does and closes the connection d later, although it
// had not said so.
func CloseIdle(d time.Duration, m Manner) Manner {
	return func(x *Exchange) bool {
		m(x)
		x.Wait(d)
		return false
	}
}

// HugeHeader answers with a header of about n bytes.
func HugeHeader(n int) Manner {
	return Answer(200, "", "X-Huge: "+strings.Repeat("h", n))
}

// EndlessHeader never comes to the end of the head.
func EndlessHeader(x *Exchange) bool {
	x.Write("HTTP/1.1 200 OK\r\n")
	for {
		if !x.Write("X-More: " + strings.Repeat("m", 1000) + "\r\n") {
			return false
		}
	}
}

// Chunked sends each string as one chunk, then the trailer lines.
func Chunked(chunks, trailers []string, lines ...string) Manner {
	return func(x *Exchange) bool {
		if x.finish() != nil {
			return false
		}
		x.Write("HTTP/1.1 200 OK\r\n" + joined(lines) + "Transfer-Encoding: chunked\r\n\r\n")
		for _, c := range chunks {
			x.Write(fmt.Sprintf("%x\r\n%s\r\n", len(c), c))
		}
		x.Write("0\r\n" + joined(trailers) + "\r\n")
		return true
	}
}

// Interim sends an informational response before it answers as m does.
func Interim(status int, m Manner, lines ...string) Manner {
	return func(x *Exchange) bool {
		x.Write(fmt.Sprintf("HTTP/1.1 %d Interim\r\n%s\r\n", status, joined(lines)))
		return m(x)
	}
}

// Events is a stream of server-sent events: each string that comes from
// events is one; the stream ends when events is closed.
func Events(events <-chan string) Manner {
	return func(x *Exchange) bool {
		x.Write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			select {
			case e, ok := <-events:
				if !ok {
					x.Write("0\r\n\r\n")
					return true
				}
				text := "data: " + e + "\n\n"
				if !x.Write(fmt.Sprintf("%x\r\n%s\r\n", len(text), text)) {
					return false
				}
			case <-x.Done:
				return false
			}
		}
	}
}

// Surplus answers and sends extra bytes after the end of the answer.
func Surplus(extra string) Manner {
	return func(x *Exchange) bool {
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + extra)
		return true
	}
}

// Late answers as m does and d later, on the idle connection, sends text that
// nobody asked for.
func Late(d time.Duration, text string, m Manner) Manner {
	return func(x *Exchange) bool {
		keep := m(x)
		x.Wait(d)
		x.Write(text)
		return keep
	}
}

// Early answers without having read the body, and closes.
func Early(status int) Manner {
	return func(x *Exchange) bool {
		x.Write(fmt.Sprintf("HTTP/1.1 %d Early\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status))
		return false
	}
}

// webSocketGUID is the constant of RFC 6455, section 1.3.
const webSocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// WebSocket accepts an upgrade and then echoes bytes, without looking at
// frames. A request that asks for no upgrade is answered 400.
func WebSocket(x *Exchange) bool {
	if !strings.EqualFold(x.Header("Upgrade"), "websocket") {
		return Answer(400, "not an upgrade")(x)
	}
	sum := sha1.Sum([]byte(x.Header("Sec-WebSocket-Key") + webSocketGUID))
	x.Write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
	_, _ = x.R.WriteTo(x.Conn)
	return false
}

// ByPath behaves as the manner of the longest prefix of the path does, and
// answers 404 if there is none.
func ByPath(manners map[string]Manner) Manner {
	return func(x *Exchange) bool {
		best, found := "", Answer(404, "")
		for prefix, m := range manners {
			if strings.HasPrefix(x.Path(), prefix) && len(prefix) >= len(best) {
				best, found = prefix, m
			}
		}
		return found(x)
	}
}

// joined is header lines with their ends.
func joined(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

func onlyIf(ok bool, s string) string {
	if ok {
		return s
	}
	return ""
}
