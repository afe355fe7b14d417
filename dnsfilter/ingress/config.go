package ingress

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Defaults of Config.
const (
	DefaultPath           = "/dns-query" // RFC 8484 §4.1.1
	DefaultMaxConns       = 4096
	DefaultMaxClientConns = 256
	DefaultIdle           = 10 * time.Second
	DefaultMaxQueries     = 2048
)

// Endpoint is where one encrypted transport listens, and with which files.
type Endpoint struct {
	Listen      []string // empty: not at all
	Certificate string
	Key         string // mode 0600
	ClientCA    string // empty: clients need no certificate
}

// Config says where a Set listens and what its clients may take up. Whatever
// is zero has a default, or is off.
type Config struct {
	Listen []string // UDP and TCP on each
	TLS    Endpoint // RFC 7858
	HTTPS  Endpoint // RFC 8484
	QUIC   Endpoint // RFC 9250

	Path  string // of HTTPS
	HTTP3 bool   // on HTTPS's port, over UDP

	// ProxyFrom are the networks of proxies, which must say for whom they ask
	// with a PROXY protocol header. There is none for QUIC: proxies are
	// refused there.
	ProxyFrom []netip.Prefix

	MaxConns       int           // connections, of every transport together
	MaxClientConns int           // of those, by one IPv4 address or IPv6 /64
	Idle           time.Duration // for a query to arrive whole, and for a reply to leave
	MaxQueries     int           // under way at a time over connections, and as many over UDP
	UDPSockets     int           // for each address of Listen; 0: one a core
}

// Dependencies is what a Set asks and tells.
type Dependencies struct {
	// Known reports whether a client may ask by its address. The others may
	// where they prove who they are (Peer); else they are answered once a
	// connection, and hold few. Required; must be safe for concurrent use.
	Known func(netip.Addr) bool
	// Shed is told of what was not answered, and why: one of the Shed
	// constants. It must be quick and safe for concurrent use. May be nil.
	Shed func(reason string, n int)
	// PathPeer verifies the id behind the DoH path and says whose it is. With
	// nil there are no such paths. It must be safe for concurrent use.
	PathPeer func(id string) (*Peer, bool)
	// Sockets gives the listeners their sockets; what is nil in it opens them.
	Sockets Sockets
	Log     *zap.Logger // may be nil
}

func (c Config) complete() (Config, error) {
	if c.Path == "" {
		c.Path = DefaultPath
	}
	if !strings.HasPrefix(c.Path, "/") || strings.HasSuffix(c.Path, "/") {
		return c, fmt.Errorf("listen for DNS over HTTPS: path %q must begin with / and not end with it", c.Path)
	}
	if c.HTTP3 && len(c.HTTPS.Listen) == 0 {
		return c, errors.New("listen for HTTP/3: it takes HTTPS's port, and HTTPS does not listen")
	}
	if c.MaxConns <= 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.MaxClientConns <= 0 {
		c.MaxClientConns = DefaultMaxClientConns
	}
	if c.Idle <= 0 {
		c.Idle = DefaultIdle
	}
	if c.MaxQueries <= 0 {
		c.MaxQueries = DefaultMaxQueries
	}
	return c, nil
}

func (d Dependencies) complete() (Dependencies, error) {
	if d.Known == nil {
		return d, errors.New("listen for DNS: nobody to say who may ask (Known)")
	}
	if d.Shed == nil {
		d.Shed = func(string, int) {}
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	return d, nil
}
