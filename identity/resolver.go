package identity

import (
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// The values of policy.Identity.Source that a Resolver sets.
const (
	SourceNone        = "none"        // no address
	SourceNetwork     = "network"     // the address alone
	SourceRemembered  = "remembered"  // the address, and the user last seen from it
	SourcePath        = "path"        // a signed id in a DNS-over-HTTPS path
	SourceCertificate = "certificate" // the names in a verified client certificate
	SourceBasic       = "basic"       // a verified user name and password
)

// Subjects turns what is known of a client into a subject of the policy in
// force. *policy.Engine is one. It must be safe for concurrent use.
type Subjects interface {
	Subject(policy.Identity) policy.Subject
}

// Config holds a Resolver's settings. The zero value remembers nobody.
type Config struct {
	// Remember is how long after its last request with credentials a user is
	// taken to be the client at that address. 0 or less switches it off.
	Remember time.Duration

	// RememberMax bounds the addresses remembered at a time; beyond it those
	// nearest their end are forgotten first. 0 means 100,000.
	RememberMax int

	// VerifiedFor is how long a verified user name and password are accepted
	// without computing bcrypt again. 0 means 10 minutes. A new htpasswd file
	// forgets all of them at once.
	VerifiedFor time.Duration
}

const (
	defaultRememberMax = 100_000
	defaultVerifiedFor = 10 * time.Minute
)

// Resolver answers who a client is. It starts no goroutines and needs no
// closing. Safe for concurrent use.
type Resolver struct {
	subjects    Subjects
	started     time.Time // all instants below are durations since then: monotonic, and cheap to read
	verifiedFor time.Duration
	users       atomic.Pointer[generation] // nil: nobody can sign in
	remembered  *remembered                // nil: off
	peers       peers
	failures    *throttle
	bcrypts     *gate
}

// New makes a Resolver without users; see [Resolver.SetUsers].
func New(cfg Config, subjects Subjects) *Resolver {
	r := &Resolver{
		subjects:    subjects,
		started:     time.Now(),
		verifiedFor: cfg.VerifiedFor,
		failures:    newThrottle(),
		bcrypts:     newGate(max(1, runtime.GOMAXPROCS(0)/2)),
	}
	if r.verifiedFor <= 0 {
		r.verifiedFor = defaultVerifiedFor
	}
	if cfg.Remember > 0 {
		limit := cfg.RememberMax
		if limit <= 0 {
			limit = defaultRememberMax
		}
		r.remembered = newRemembered(cfg.Remember, limit)
	}
	return r
}

// SetUsers puts a table of users in force, in place of the one before, whose
// verified credentials are forgotten. Remembered users who are not in the new
// table are forgotten too. Nil means that nobody can sign in.
func (r *Resolver) SetUsers(users *Htpasswd) {
	var g *generation
	if users != nil {
		g = newGeneration(users)
	}
	r.users.Store(g)
	r.remembered.keep(g.has)
}

// ByAddr is the client at an address: the user remembered there, or the
// address alone. It does not allocate.
func (r *Resolver) ByAddr(addr netip.Addr) policy.Subject {
	if !addr.IsValid() {
		return r.subjects.Subject(policy.Identity{Source: SourceNone})
	}
	addr = canonical(addr)
	// The clock is read only when somebody was found: it costs as much as the
	// rest of this function.
	if seen, ok := r.remembered.at(addr); ok && seen.until > r.now() {
		return r.subjects.Subject(policy.Identity{Addr: addr, User: seen.user, Source: SourceRemembered})
	}
	return r.subjects.Subject(policy.Identity{Addr: addr, Source: SourceNetwork})
}

// ByCredentials is the client at an address that showed these credentials: the
// value of a Proxy-Authorization header (RFC 9110 §11.7.2). Without
// credentials, or when no users are in force, it is the address alone: a user
// remembered there is for the DNS door, where nobody can be asked. The error wraps
// [ErrCredentials], or is [ErrBusy] when too many passwords are being checked;
// with either the subject is an unknown client and must not be let in on the
// strength of its address. It may block for a bcrypt computation and the wait
// for one, 5 s at most plus the computation.
func (r *Resolver) ByCredentials(addr netip.Addr, proxyAuthorization string) (policy.Subject, error) {
	g := r.users.Load()
	addr = canonical(addr)
	if proxyAuthorization == "" || g == nil {
		return r.subjects.Subject(policy.Identity{Addr: addr, Source: SourceNetwork}), nil
	}
	var p pair
	if err := p.parse(proxyAuthorization); err != nil {
		return policy.Subject{}, err
	}
	user, err := r.verify(g, addr, &p)
	if err != nil {
		return policy.Subject{}, err
	}
	r.remember(g, addr, user)
	return r.subjects.Subject(policy.Identity{Addr: addr, User: user, Source: SourceBasic}), nil
}

// remember notes that user is the client at addr, as far as table g knows.
func (r *Resolver) remember(g *generation, addr netip.Addr, user string) {
	if r.remembered == nil || !addr.IsValid() {
		return
	}
	r.remembered.put(addr, user, r.now())
	// SetUsers stores the new table first and sweeps second. If it stored
	// before this load, its sweep may have missed the line above.
	if now := r.users.Load(); now != g && !now.has(user) {
		r.remembered.forget(addr, user)
	}
}

// now is the time since the resolver was made.
func (r *Resolver) now() time.Duration { return time.Since(r.started) }

// canonical gives one client one form of its address.
func canonical(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr // the usual case is not worth two calls
	}
	return addr.Unmap().WithZone("")
}
