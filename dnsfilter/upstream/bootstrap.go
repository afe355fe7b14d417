package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// bootstrap looks up the names of resolvers: with resolvers that need no name
// themselves, and once for all who wait for the same. Safe for concurrent use.
type bootstrap struct {
	ask  func(context.Context, Query) (Answer, error)
	crew *crew
	ctx  context.Context // ends lookups
	now  func() time.Time

	mu    sync.Mutex
	known map[string]*host
}

// host is what is known of a name.
type host struct {
	addrs  []netip.Addr  // the last that were found, for as long as there are no newer ones
	until  time.Time     // when to look again
	err    error         // of the last look
	flight chan struct{} // closed when the look under way is over; nil: none is
}

const (
	minHostTTL = 10 * time.Second
	maxHostTTL = time.Hour
	hostRetry  = 5 * time.Second // after a look that found nothing
	maxAliases = 16
	maxAddrs   = 16 // of one name
)

func newBootstrap(g *group, p *Pool) *bootstrap {
	return &bootstrap{ask: g.ask, crew: &p.crew, ctx: p.ctx, now: p.deps.Now, known: make(map[string]*host)}
}

// lookUp returns the addresses of a host, at least one: IPv4 first. When they
// cannot be found anew, the last that were found go on serving.
func (b *bootstrap) lookUp(ctx context.Context, name string) ([]netip.Addr, error) {
	b.mu.Lock()
	h := b.known[name]
	if h == nil {
		h = new(host)
		b.known[name] = h
	}
	if b.now().Before(h.until) {
		defer b.mu.Unlock()
		return h.result()
	}
	if h.flight == nil {
		h.flight = make(chan struct{})
		land := func(err error) { b.land(h, found{err: err}) }
		if !b.crew.start(func() { b.refresh(name, h) }, land) {
			close(h.flight)
			h.flight, h.err = nil, ErrClosed
			defer b.mu.Unlock()
			return h.result()
		}
	}
	landed := h.flight
	b.mu.Unlock()

	select {
	case <-landed:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return h.result()
}

func (h *host) result() ([]netip.Addr, error) {
	if len(h.addrs) == 0 {
		return nil, h.err
	}
	return h.addrs, nil
}

// refresh looks a host up, both families at the same time.
func (b *bootstrap) refresh(name string, h *host) {
	v4, v6 := make(chan found, 1), make(chan found, 1)
	look := func(kind uint16, to chan<- found) func() {
		return func() { to <- b.find(name, kind) }
	}
	if !b.crew.start(look(dnswire.TypeAAAA, v6), func(err error) { v6 <- found{err: err} }) {
		v6 <- found{err: ErrClosed}
	}
	look(dnswire.TypeA, v4)()
	b.land(h, (<-v4).and(<-v6))
}

// land takes note of what a look has found, and lets all go on who wait for it.
func (b *bootstrap) land(h *host, all found) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(all.addrs) > 0:
		h.addrs, h.err = all.addrs, nil
		h.until = b.now().Add(min(max(all.ttl, minHostTTL), maxHostTTL))
	case all.err != nil:
		h.err, h.until = all.err, b.now().Add(hostRetry)
	default:
		h.err, h.until = errNoAddress, b.now().Add(hostRetry)
	}
	close(h.flight)
	h.flight = nil
}

var errNoAddress = errors.New("the name has no address")

// found is what a look for addresses of one family found.
type found struct {
	addrs []netip.Addr
	ttl   time.Duration
	err   error
}

func (f found) and(other found) found {
	switch {
	case len(other.addrs) == 0:
		return found{f.addrs, f.ttl, errors.Join(f.err, other.err)}
	case len(f.addrs) == 0:
		return found{other.addrs, other.ttl, errors.Join(f.err, other.err)}
	default:
		return found{append(f.addrs, other.addrs...), min(f.ttl, other.ttl), nil}
	}
}

func (b *bootstrap) find(name string, kind uint16) found {
	wire, err := dnswire.WireName(name)
	if err != nil {
		return found{err: err}
	}
	answer, err := b.ask(b.ctx, Query{Name: wire, Type: kind})
	if err != nil {
		return found{err: fmt.Errorf("ask the bootstrap resolvers: %w", err)}
	}
	return addressesIn(answer.Msg)
}

// addressesIn follows the aliases of an answer to the addresses at their end.
func addressesIn(m *dns.Msg) found {
	f := found{ttl: maxHostTTL}
	owner := m.Question[0].Name
	for range maxAliases {
		alias := ""
		for _, record := range m.Answer {
			if !strings.EqualFold(record.Header().Name, owner) {
				continue
			}
			switch r := record.(type) {
			case *dns.A:
				f.add(r.A, r.Hdr.Ttl)
			case *dns.AAAA:
				f.add(r.AAAA, r.Hdr.Ttl)
			case *dns.CNAME:
				alias = r.Target
				f.ttl = min(f.ttl, time.Duration(r.Hdr.Ttl)*time.Second)
			}
		}
		if alias == "" || len(f.addrs) > 0 {
			break
		}
		owner = alias
	}
	return f
}

func (f *found) add(ip []byte, ttl uint32) {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || len(f.addrs) == maxAddrs {
		return
	}
	f.addrs = append(f.addrs, a.Unmap())
	f.ttl = min(f.ttl, time.Duration(ttl)*time.Second)
}
