package health

import (
	"bytes"
	"context"
	"fmt"
	"net"
)

const maxTalk = 64 << 10 // how far into what a peer says Expect is looked for

// TCP is the Check that is content when a connection opens, or when the peer
// then says what it should. The zero value connects to the backend's own port.
type TCP struct {
	Port   int    // asked instead of the backend's own port; 0: the backend's own. Unix sockets have none
	Hello  []byte // sent to the backend's own port: it may want a PROXY header
	Send   []byte // sent then, whichever port it is
	Expect []byte // must occur in the first 64 KiB of what the peer says; empty: it need say nothing
}

// Probe connects to addr, says and hears what it is to, and closes the
// connection again. With Expect and without Send it is the peer who begins.
func (c TCP) Probe(ctx context.Context, addr string) error {
	return c.probe(ctx, dial(withPort(addr, c.Port)))
}

// probe is Probe over whatever o opens.
func (c TCP) probe(ctx context.Context, o opening) error {
	conn, err := o.hello(ctx, c.Port, c.Hello)
	if err != nil {
		return err
	}
	// What the close says is no verdict on the backend: it accepted.
	defer conn.Close()
	if len(c.Send) == 0 && len(c.Expect) == 0 {
		return nil
	}
	defer untilDone(ctx, conn)()
	if _, err := conn.Write(c.Send); err != nil {
		return fmt.Errorf("send: %w", cause(ctx, err))
	}
	return c.listen(ctx, conn)
}

// listen reads from conn until Expect has come.
func (c TCP) listen(ctx context.Context, conn net.Conn) error {
	if len(c.Expect) == 0 {
		return nil
	}
	said, found, err := readUntil(conn, maxTalk, func(said []byte, fresh int) bool {
		return bytes.Contains(said[max(0, fresh-len(c.Expect)+1):], c.Expect)
	})
	if found {
		return nil
	}
	missed := fmt.Errorf("answer %.64q does not contain %q", said, c.Expect)
	if err != nil {
		return fmt.Errorf("%w: %w", missed, cause(ctx, err))
	}
	return missed
}
