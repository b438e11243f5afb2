package conformance

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// politely bounds how long @CLOSE@ waits for the proxy to close, too: whoever
// closes with octets unread takes back what it has said.
const politely = 300 * time.Millisecond

// play writes a script and says whether the connection goes on.
func (o *Origin) play(c net.Conn, r *bufio.Reader, script []string, played chan struct{}) bool {
	defer o.finish(played)
	for _, step := range script {
		switch {
		case step == "@CLOSE@":
			_ = c.(*net.TCPConn).CloseWrite()
			o.finish(played)
			_ = c.SetReadDeadline(time.Now().Add(politely))
			_, _ = io.Copy(io.Discard, r)
			return false
		case step == "@RESET@":
			_ = c.(*net.TCPConn).SetLinger(0)
			return false
		case step == "@HANG@":
			o.finish(played)
			_, _ = io.Copy(io.Discard, r) // until the proxy has enough of it
			return false
		case strings.HasPrefix(step, "@WAIT "):
			if !o.wait(step) {
				return false
			}
		default:
			if _, err := io.WriteString(c, step); err != nil {
				return false
			}
		}
	}
	return true
}

// finish tells that the script was played; a second time changes nothing.
func (o *Origin) finish(played chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-played:
	default:
		close(played)
	}
}

// wait does what "@WAIT 50@" says; false means that the origin ends.
func (o *Origin) wait(step string) bool {
	ms, _ := strconv.Atoi(strings.Trim(step, "@WAIT "))
	t := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-o.ended:
		return false
	}
}
