package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// lookup finds the addresses of a name.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// listDialer reaches the servers of lists. The machine's own resolver may well
// be this gateway, which answers nobody yet as it starts, and refuses names that
// its policy refuses: so names are looked up where the gateway looks them up
// for others, undecided, and at the machine's resolver only then. Private
// destinations are as good as any: mirrors are often inside.
type listDialer struct {
	lookups []lookup // in the order in which they are tried
	dialer  net.Dialer
}

func newListDialer(timeout time.Duration, lookups ...lookup) *listDialer {
	return &listDialer{lookups: lookups, dialer: net.Dialer{Timeout: timeout}}
}

// dial is a listDial.
func (d *listDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, addr := range addrs {
		conn, err := d.dialer.DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

func (d *listDialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	failed := []error{fmt.Errorf("no address was found for %q", host)}
	for _, find := range d.lookups {
		addrs, err := find(ctx, host)
		if len(addrs) > 0 {
			return addrs, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// lookupByDoor looks a name up as the DNS door does for its clients. There is
// no door while New waits for lists.
func (g *Gateway) lookupByDoor(ctx context.Context, host string) ([]netip.Addr, error) {
	if g.dns == nil {
		return nil, nil
	}
	name, err := policy.ParseHost(host)
	if err != nil {
		return nil, err
	}
	found, err := g.resolve(ctx, name.Name())
	return found.Addrs, err
}

// lookupAt looks names up at the resolvers that the configuration names, those
// that speak plain DNS, and at the machine's where there is none.
func lookupAt(upstreams []string) lookup {
	servers := plainServers(upstreams)
	resolver := &net.Resolver{PreferGo: true}
	var turn atomic.Uint32
	if len(servers) > 0 {
		resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, servers[int(turn.Add(1)-1)%len(servers)])
		}
	}
	return func(ctx context.Context, host string) ([]netip.Addr, error) {
		addrs, err := resolver.LookupNetIP(ctx, "ip", host)
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
		return addrs, err
	}
}

// plainServers are the upstreams that can be asked by UDP or TCP, as host:port.
func plainServers(upstreams []string) []string {
	var servers []string
	for _, upstream := range upstreams {
		scheme, address, found := strings.Cut(upstream, "://")
		switch {
		case !found:
			address = upstream
		case scheme != "udp" && scheme != "tcp":
			continue
		}
		address = strings.TrimSuffix(address, "/")
		if at, err := netip.ParseAddrPort(address); err == nil {
			servers = append(servers, at.String())
		} else if addr, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr, 53).String())
		}
	}
	return servers
}
