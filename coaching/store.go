package coaching

import (
	"container/heap"
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// Why a store takes no more grants.
var (
	ErrFull      = errors.New("as many grants are held as the gateway keeps: wait until some end, or ask the administrator to end some")
	ErrTooMany   = errors.New("you hold as many grants as one person may: wait until some end, or ask the administrator to end some")
	ErrNoSuch    = errors.New("there is no such grant: it may have ended")
	errNobody    = errors.New("a grant needs a holder and a rule")
	errEndedAlso = errors.New("the grant would have ended already")
)

// Config holds a Store's settings.
type Config struct {
	// File is the journal that keeps grants over a restart, made with mode 0600.
	// Empty: they are kept in memory alone.
	File string

	// Limit bounds the grants held at a time. 0 means 100,000.
	Limit int

	// Turn is closed once no other process writes the File any more: the one
	// that this one takes over from. Until then the Store keeps what it is given
	// in memory, and leaves it to the other to tell what has ended. Nil: there
	// is no other.
	Turn <-chan struct{}

	// PerHolder bounds those of one user, one IPv4 address or one IPv6 /64.
	// 0 means 64.
	PerHolder int
}

// The bounds where a Config says nothing.
const (
	defaultLimit     = 100_000
	defaultPerHolder = 64
)

// Store holds grants. Safe for concurrent use.
type Store struct {
	config  Config
	log     *zap.Logger
	journal *journal // nil: in memory alone

	count atomic.Int64 // of byKey: most gateways hold none, and then nobody looks further
	mu    sync.RWMutex
	byKey map[policy.GrantKey]*held
	byID  map[string]*held
	ends  ends
	share map[quota]int // grants by holder
	over  []Grant       // ended, and not swept up yet

	before map[string]bool // ids that were in the journal at first, while it is another process's; nil: it is ours
	quiet  bool            // another process tells what has ended
}

// quota is whom the bound of PerHolder is for.
type quota struct {
	user    string
	network netip.Prefix
}

func quotaOf(h policy.Holder) quota {
	if h.User != "" {
		return quota{user: h.User}
	}
	bits := h.Client.BitLen()
	if h.Client.Is6() {
		bits = 64 // one client has all addresses of its network to choose from
	}
	network, _ := h.Client.Prefix(bits) // an error is for bits that do not fit
	return quota{network: network}
}

// Open makes a store with the grants of the journal that hold at now; Sweep
// returns the others once. A journal that cannot be understood is moved aside,
// with ".broken" behind its name, and logged as an error: the store then
// begins without grants, which people can get again. The error is of a file
// that cannot be read at all. A nil log is silent. Run writes the journal.
func Open(config Config, now time.Time, log *zap.Logger) (*Store, error) {
	if config.Limit <= 0 {
		config.Limit = defaultLimit
	}
	if config.PerHolder <= 0 {
		config.PerHolder = defaultPerHolder
	}
	if log == nil {
		log = zap.NewNop()
	}
	s := &Store{
		config: config,
		log:    log,
		byKey:  map[policy.GrantKey]*held{},
		byID:   map[string]*held{},
		share:  map[quota]int{},
	}
	if config.File == "" {
		return s, nil
	}
	kept, err := readJournal(config.File, config.Limit, log)
	if err != nil {
		return nil, err
	}
	for _, g := range kept {
		if g.Until.After(now) {
			s.put(g)
		} else {
			s.over = append(s.over, g)
		}
	}
	if config.Turn != nil && !isClosed(config.Turn) {
		s.wait(kept)
	}
	s.journal = newJournal(config.File, s.List, s.Len, log)
	return s, nil
}

// Run writes the journal, from its turn on, until ctx ends, and then what is
// left of it. It is to be called once. Before it Revoke waits in vain, and after
// it cannot write; whoever takes over tells of the ends of grants then.
func (s *Store) Run(ctx context.Context) {
	if s.journal == nil {
		return
	}
	if s.config.Turn != nil {
		select {
		case <-s.config.Turn:
			s.catchUp()
		case <-ctx.Done():
			s.journal.giveUp()
			return
		}
	}
	s.journal.run(ctx)
	s.mu.Lock()
	s.quiet = true
	s.mu.Unlock()
}

// Trouble says why grants would not outlive a restart now; empty where they
// would.
func (s *Store) Trouble() string {
	if s.journal == nil {
		return ""
	}
	return s.journal.trouble()
}

// Holds reports whether a key is granted at an instant, and until when: it is
// what policy.Grants asks. It allocates nothing.
func (s *Store) Holds(key policy.GrantKey, at time.Time) (until time.Time, ok bool) {
	if s.count.Load() == 0 {
		return time.Time{}, false
	}
	s.mu.RLock()
	h := s.byKey[key]
	s.mu.RUnlock()
	if h == nil || !at.Before(h.Until) { // a held grant never changes
		return time.Time{}, false
	}
	return h.Until, true
}

// Add gives a grant, from Given on, and an ID to it. Where its key is granted
// already that grant is returned instead, and added is false: pressing a
// button twice changes nothing. The error is [ErrFull] or [ErrTooMany], or
// says that the grant makes no sense.
func (s *Store) Add(g Grant) (given Grant, added bool, err error) {
	switch {
	case g.Key.Holder.IsZero() || g.Key.Rule == "":
		return Grant{}, false, errNobody
	case !g.Until.After(g.Given):
		return Grant{}, false, errEndedAlso
	}
	g.ID = strings.ToLower(rand.Text()[:12]) // sixty random bits
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(g.Given)
	if known := s.byKey[g.Key]; known != nil {
		return known.Grant, false, nil
	}
	if len(s.byKey) >= s.config.Limit {
		return Grant{}, false, ErrFull
	}
	if s.share[quotaOf(g.Key.Holder)] >= s.config.PerHolder {
		return Grant{}, false, ErrTooMany
	}
	s.put(g)
	s.journal.note(lineOfGrant(&g))
	return g, true, nil
}

// Revoke ends a grant before its time and returns it. It waits until that is
// on disk; where it cannot be written, or not before ctx ends, the grant has
// ended all the same, and the error says that a restart would bring it back.
// The error is [ErrNoSuch] where there is none.
func (s *Store) Revoke(ctx context.Context, id string) (Grant, error) {
	s.mu.Lock()
	h := s.byID[id]
	if h == nil {
		s.mu.Unlock()
		return Grant{}, ErrNoSuch
	}
	s.drop(h)
	s.journal.note(lineOfEnd(id))
	s.mu.Unlock()
	return h.Grant, s.journal.flushed(ctx)
}

// Next is when the next grant ends; zero where none is held. A grant that has
// ended and was not swept up counts.
func (s *Store) Next() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.over) > 0 {
		return s.over[0].Until
	}
	return s.ends.next()
}

// Sweep lets go of the grants that have ended at now, and returns each of them
// once. Those that were revoked are not among them, nor those of which another
// process tells.
func (s *Store) Sweep(now time.Time) []Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	over := s.over
	s.over = nil
	if s.quiet {
		return nil
	}
	return over
}

// List gives every grant that is held, the one given last first.
func (s *Store) List() []Grant {
	s.mu.RLock()
	all := make([]Grant, 0, len(s.byKey))
	for _, h := range s.byKey {
		all = append(all, h.Grant)
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b Grant) int {
		if order := b.Given.Compare(a.Given); order != 0 {
			return order
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// Len is how many grants are held.
func (s *Store) Len() int { return int(s.count.Load()) }

// expire moves what has ended out of the way. The lock is held.
func (s *Store) expire(now time.Time) {
	for len(s.ends) > 0 && !s.ends[0].Until.After(now) {
		h := s.ends[0]
		s.drop(h)
		s.over = append(s.over, h.Grant)
	}
}

// put enters a grant. The lock is held, or nobody knows the store yet.
func (s *Store) put(g Grant) {
	h := &held{Grant: g}
	if old := s.byKey[g.Key]; old != nil {
		s.drop(old)
	}
	s.byKey[g.Key], s.byID[g.ID] = h, h
	heap.Push(&s.ends, h)
	s.share[quotaOf(g.Key.Holder)]++
	s.count.Store(int64(len(s.byKey)))
}

// drop takes a grant out. The lock is held.
func (s *Store) drop(h *held) {
	delete(s.byKey, h.Key)
	delete(s.byID, h.ID)
	heap.Remove(&s.ends, h.at)
	q := quotaOf(h.Key.Holder)
	if s.share[q]--; s.share[q] <= 0 {
		delete(s.share, q)
	}
	s.count.Store(int64(len(s.byKey)))
}
