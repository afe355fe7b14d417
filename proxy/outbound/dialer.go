package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Dialer makes connections. Make it with New. Its methods are safe for
// concurrent use. It owns no goroutine beyond a call, and need not be closed.
type Dialer struct {
	config  Config
	deps    Dependencies
	metrics *metrics
	silent  *silence
	routes  *routes
}

// New makes a Dialer. It reads the files that parents' settings name. It fails
// on settings that make no sense, on files that cannot be used, and where the
// metrics are registered already.
func New(config Config, dependencies Dependencies) (*Dialer, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	deps := dependencies.complete()
	d := &Dialer{config: config, deps: deps, metrics: newMetrics(), silent: newSilence()}
	parents := map[string]*parent{}
	for _, c := range config.Parents {
		if _, twice := parents[c.Name]; twice {
			return nil, fmt.Errorf("outbound: parent %q is there twice", c.Name)
		}
		if parents[c.Name], err = newParent(c, d); err != nil {
			return nil, err
		}
		d.metrics.begin(c.Name)
	}
	if d.routes, err = newRoutes(config.Routes, parents); err != nil {
		return nil, err
	}
	if err := d.metrics.register(deps.Registerer); err != nil {
		return nil, err
	}
	return d, nil
}

// NeedsAddrs reports whether a Target with that name needs addresses. It does
// not where every way to it is a parent that looks names up itself. Destinations
// that a route names by network are not seen then: what has not been looked up
// is in none.
func (d *Dialer) NeedsAddrs(name string) bool { return d.routes.find(name, nil).needsAddrs() }

// Dial connects to a destination. It returns within Config.Timeout or when ctx
// ends, and when no attempt is under way any more. The connection does not
// depend on ctx.
func (d *Dialer) Dial(ctx context.Context, t Target) (Conn, error) {
	began := time.Now()
	deadline := began.Add(d.config.Timeout)
	var conn Conn
	var err error
	if r := d.routes.find(t.Host, t.Addrs); r == nil {
		conn, err = d.direct(ctx, t, deadline)
	} else {
		conn, err = d.follow(ctx, r, t, deadline)
	}
	d.deps.Dialled(Result(err), time.Since(began))
	return conn, err
}

// direct connects straight to one of the addresses.
func (d *Dialer) direct(ctx context.Context, t Target, deadline time.Time) (Conn, error) {
	conn, err := d.connect(ctx, t.Addrs, t.Port, deadline)
	d.metrics.dialled(Direct, Result(err))
	if err != nil {
		return Conn{}, err
	}
	return Conn{Conn: conn, Via: Direct, Remote: remoteOf(conn)}, nil
}

// connect races the addresses.
func (d *Dialer) connect(ctx context.Context, addresses []netip.Addr, port uint16, deadline time.Time) (*net.TCPConn, error) {
	if len(addresses) == 0 {
		return nil, errors.New("dial: no address")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dial: %w", err) // else it is a matter of luck which error comes first
	}
	r := &race{
		parent:    ctx,
		deadline:  deadline,
		headStart: d.config.HeadStart,
		targets:   d.order(addresses, port),
		silent:    d.silent,
	}
	conn, err := r.run()
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return conn, nil
}

// remoteOf is who is at the other end.
func remoteOf(conn *net.TCPConn) netip.AddrPort {
	address, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := address.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
