package dnsfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/dnsfilter/ingress"
	"github.com/sallyport/sallyport/dnsfilter/upstream"
	"github.com/sallyport/sallyport/policy"
)

// Endpoint is an encrypted listener: where it listens, and the files of its
// certificate, its key, and the authority that clients' certificates must come
// from.
type Endpoint = ingress.Endpoint

// Peer is who a client has proven to be.
type Peer = ingress.Peer

// Sockets are where the listeners get their sockets from.
type Sockets = ingress.Sockets

// ListenError is why Listen could not open one of the listeners.
type ListenError = ingress.ListenError

// Config is what an admin sets. The zero Config listens nowhere and answers
// nobody.
type Config struct {
	// Listen is where to listen, UDP and TCP on each. A port of 0 takes a
	// free one, the same for both.
	Listen []string

	// TLS, HTTPS and QUIC are listeners for DNS over TLS (RFC 7858), over HTTPS
	// (RFC 8484) at HTTPSPath, and over HTTP/3 too where HTTP3 is set, and over
	// QUIC (RFC 9250).
	TLS, HTTPS, QUIC Endpoint
	HTTPSPath        string // "": /dns-query
	HTTP3            bool

	// ProxyFrom are the networks of proxies whose PROXY protocol header is
	// required and believed.
	ProxyFrom []netip.Prefix

	// SubnetFrom are the networks of forwarders whose EDNS client subnet (RFC
	// 7871) names the client: a whole address, or the query is refused. From
	// anybody else it is ignored.
	SubnetFrom []netip.Prefix

	// Clients may ask; everybody else gets REFUSED, but for clients with a
	// certificate or a device path of ours. Empty: nobody else may.
	Clients []netip.Prefix

	// Upstreams are resolvers to forward to, see [upstream.Config.Servers]. At
	// least one.
	Upstreams  []string
	Strategy   string              // failover, fastest or parallel; "": failover
	Bootstrap  []string            // resolvers that look up the names of upstreams
	UpstreamCA string              // PEM file; "": the system's authorities
	TrustAD    []string            // upstreams whose AD bit is believed though they are reached in the clear
	Forward    map[string][]string // zones with resolvers of their own

	// Hosts are hosts(5) files, read again when they change, and Records lines
	// in zone-file form.
	Hosts   []string
	Records []string

	// DesignatedName is the name in our certificates, and DesignatedAddrs its
	// addresses, for clients that look for encrypted listeners (RFC 9462). "":
	// such clients are told that there are none.
	DesignatedName  string
	DesignatedAddrs []netip.Addr

	// StripECH says from whose HTTPS records ech is taken.
	StripECH StripMode

	// Answer is how a refusal looks where its rule does not say.
	// policy.AnswerInherit means policy.AnswerNull.
	Answer policy.AnswerMode

	// TTL is how long clients may keep a refusal: at most 24 hours, and 0 for
	// not at all.
	TTL time.Duration

	// PageAddrs are the addresses of the block page, for policy.AnswerPage.
	// Without any, that mode answers as policy.AnswerNull does.
	PageAddrs []netip.Addr

	// CacheBytes bounds the memory that cached answers take. 0: no cache.
	CacheBytes int64

	// ServeStale is how long past its time an answer may be given while no
	// upstream gives a new one (RFC 8767). 0: not at all.
	ServeStale time.Duration

	// Prefetch renews answers that are asked for shortly before their time is
	// over.
	Prefetch bool

	// MinTTL and MaxTTL bound how long answers are kept and given, MaxNegativeTTL
	// those that say that there is nothing. 0 for the latter two: 24 hours and
	// one hour.
	MinTTL, MaxTTL, MaxNegativeTTL time.Duration

	// CookieSecretFile holds the secret of DNS cookies (RFC 9018), for gateways
	// that share an address. "": a random one.
	CookieSecretFile string

	// RequireCookies sends UDP clients that have not proven their address to
	// TCP, so that nobody can have us flood somebody else.
	RequireCookies bool

	// Rate is how many queries a second one client may ask, Burst how many at
	// once after a silence. 0: no limit, and twice Rate.
	Rate, Burst int
	RateExempt  []netip.Prefix

	// UpstreamTimeout bounds one try at one upstream; 0: 1.5 s.
	UpstreamTimeout time.Duration

	// QueryTimeout bounds all tries of one lookup together; 0: 4 s, which is
	// less than the 5 s that most clients wait.
	QueryTimeout time.Duration

	// MaxQueries bounds how many queries wait for upstreams at a time; 0: 2048.
	MaxQueries int

	// MaxConns bounds open connections of all transports together, and
	// MaxClientConns those of one client; 0: 4096, and a quarter of all.
	MaxConns, MaxClientConns int

	// IdleTimeout ends a connection that asks nothing, or that takes longer to
	// send one query or to accept one reply; 0: 10 s.
	IdleTimeout time.Duration

	// Sockets is how many UDP sockets share each address; 0: one a core.
	Sockets int
}

// Dependencies is what the door is wired to. The funcs are called from many
// goroutines at once.
type Dependencies struct {
	// Decider is required.
	Decider policy.Decider

	// Prepare makes facts ready for the policy in force; nil: they are judged
	// anew each time.
	Prepare func([]policy.Host) *policy.Facts

	// Identify says who is at an address, unmapped, and has proven to be peer,
	// which is nil where nothing was proven. Required.
	Identify func(addr netip.Addr, peer *Peer) policy.Subject

	// Device says whose device path ids of DNS over HTTPS are; nil: nobody's.
	Device func(id string) (*Peer, bool)

	// Record is told of every decision. It must not block, nor keep the
	// Decision, whose host's name is overwritten by the next one. Required.
	Record func(*policy.Decision)

	// Sockets gives the listeners their sockets; what is nil in it opens them.
	Sockets Sockets

	Registerer prometheus.Registerer // nil: metrics are kept but not registered
	Log        *zap.Logger           // nil: silent
	Now        func() time.Time      // nil: time.Now
}

// Bounds and defaults that are nobody's setting.
const (
	defaultQueryTimeout = 4 * time.Second
	defaultMaxQueries   = 2048
	defaultMaxConns     = 4096
	defaultIdleTimeout  = 10 * time.Second
	defaultNegativeTTL  = time.Hour // RFC 2308 §5 finds one to three hours to work well

	maxTTL        = 24 * time.Hour     // of anything that is cached or answered
	maxStale      = 7 * 24 * time.Hour // RFC 8767 §5 suggests one to three days
	strangersRate = 10                 // refusals a second for a client that may not ask
	maxStrangers  = 4096               // of them with a bucket of their own
)

func (c Config) withDefaults() Config {
	setDefault(&c.QueryTimeout, defaultQueryTimeout)
	setDefault(&c.MaxQueries, defaultMaxQueries)
	setDefault(&c.MaxConns, defaultMaxConns)
	setDefault(&c.MaxClientConns, max(c.MaxConns/4, 1))
	setDefault(&c.IdleTimeout, defaultIdleTimeout)
	setDefault(&c.MaxTTL, maxTTL)
	setDefault(&c.MaxNegativeTTL, defaultNegativeTTL)
	setDefault(&c.Answer, policy.AnswerNull)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) check() error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.TTL < 0 || c.TTL > maxTTL {
		report("block ttl %v: use 0s to %v", c.TTL, maxTTL)
	}
	if c.Answer > policy.AnswerPage {
		report("answer mode %d: use null, nxdomain, nodata, refused or page", c.Answer)
	}
	if c.CacheBytes < 0 {
		report("cache size %d: use 0 for no cache, or a number of bytes", c.CacheBytes)
	}
	if c.MinTTL < 0 || c.MinTTL > c.MaxTTL || c.MaxTTL > maxTTL || c.MaxNegativeTTL < 0 || c.MaxNegativeTTL > maxTTL {
		report("cache ttls of %v to %v, negative to %v: use 0s to %v, the lower one first", c.MinTTL, c.MaxTTL, c.MaxNegativeTTL, maxTTL)
	}
	if c.ServeStale < 0 || c.ServeStale > maxStale {
		report("serve stale for %v: use 0s to %v", c.ServeStale, maxStale)
	}
	for _, d := range []time.Duration{c.UpstreamTimeout, c.QueryTimeout, c.IdleTimeout} {
		if d < 0 {
			report("timeout %v: use a positive duration", d)
		}
	}
	for _, n := range []int{c.MaxQueries, c.MaxConns, c.MaxClientConns, c.Rate, c.Burst, c.Sockets} {
		if n < 0 {
			report("limit of %d: use a positive number", n)
		}
	}
	for _, a := range c.PageAddrs {
		if !a.IsValid() || a.IsUnspecified() {
			report("block page address %q: use an address that clients can reach", a)
		}
	}
	return errors.Join(problems...)
}

// upstreams are the settings of the upstream resolvers.
func (c *Config) upstreams() (upstream.Config, error) {
	strategy, err := upstream.ParseStrategy(c.Strategy)
	if err != nil {
		return upstream.Config{}, err
	}
	u := upstream.Config{
		Servers:     c.Upstreams,
		Strategy:    strategy,
		Bootstrap:   c.Bootstrap,
		TrustAD:     c.TrustAD,
		CA:          c.UpstreamCA,
		Try:         c.UpstreamTimeout,
		Total:       c.QueryTimeout,
		MaxInFlight: 3 * c.MaxQueries, // of UDP, of connections, and as many of the proxy's
	}
	for name, servers := range c.Forward {
		u.Forward = append(u.Forward, upstream.Zone{Name: name, Servers: servers})
	}
	return u, nil
}

func (d Dependencies) withDefaults() Dependencies {
	if d.Registerer == nil {
		d.Registerer = prometheus.NewRegistry()
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	return d
}

func (d *Dependencies) check() error {
	if d.Decider == nil || d.Identify == nil || d.Record == nil {
		return errors.New("a DNS door needs a Decider, Identify and Record")
	}
	return nil
}

// clock is the time that answers and decisions go by.
func (d *Dependencies) clock() func() time.Time {
	if d.Now == nil {
		return time.Now
	}
	return d.Now
}
