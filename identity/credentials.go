package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// ErrCredentials says that a client's credentials do not stand: malformed, of
// another scheme than Basic, or wrong. A proxy answers 407.
var ErrCredentials = errors.New("credentials refused")

// ErrThrottled is an ErrCredentials: this address has failed too often of
// late, and the pair was not looked at.
var ErrThrottled = fmt.Errorf("%w: too many failures from this address", ErrCredentials)

// ErrBusy says that a password could not be checked in time, because too many
// others are being checked.
var ErrBusy = errors.New("too many passwords are being checked")

const (
	maxVerified = 16_384
	maxRefused  = 4_096
	refusedFor  = 30 * time.Second
	macKeySize  = 32
)

// generation is one table of users and what has been verified against it. A
// new table comes with a new generation, so that nothing verified against the
// old one can be found in the new one, whatever was under way.
type generation struct {
	table    *Htpasswd
	key      [macKeySize]byte
	verified answers
	refused  answers
}

func newGeneration(table *Htpasswd) *generation {
	g := &generation{
		table:    table,
		verified: answers{limit: maxVerified, byMAC: map[mac]answer{}},
		refused:  answers{limit: maxRefused, byMAC: map[mac]answer{}},
	}
	rand.Read(g.key[:]) // never fails: it crashes the process instead
	return g
}

// has reports whether the table knows the user. The nil generation knows none.
func (g *generation) has(user string) bool { return g != nil && g.table.has(user) }

// mac stands for a pair in memory. It is keyed, so that neither a dump of the
// cache nor its timing tells anything of passwords.
type mac [sha256.Size]byte

// mac is SHA-256 over key and pair. The sum never leaves the process, so that
// the length extension that HMAC guards against has nobody to serve.
func (g *generation) mac(p *pair) mac {
	var block [macKeySize + maxPair + 2]byte
	n := copy(block[:], g.key[:])
	n += copy(block[n:], p.raw())
	return sha256.Sum256(block[:n])
}

// known is what an earlier computation said of this pair: an answer without a
// user is a refusal. ok is false where there was no computation of late.
func (g *generation) known(m mac, now time.Duration) (found answer, ok bool) {
	if found, ok := g.verified.find(m, now); ok {
		return found, true
	}
	return g.refused.find(m, now)
}

// verify is the straight line of one pair: known, or else allowed to try, then
// its turn, then bcrypt.
func (r *Resolver) verify(g *generation, addr netip.Addr, p *pair) (string, error) {
	m := g.mac(p)
	if found, ok := g.known(m, r.now()); ok {
		return found.verdict()
	}
	// The attempt is paid for in advance and given back on success, so that
	// attempts made at the same time cannot all pass the limit.
	if !r.failures.take(addr, r.now()) {
		return "", ErrThrottled
	}
	if !r.bcrypts.enter() {
		r.failures.giveBack(addr, r.now())
		return "", ErrBusy
	}
	defer r.bcrypts.leave()
	// A browser opens several connections at once: the first of them has paid.
	if found, ok := g.known(m, r.now()); ok {
		r.failures.giveBack(addr, r.now())
		return found.verdict()
	}

	user := p.user()
	// The copy keeps the pair itself off the heap on the path above.
	if !g.table.verify(user, bytes.Clone(p.password())) {
		g.refused.put(m, answer{until: r.now() + refusedFor})
		return "", ErrCredentials
	}
	r.failures.giveBack(addr, r.now())
	g.verified.put(m, answer{user: user, until: r.now() + r.verifiedFor})
	return user, nil
}

// answers is a bounded set of pairs and what is known of them.
type answers struct {
	limit int
	mu    sync.RWMutex
	byMAC map[mac]answer
}

type answer struct {
	user  string // "" for a refusal
	until time.Duration
}

func (an answer) verdict() (user string, err error) {
	if an.user == "" {
		return "", ErrCredentials
	}
	return an.user, nil
}

func (a *answers) find(m mac, now time.Duration) (found answer, ok bool) {
	a.mu.RLock()
	found, ok = a.byMAC[m]
	a.mu.RUnlock()
	return found, ok && found.until > now
}

func (a *answers) put(m mac, an answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.byMAC[m]; !ok && len(a.byMAC) >= a.limit {
		evictSoonest(a.byMAC, func(v answer) time.Duration { return v.until })
	}
	a.byMAC[m] = an
}
