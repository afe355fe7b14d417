package ratelimit

import "net/netip"

// Decision is what becomes of a query.
type Decision uint8

// The decisions.
const (
	Drop  Decision = iota // over the limit: say nothing
	Slip                  // over the limit: answer truncated and without records
	Allow                 // within it
)

// String is the decision in plain words.
func (d Decision) String() string {
	switch d {
	case Allow:
		return "allow"
	case Slip:
		return "slip"
	default:
		return "drop"
	}
}

// Config says how much a client may ask.
type Config struct {
	Rate       int            // queries a second of one client; 0: no limit; at most a million
	Burst      int            // queries at once after a silence; 0: twice Rate
	Slip       int            // of queries over the limit the first and then one in so many is Slip; 0: one in two
	MaxClients int            // clients with a bucket of their own; 0: 65,536; about 40 bytes each
	Exempt     []netip.Prefix // clients without a limit, such as other resolvers
}

// Bounds and defaults of a Config.
const (
	maxRate        = 1_000_000
	maxBurst       = 10 * maxRate
	defaultSlip    = 2
	maxSlip        = 255
	defaultClients = 1 << 16
)

// What clients without a bucket of their own may do together, as a multiple
// of one client's allowance: enough for a handful of busy ones in a /24 (or the
// /64s of a site's /56), and for some such networks in a /16 or /48.
const (
	neighbourhoodShare = 8
	regionShare        = 64
)

// Limiter holds clients to a rate. A nil Limiter allows everything. It is safe
// for concurrent use; clients contend for a lock only with the few that share
// their part of the table.
type Limiter struct {
	keys   keys
	exempt ranges
	levels [levelCount]table
}

// New makes a Limiter, or nil where c sets no rate. What is out of bounds in c
// is brought to the nearest bound.
func New(c Config) *Limiter {
	if c.Rate <= 0 {
		return nil
	}
	if c.Burst <= 0 {
		c.Burst = 2 * c.Rate
	}
	if c.Slip <= 0 {
		c.Slip = defaultSlip
	}
	if c.MaxClients <= 0 {
		c.MaxClients = defaultClients
	}
	rate, burst, slip := min(c.Rate, maxRate), min(c.Burst, maxBurst), uint8(min(c.Slip, maxSlip))
	l := &Limiter{keys: newKeys(), exempt: newRanges(c.Exempt)}
	l.levels[client] = newTable(c.MaxClients, newAllowance(rate, burst, slip))
	l.levels[neighbourhood] = newTable(c.MaxClients/4, newAllowance(rate*neighbourhoodShare, burst*neighbourhoodShare, slip))
	l.levels[region] = newTable(c.MaxClients/16, newAllowance(rate*regionShare, burst*regionShare, slip))
	return l
}

// Allow counts a query of addr and decides. Now is in nanoseconds from
// whenever, the same for all callers, never negative; callers may be some
// milliseconds apart. Of a client with a bucket of its own no more than
// Burst + Rate × t queries are allowed within any t seconds.
func (l *Limiter) Allow(addr netip.Addr, now int64) Decision {
	if l == nil {
		return Allow
	}
	addr = addr.Unmap()
	if l.exempt.contain(addr) {
		return Allow
	}
	if d, known := l.levels[client].take(l.keys.of(addr, client), now); known {
		return d
	}
	if d, known := l.levels[neighbourhood].take(l.keys.of(addr, neighbourhood), now); known {
		return d
	}
	return l.levels[region].takeAny(l.keys.of(addr, region), now)
}
