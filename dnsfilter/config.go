package dnsfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// Config is what an admin sets. The zero Config listens nowhere and answers
// nobody.
type Config struct {
	// Listen is where to listen, UDP and TCP on each. A port of 0 takes a
	// free one, the same for both.
	Listen []string

	// Clients may ask; everybody else gets REFUSED. Empty: nobody may.
	Clients []netip.Prefix

	// Upstreams are resolvers to forward to, the preferred one first:
	// "udp://192.0.2.1:53", "tcp://[2001:db8::1]:53", or a bare address with
	// or without a port. At least one.
	Upstreams []string

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

	// UpstreamTimeout bounds one try at one upstream; 0: 1.5 s.
	UpstreamTimeout time.Duration

	// QueryTimeout bounds all tries of one lookup together; 0: 4 s, which is
	// less than the 5 s that most clients wait.
	QueryTimeout time.Duration

	// MaxQueries bounds how many queries are under way at a time; 0: 2048.
	// Above it UDP queries are dropped and TCP connections not read.
	MaxQueries int

	// MaxTCPConns bounds open TCP connections per listen address; 0: 256. One
	// client gets a quarter of them at most.
	MaxTCPConns int

	// TCPIdleTimeout ends a TCP connection that asks nothing, or that takes
	// longer to send one query or to accept one reply; 0: 10 s.
	TCPIdleTimeout time.Duration
}

// Dependencies is what the door is wired to. The funcs are called from many
// goroutines at once.
type Dependencies struct {
	Decider    policy.Decider                  // required
	Identify   func(netip.Addr) policy.Subject // required; the address is unmapped
	Record     func(*policy.Decision)          // required; must not block; owns the Decision
	Registerer prometheus.Registerer           // nil: metrics are kept but not registered
	Log        *zap.Logger                     // nil: silent
	Now        func() time.Time                // nil: time.Now
}

// Bounds and defaults that are nobody's setting.
const (
	defaultUpstreamTimeout = 1500 * time.Millisecond
	defaultQueryTimeout    = 4 * time.Second
	defaultMaxQueries      = 2048
	defaultMaxTCPConns     = 256
	defaultTCPIdleTimeout  = 10 * time.Second

	maxTTL         = 24 * time.Hour // of anything that is cached or answered
	maxNegativeTTL = time.Hour      // RFC 2308 §5 finds one to three hours to work well
)

func (c Config) withDefaults() Config {
	setDefault(&c.UpstreamTimeout, defaultUpstreamTimeout)
	setDefault(&c.QueryTimeout, defaultQueryTimeout)
	setDefault(&c.MaxQueries, defaultMaxQueries)
	setDefault(&c.MaxTCPConns, defaultMaxTCPConns)
	setDefault(&c.TCPIdleTimeout, defaultTCPIdleTimeout)
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
	for _, d := range []time.Duration{c.UpstreamTimeout, c.QueryTimeout, c.TCPIdleTimeout} {
		if d < 0 {
			report("timeout %v: use a positive duration", d)
		}
	}
	if c.MaxQueries < 0 || c.MaxTCPConns < 0 {
		report("limits of %d queries and %d TCP connections: use positive numbers", c.MaxQueries, c.MaxTCPConns)
	}
	for _, a := range c.PageAddrs {
		if !a.IsValid() || a.IsUnspecified() {
			report("block page address %q: use an address that clients can reach", a)
		}
	}
	return errors.Join(problems...)
}

func (d Dependencies) withDefaults() Dependencies {
	if d.Registerer == nil {
		d.Registerer = prometheus.NewRegistry()
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return d
}

func (d *Dependencies) check() error {
	if d.Decider == nil || d.Identify == nil || d.Record == nil {
		return errors.New("a DNS door needs a Decider, Identify and Record")
	}
	return nil
}
