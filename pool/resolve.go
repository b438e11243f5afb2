package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"weir/internal/loop"
)

const (
	resolveEvery   = 30 * time.Second
	resolveRetry   = time.Second // after a failure; doubled up to resolveEvery
	resolveTimeout = 5 * time.Second
	tryTimeout     = 250 * time.Millisecond
)

// locate sets b's target where the address says it, and otherwise starts the
// goroutine that looks the name up. p.mu is held.
func (p *Pool) locate(b *Backend) error {
	if path, ok := strings.CutPrefix(b.address, "unix:"); ok {
		b.moveTo(loop.AddrFromPath(path))
		return nil
	}
	if ap, err := netip.ParseAddrPort(b.address); err == nil {
		b.moveTo(loop.AddrFromPort(ap))
		return nil
	}
	host, port, err := net.SplitHostPort(b.address)
	if err != nil {
		return errors.New("want host:port, [v6]:port or unix:/path")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	if p.closing {
		return nil
	}
	ctx, cancel := context.WithCancel(p.ctx)
	b.stopName = cancel
	p.wg.Go(func() { p.follow(ctx, b, host, uint16(n)) })
	return nil
}

func (b *Backend) moveTo(a loop.Addr) { b.target.Store(&a) }

// follow keeps b's target what its name resolves to, until ctx ends.
func (p *Pool) follow(ctx context.Context, b *Backend, host string, port uint16) {
	retry := resolveRetry
	for {
		addr, err := p.lookUp(ctx, b, host, port)
		if ctx.Err() != nil {
			return
		}
		wait := resolveEvery
		if err != nil {
			wait = retry
			retry = min(2*retry, resolveEvery)
			p.lost(b, host, err)
		} else {
			retry = resolveRetry
			p.found(b, host, loop.AddrFromPort(addr))
		}
		timer := time.NewTimer(time.Duration((0.9 + 0.2*p.rand()) * float64(wait)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// lookUp resolves host to one address. The present one is kept while it is
// among the answers: name servers rotate them.
func (p *Pool) lookUp(ctx context.Context, b *Backend, host string, port uint16) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	answers, err := p.resolve(ctx, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addrs := make([]netip.AddrPort, len(answers))
	for i, a := range answers {
		addrs[i] = netip.AddrPortFrom(a.Unmap(), port)
	}
	if len(addrs) == 0 {
		return netip.AddrPort{}, errors.New("no addresses")
	}
	slices.SortStableFunc(addrs, func(a, b netip.AddrPort) int { // IPv4 first
		return a.Addr().BitLen() - b.Addr().BitLen()
	})
	if bothLoopbacks(addrs) {
		return listening(ctx, addrs), nil
	}
	for _, a := range addrs {
		if loop.AddrFromPort(a) == b.Target() {
			return a, nil
		}
	}
	return addrs[0], nil
}

// bothLoopbacks reports whether addrs, IPv4 first, are what localhost is on most
// machines: 127.0.0.1 and ::1.
func bothLoopbacks(addrs []netip.AddrPort) bool {
	first, last := addrs[0].Addr(), addrs[len(addrs)-1].Addr()
	return first.IsLoopback() && last.IsLoopback() && first.Is4() != last.Is4()
}

// listening is the first of addrs that accepts a connection, and the first if
// none does. Many servers bind only one of localhost's two addresses, and which
// one nobody remembers; asking them costs nothing.
func listening(ctx context.Context, addrs []netip.AddrPort) netip.AddrPort {
	d := net.Dialer{Timeout: tryTimeout}
	for _, a := range addrs {
		if conn, err := d.DialContext(ctx, "tcp", a.String()); err == nil {
			_ = conn.Close() // it has said what it was asked
			return a
		}
	}
	return addrs[0]
}

// found enters an answer.
func (p *Pool) found(b *Backend, host string, a loop.Addr) {
	p.mu.Lock()
	defer p.unlock()
	recovered := b.nameError != ""
	b.nameError = ""
	if b.Target() != a && !b.retired.Load() {
		b.moveTo(a)
		now := time.Now()
		b.settleState(now)
		if p.listed[b.address] == b {
			p.change(b, now, EventResolved, fmt.Sprintf("%s is %s", host, a))
		}
		p.probeStale = true
		p.refresh(now)
	} else if recovered {
		p.log.Info("name resolves again", zap.String("pool", p.name), zap.String("backend", b.address))
	}
	if b.check == nil {
		b.settle()
	}
}

// lost enters a failure. The last good answer stays in use: a name server that
// is down must not take down what it once named.
func (p *Pool) lost(b *Backend, host string, err error) {
	p.mu.Lock()
	defer p.unlock()
	first := b.nameError == ""
	b.nameError = fmt.Sprintf("resolve %s: %v", host, err)
	b.settleState(time.Now())
	b.settle()
	if !first || p.listed[b.address] != b {
		return
	}
	if b.target.Load() == nil {
		p.change(b, time.Now(), EventUnresolved, b.nameError)
		return
	}
	p.log.Warn("name does not resolve, using its last address",
		zap.String("pool", p.name), zap.String("backend", b.address), zap.Error(err))
}
