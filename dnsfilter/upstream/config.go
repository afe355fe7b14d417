package upstream

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Config is what an admin sets.
type Config struct {
	// Servers are resolvers to ask, the preferred one first: at least one.
	//
	//	192.0.2.1, udp://192.0.2.1:53           UDP, and TCP for what does not fit
	//	tcp://[2001:db8::1]:53                  TCP, RFC 7766
	//	tls://dns.example, tls://192.0.2.1#dns.example
	//	                                        TLS, RFC 7858; the certificate must be for dns.example
	//	tls://192.0.2.1                         the certificate must be for the address
	//	https://dns.example/dns-query           HTTPS, RFC 8484
	//	quic://dns.example                      QUIC, RFC 9250
	//
	// Ports default to 53, 853 and 443. One that is named twice is asked once.
	Servers []string

	// Strategy says which of several resolvers is asked.
	Strategy Strategy

	// Bootstrap are resolvers, by address and without encryption, that look up
	// the names of the others. Required where a resolver is named.
	Bootstrap []string

	// Forward names zones whose questions go to resolvers of their own, and to
	// no others. The longest zone wins.
	Forward []Zone

	// TrustAD are those of the resolvers above whose word that an answer is
	// validated may be passed on, though they are reached without encryption.
	TrustAD []string

	// Try bounds one try at one resolver; 0: 1.5 s.
	Try time.Duration

	// Total bounds all tries of one Ask together; 0: 4 s, which is less than the
	// 5 s that most clients wait.
	Total time.Duration

	// CA is a PEM file of the authorities that certificates must come from.
	// Empty: the system's.
	CA string

	// MaxInFlight bounds how many Asks are under way at a time; 0: 4096.
	MaxInFlight int
}

// Zone is a part of the name space with resolvers of its own.
type Zone struct {
	Name    string   // corp.example, 10.in-addr.arpa: it and all names below it
	Servers []string // as Config.Servers
}

// Dependencies is what a Pool is wired to. The funcs are called from many
// goroutines at once and must not block.
type Dependencies struct {
	// Observe is told of every try at a resolver: ok, refused, timeout or error,
	// and how long it took. nil: nobody is.
	Observe func(upstream, result string, took time.Duration)

	// State is told when a resolver does not answer any more, and when it does
	// again. nil: nobody is.
	State func(upstream string, up bool)

	Log *zap.Logger      // nil: silent
	Now func() time.Time // nil: time.Now; back-off and the life of names go by it
}

// Strategy is how a Pool chooses among resolvers that are well. Those that are
// not are asked last, whatever the strategy.
type Strategy uint8

// The strategies.
const (
	Failover Strategy = iota // in configured order
	Fastest                  // the one that answers soonest; now and then a query goes to another as well, to see
	Parallel                 // the fastest, and the next as well when it takes unusually long; the first answer counts
)

// ParseStrategy reads a Strategy's name; "" is Failover.
func ParseStrategy(s string) (Strategy, error) {
	switch s {
	case "", "failover":
		return Failover, nil
	case "fastest":
		return Fastest, nil
	case "parallel":
		return Parallel, nil
	default:
		return 0, fmt.Errorf("strategy %q: use failover, fastest or parallel", s)
	}
}

// String is the strategy's name in configuration.
func (s Strategy) String() string {
	switch s {
	case Failover:
		return "failover"
	case Fastest:
		return "fastest"
	case Parallel:
		return "parallel"
	default:
		return "unknown"
	}
}

// Bounds and defaults that are nobody's setting.
const (
	defaultTry         = 1500 * time.Millisecond
	defaultTotal       = 4 * time.Second
	defaultMaxInFlight = 4096

	maxServers = 32 // of one zone: each may be tried for one question
)

func (c Config) withDefaults() Config {
	if c.Try == 0 {
		c.Try = defaultTry
	}
	if c.Total == 0 {
		c.Total = defaultTotal
	}
	c.Try = min(c.Try, c.Total)
	if c.MaxInFlight == 0 {
		c.MaxInFlight = defaultMaxInFlight
	}
	return c
}

func (c *Config) check() error {
	var problems []error
	if c.Try < 0 || c.Total < 0 {
		problems = append(problems, fmt.Errorf("upstream timeouts of %v and %v: use positive durations", c.Try, c.Total))
	}
	if c.MaxInFlight < 0 {
		problems = append(problems, fmt.Errorf("limit of %d upstream queries: use a positive number", c.MaxInFlight))
	}
	if c.Strategy > Parallel {
		problems = append(problems, fmt.Errorf("strategy %d: use failover, fastest or parallel", c.Strategy))
	}
	return errors.Join(problems...)
}

func (d Dependencies) withDefaults() Dependencies {
	if d.Observe == nil {
		d.Observe = func(string, string, time.Duration) {}
	}
	if d.State == nil {
		d.State = func(string, bool) {}
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return d
}
