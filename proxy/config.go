package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/proxy/outbound"
)

// Config is what an admin decides about the proxy door. Its zero value serves
// nobody and reaches no private network.
type Config struct {
	// Listen holds TCP addresses, host:port. Port 0 takes any free one.
	Listen []string

	// Transparent is where the system redirects connections to whose clients
	// know of no proxy.
	Transparent Transparent

	// SOCKS holds the addresses at which clients speak SOCKS 5 (RFC 1928).
	SOCKS []string

	// TLS is where clients speak to the proxy inside TLS.
	TLS TLS

	// Clients may use the proxy; everyone else gets a plain 403 before
	// anything is looked at. Empty: nobody.
	Clients []netip.Prefix

	// ProxyFrom are the networks of load balancers, which must begin each
	// connection, on every listener, with a PROXY protocol header that says for
	// whom they ask, and are believed. A connection of theirs without one is
	// closed. Anybody else's header is a bad request.
	ProxyFrom []netip.Prefix

	// DenyNetworks are destinations that are never dialled.
	DenyNetworks DenyNetworks

	// Outbound says how destinations are reached: directly, or by way of parent
	// proxies. Its Timeout is Timeouts.Dial, whatever it says.
	Outbound outbound.Config

	// Mismatch says what becomes of connections that contradict themselves.
	Mismatch Mismatch

	// Timeouts bound every wait.
	Timeouts Timeouts

	// CanAuthenticate is true where user names and passwords are configured,
	// so that asking for them (407) makes sense.
	CanAuthenticate bool

	// InterceptAll has Dependencies.Intercept answer the refused CONNECT of any
	// client, and not of browsers alone.
	InterceptAll bool

	// Realm is shown by browsers that ask for a password. Empty: sallyport.
	Realm string

	// MaxHeaderBytes bounds a request's head. 0: 64 KiB.
	MaxHeaderBytes int

	// MaxConns bounds the client connections that are not tunnels; more get 503
	// as they come, and are closed. A sixteenth of them, one at least, may be lingering:
	// refused, and still sending. 0: 16,384.
	MaxConns int

	// MaxConnsPerClient bounds those of one client, so that none can take all
	// of MaxConns. A client is an IPv4 address or an IPv6 network of 64 bits;
	// a whole office may stand behind one. 0: a quarter of MaxConns, and 64 at
	// least.
	MaxConnsPerClient int

	// MaxTunnels bounds open tunnels, WebSockets and plain requests under way;
	// more get 503. 0: 65,536.
	MaxTunnels int

	// MaxTunnelsPerClient bounds those of one client, counted as
	// MaxConnsPerClient counts. 0: a quarter of MaxTunnels, and 64 at least.
	MaxTunnelsPerClient int

	// Rate bounds the requests of one client in a second, counted as
	// MaxConnsPerClient counts; after a silence it may send twice as many at
	// once. More get 429. 0: no bound.
	Rate int

	// RateExempt are the networks of clients to whom Rate does not apply.
	RateExempt []netip.Prefix

	// MaxBody bounds the body of a plain request, in bytes; more gets 413. 0: no
	// bound.
	MaxBody int64

	// MinBodyRate is how many bytes a second of such a body must come, on
	// average over the time that was spent waiting for the client less
	// Timeouts.Body; who is slower gets 408. 0: a body may be however slow, as
	// long as it is not idle.
	MinBodyRate int

	// Bandwidth bounds what groups move, in bytes a second each way, by the
	// name that a verdict has for them; policy.NoGroup for those of none. The
	// clients of a group share it evenly, whatever they open.
	Bandwidth map[string]int64
}

// Timeouts bound the waits of a connection. A zero takes the default, a
// negative value is an error: there is no way to wait for ever.
type Timeouts struct {
	// Dial bounds finding out the addresses of a name, and then connecting to
	// one of them: each may take this long. Default 10 s.
	Dial time.Duration

	// Header bounds the arrival of a request's head, counted from its first
	// byte (on a new connection: from accept). Default 10 s.
	Header time.Duration

	// FirstByte bounds the arrival of a whole ClientHello in a tunnel,
	// counted from its first byte. Default 5 s.
	FirstByte time.Duration

	// Peek bounds the wait for a redirected client's first byte: a client that
	// waits for the server to speak first is delayed by as much. Default
	// 300 ms.
	Peek time.Duration

	// Body is how long the body of a plain request may take before its rate
	// counts (see Config.MinBodyRate). Default 20 s.
	Body time.Duration

	// Silent closes a tunnel or a WebSocket in which nothing at all has moved
	// since it was opened. Default 5 min.
	Silent time.Duration

	// Idle closes a tunnel, a WebSocket or a plain exchange in which nothing
	// has moved either way for this long. Default 1 h.
	Idle time.Duration
}

// Transparent says how connections come that the system redirects (see
// deploy/network/nftables). It needs Linux.
type Transparent struct {
	// Listen holds TCP addresses, host:port. Empty: the door is shut.
	Listen []string

	// TProxy is set where packets come as they are (TPROXY), so that a
	// connection's local address is where it was going. Else they come with
	// their destination changed (REDIRECT), and the system is asked for what it
	// was. TPROXY needs CAP_NET_ADMIN.
	TProxy bool
}

// control prepares the listening sockets.
func (t Transparent) control() func(network, address string, raw syscall.RawConn) error {
	if !t.TProxy {
		return nil
	}
	return acceptForeign
}

// originalDestination is where a redirected connection was going.
func (s *Server) originalDestination(conn *net.TCPConn) (netip.AddrPort, error) {
	if s.dependencies.Original != nil {
		return s.dependencies.Original(conn)
	}
	find := redirectedTo
	if s.config.Transparent.TProxy {
		find = func(conn *net.TCPConn) (netip.AddrPort, error) { return netip.ParseAddrPort(conn.LocalAddr().String()) }
	}
	at, err := find(conn)
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()), err
}

// DenyNetworks says which destinations are never dialled. The zero value
// denies every private and special-purpose network; IPv6 forms that carry an
// IPv4 address are judged by that address too. The gateway's own listeners
// are denied whatever is set here.
type DenyNetworks struct {
	// None denies nothing.
	None bool

	// Prefixes, where there are any, are denied in place of the private ones.
	Prefixes []netip.Prefix
}

// Defaults of Config.
const (
	defaultDial      = 10 * time.Second
	defaultHeader    = 10 * time.Second
	defaultFirstByte = 5 * time.Second
	defaultPeek      = 300 * time.Millisecond
	defaultBody      = 20 * time.Second
	defaultSilent    = 5 * time.Minute
	defaultIdle      = time.Hour

	defaultRealm          = "sallyport"
	defaultMaxHeaderBytes = 64 << 10
	defaultMaxConns       = 16 << 10
	defaultMaxTunnels     = 64 << 10

	leastPerClient = 64 // connections, and tunnels

	// keepAliveIdle closes a client connection on which no request has come
	// for this long, unless Timeouts.Idle is shorter.
	keepAliveIdle = 2 * time.Minute
)

// complete checks c and fills in the defaults.
func (c Config) complete() (Config, error) {
	if len(c.Listen)+len(c.Transparent.Listen)+len(c.SOCKS)+len(c.TLS.Listen) == 0 {
		return c, errors.New("proxy: no listen address: name at least one, for example 127.0.0.1:3128")
	}
	for _, address := range slices.Concat(c.Listen, c.Transparent.Listen, c.SOCKS, c.TLS.Listen) {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return c, fmt.Errorf("proxy: listen address %q: %w: write host:port, for example 127.0.0.1:3128", address, err)
		}
	}
	if c.DenyNetworks.None && len(c.DenyNetworks.Prefixes) > 0 {
		return c, errors.New("proxy: deny networks: none and a list exclude each other")
	}
	if err := c.Timeouts.complete(); err != nil {
		return c, err
	}
	c.Outbound.Timeout = c.Timeouts.Dial
	var err error
	if c.Mismatch, err = c.Mismatch.complete(); err != nil {
		return c, err
	}
	if err := c.completeBounds(); err != nil {
		return c, err
	}
	if c.Realm == "" {
		c.Realm = defaultRealm
	}
	return c, nil
}

// complete gives timeouts that are 0 their usual values.
func (t *Timeouts) complete() error {
	for _, timeout := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{
		{"dial", &t.Dial, defaultDial},
		{"header", &t.Header, defaultHeader},
		{"first_byte", &t.FirstByte, defaultFirstByte},
		{"peek", &t.Peek, defaultPeek},
		{"body", &t.Body, defaultBody},
		{"silent", &t.Silent, defaultSilent},
		{"idle", &t.Idle, defaultIdle},
	} {
		if *timeout.value < 0 {
			return fmt.Errorf("proxy: timeout %s is %v: use a positive duration", timeout.name, *timeout.value)
		}
		if *timeout.value == 0 {
			*timeout.value = timeout.fallback
		}
	}
	return nil
}

// completeBounds gives bounds that are 0 their usual values.
func (c *Config) completeBounds() error {
	for _, bound := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"header bytes", &c.MaxHeaderBytes, defaultMaxHeaderBytes},
		{"connections", &c.MaxConns, defaultMaxConns},
		{"connections of one client", &c.MaxConnsPerClient, 0},
		{"tunnels", &c.MaxTunnels, defaultMaxTunnels},
		{"tunnels of one client", &c.MaxTunnelsPerClient, 0},
		{"requests in a second", &c.Rate, 0},
		{"bytes of a body in a second", &c.MinBodyRate, 0},
	} {
		if *bound.value < 0 {
			return fmt.Errorf("proxy: maximum of %s is %d: use a positive number", bound.name, *bound.value)
		}
		if *bound.value == 0 {
			*bound.value = bound.fallback
		}
	}
	if c.MaxConnsPerClient == 0 {
		c.MaxConnsPerClient = max(c.MaxConns/4, leastPerClient)
	}
	if c.MaxTunnelsPerClient == 0 {
		c.MaxTunnelsPerClient = max(c.MaxTunnels/4, leastPerClient)
	}
	if c.MaxBody < 0 {
		return fmt.Errorf("proxy: maximum of a body is %d bytes: use a positive number", c.MaxBody)
	}
	return nil
}
