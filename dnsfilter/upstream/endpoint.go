package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// endpoint is where a server is. Safe for concurrent use.
type endpoint struct {
	server server
	names  *bootstrap // nil where the address is known
	own    *ownListeners

	mu  sync.Mutex
	bad netip.Addr // did not work the last time: tried last
}

// addresses returns where to reach the server, the likeliest first: at least
// one.
func (e *endpoint) addresses(ctx context.Context) ([]netip.AddrPort, error) {
	if e.server.host == "" {
		return []netip.AddrPort{netip.AddrPortFrom(e.server.addr, e.server.port)}, nil
	}
	addrs, err := e.names.lookUp(ctx, e.server.host)
	if err != nil {
		return nil, fmt.Errorf("find %q: %w", e.server.host, err)
	}
	e.mu.Lock()
	bad := e.bad
	e.mu.Unlock()
	var targets, last []netip.AddrPort
	for _, a := range addrs {
		target := netip.AddrPortFrom(a, e.server.port)
		if err := e.own.refuse(e.server.name, target); err != nil {
			return nil, err
		}
		if a == bad {
			last = append(last, target)
			continue
		}
		targets = append(targets, target)
	}
	return slices.Concat(targets, last), nil
}

// failed notes that an address does not work; it reports whether the server may
// have others, which is so where it has a name.
func (e *endpoint) failed(a netip.Addr) bool {
	if e.server.host == "" {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bad = a
	return true
}

// connect tries dial on one address after the other until one works, each with
// its share of the time that ctx leaves.
func connect[C any](ctx context.Context, e *endpoint, dial func(context.Context, netip.AddrPort) (C, error)) (C, error) {
	var none C
	targets, err := e.addresses(ctx)
	if err != nil {
		return none, err
	}
	for i, target := range targets {
		conn, dialErr := dialShare(ctx, target, len(targets)-i, dial)
		if dialErr == nil {
			return conn, nil
		}
		e.failed(target.Addr())
		err = fmt.Errorf("reach %s: %w", e.server.name, dialErr)
		if ctx.Err() != nil {
			break
		}
	}
	return none, err
}

func dialShare[C any](ctx context.Context, target netip.AddrPort, left int, dial func(context.Context, netip.AddrPort) (C, error)) (C, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		shared, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
		ctx = shared
	}
	return dial(ctx, target)
}

func dialTCP(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", target.String())
}
