package gateway

import (
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// DNSConfig is the DNS door's part.
type DNSConfig struct {
	Listen     []string       // host:port, UDP and TCP on each
	TLS        EndpointConfig // DNS over TLS (RFC 7858)
	HTTPS      EndpointConfig // DNS over HTTPS (RFC 8484)
	HTTPSPath  string
	HTTP3      bool           // HTTP/3 besides, on the same ports
	DeviceKey  string         // file of keys that sign device paths; empty: no paths but HTTPSPath
	QUIC       EndpointConfig // DNS over QUIC (RFC 9250)
	Designated Designated

	Clients    []netip.Prefix
	ProxyFrom  []netip.Prefix // whose PROXY header is required and believed
	SubnetFrom []netip.Prefix // whose EDNS client subnet names the client

	Upstreams  []string // empty: the system's resolvers
	Strategy   string   // failover, fastest or parallel
	Bootstrap  []string // resolvers that look up the names of upstreams
	UpstreamCA string   // PEM file; empty: the system's authorities
	TrustAD    []string // upstreams whose AD bit is believed though nothing proves who they are
	Forward    []ForwardZone

	Hosts    []string // hosts(5) files
	Records  []string // lines in zone-file form
	StripECH string   // judged, all or never

	Answer policy.AnswerMode // of a refusal, where its rule does not say
	TTL    time.Duration     // of a refusal

	CacheBytes     int64         // 0: no cache
	ServeStale     time.Duration // past its time, while no upstream answers; 0: not
	MinTTL         time.Duration
	MaxTTL         time.Duration
	MaxNegativeTTL time.Duration
	Prefetch       bool

	CookieSecret   string // file; empty: a random secret
	RequireCookies bool

	UpstreamTimeout time.Duration // one try at one upstream
	QueryTimeout    time.Duration // all tries of one query

	MaxQueries     int // that wait for upstreams at a time
	MaxConns       int // of all transports together
	MaxClientConns int // of one client; 0: a quarter of all
	Rate           int // queries a second of one client; 0: no limit
	Burst          int // queries at once of a client that was silent; 0: twice Rate
	RateExempt     []netip.Prefix
}

// EndpointConfig is an encrypted listener: without addresses it is off.
type EndpointConfig struct {
	Listen      []string // host:port
	Certificate string   // PEM file, the authorities between included
	Key         string   // PEM file
	ClientCA    string   // PEM file of the authorities of clients' certificates; empty: none is asked for
}

// Designated is what clients that look for encrypted listeners are told (RFC
// 9462).
type Designated struct {
	Name  string       // in our certificates; empty: there are no such listeners
	Addrs []netip.Addr // of that name
}

// ForwardZone is a part of the name space with resolvers of its own.
type ForwardZone struct {
	Name    string // lower case, without a dot at its end
	Servers []string
}

func defaultDNS() DNSConfig {
	return DNSConfig{
		Listen:          []string{"127.0.0.1:1053"},
		HTTPSPath:       "/dns-query",
		Clients:         localNetworks(),
		Strategy:        "failover",
		StripECH:        "judged",
		Answer:          policy.AnswerNull,
		TTL:             30 * time.Second,
		CacheBytes:      64 << 20,
		ServeStale:      24 * time.Hour,
		MaxTTL:          24 * time.Hour,
		MaxNegativeTTL:  time.Hour,
		Prefetch:        true,
		UpstreamTimeout: 1500 * time.Millisecond,
		QueryTimeout:    4 * time.Second,
		MaxQueries:      2048,
		MaxConns:        4096,
		// A computer asks a few hundred queries in its busiest second, and a
		// resolver for an office of thousands about as many on average: what is
		// above is a program gone wrong, or a flood in somebody's name.
		Rate: 1000,
		// A forwarder or a load balancer on this machine is one address for
		// everybody behind it.
		RateExempt: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.0/8"),
			netip.MustParsePrefix("::1/128"),
		},
	}
}
