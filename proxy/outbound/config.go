package outbound

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Config is what an admin decides about connections. Its zero value goes
// straight to every destination.
type Config struct {
	// Parents are the parent proxies, which Routes name.
	Parents []Parent

	// Routes say which way to which destination. The first one that a
	// destination fits decides; where none does, it is reached directly.
	Routes []Route

	// Timeout bounds one Dial, all attempts and answers of parents included.
	// 0: 10 s.
	Timeout time.Duration

	// HeadStart is how long one address is tried before the next one is tried
	// beside it (RFC 8305 §5: the Connection Attempt Delay). 0: 250 ms.
	HeadStart time.Duration
}

// Parent is another proxy, through which destinations are reached.
type Parent struct {
	// Name is by what routes, metrics and the log call it. It cannot be Direct.
	Name string

	// Endpoint is where it is. A name is looked up by Dependencies.Resolve.
	Endpoint Endpoint

	// CredentialsFile holds what it is told of us (see ReadCredentials). Empty:
	// nothing.
	CredentialsFile string

	// CAFile holds the authorities, as PEM, by which its certificate is judged
	// where it is spoken to inside TLS. Empty: the system's.
	CAFile string

	// FindsNames is set where destinations' names are not looked up here, so
	// that nothing but the name itself can be judged. It wants a parent that is
	// sent names.
	FindsNames bool

	// SendAddress is set where an HTTP or HTTPS parent is sent one of the
	// Target's addresses in place of its name: what was checked is then what is
	// dialled. SOCKS parents are sent what their scheme says.
	SendAddress bool
}

// sendsAddress reports whether the parent is sent addresses, and not names.
func (p *Parent) sendsAddress() bool {
	return p.SendAddress || p.Endpoint.Scheme == SchemeSOCKS5
}

// Route is how some destinations are reached.
type Route struct {
	// To are the destinations. Empty: every one.
	To []Destination

	// Via are the ways, names of parents or Direct, in the order in which they
	// are tried: the next one where one does not work, but never where a parent
	// says no.
	Via []string
}

// Destination is a name or a network.
type Destination struct {
	Name   string       // canonical; empty: Prefix is meant
	Match  Match        // of Name
	Prefix netip.Prefix // one of the destination's addresses lies in it
}

// Match says which names a Destination's name stands for.
type Match uint8

// The ways of a Match.
const (
	MatchTree  Match = iota // the name and everything under it
	MatchExact              // the name alone
	MatchBelow              // everything under the name, not itself
)

// Dependencies is what a Dialer needs of the rest of the gateway. Every func
// must be safe for concurrent use.
type Dependencies struct {
	// Resolve finds the addresses of a parent's name, which no policy judges.
	// Required where a parent is given by name.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)

	// IsSelf reports whether a connection to an address would come back to one
	// of the gateway's own listeners. No parent is reached there. Nil: none
	// does.
	IsSelf func(address netip.Addr, port uint16) bool

	// Dialled is told once of every Dial how it ended, in the words of Result,
	// and how long it took. Nil: nobody is.
	Dialled func(result string, took time.Duration)

	// Registerer takes the metrics; nil: they are counted and shown nowhere.
	Registerer prometheus.Registerer

	// Log takes what an admin should know. Nil: nothing is logged.
	Log *zap.Logger
}

// Defaults of Config.
const (
	defaultTimeout   = 10 * time.Second
	defaultHeadStart = 250 * time.Millisecond
)

// complete checks c and fills in the defaults.
func (c Config) complete() (Config, error) {
	if c.Timeout < 0 || c.HeadStart < 0 {
		return c, errors.New("outbound: a negative time: use a positive one, or 0 for the default")
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.HeadStart == 0 {
		c.HeadStart = defaultHeadStart
	}
	return c, nil
}

// complete fills in what may be left out.
func (d Dependencies) complete() Dependencies {
	if d.Resolve == nil {
		d.Resolve = func(_ context.Context, name string) ([]netip.Addr, error) {
			return nil, fmt.Errorf("look up %q: nobody to ask", name)
		}
	}
	if d.IsSelf == nil {
		d.IsSelf = func(netip.Addr, uint16) bool { return false }
	}
	if d.Dialled == nil {
		d.Dialled = func(string, time.Duration) {}
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	return d
}
