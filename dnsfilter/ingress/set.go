package ingress

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/sallyport/sallyport/servercert"
)

// endpoint is one listener. Stop ends its reading, and the connections' with
// shared.stop; Serve returns when what is under way has been answered, and by
// then everything is closed. Close may come without Serve, and again.
type endpoint interface {
	Address() Address
	Serve(ctx context.Context, door Door)
	Stop()
	Close()
}

// Set is every listener of a DNS door. Make it with Open, call Serve once, and
// Close it in the end. Its methods are safe for concurrent use.
type Set struct {
	shared       *shared
	workers      *Workers
	udp          []*UDPListener
	endpoints    []endpoint // those of udp too
	addresses    []Address
	certificates [TransportCount]*servercert.Store

	mu     sync.Mutex
	served bool
	closed bool
	cancel context.CancelFunc // of what Serve started
}

// Open reads the certificates and binds every address, or none. Queries wait
// in the kernel until Serve. ctx bounds the looking up of names alone. Where
// one listener is what failed, the error is a *ListenError.
func Open(ctx context.Context, config Config, dependencies Dependencies) (*Set, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	dependencies, err = dependencies.complete()
	if err != nil {
		return nil, err
	}
	s := &Set{
		shared: &shared{
			limits: limits{idle: config.Idle, proxyFrom: config.ProxyFrom},
			crowd: newCrowd(crowdLimits{conns: config.MaxConns, each: config.MaxClientConns},
				dependencies.Known, dependencies.Shed),
			slots:   newSlots(config.MaxQueries),
			reading: newSlots(config.MaxQueries),
			shed:    dependencies.Shed,
			sockets: dependencies.Sockets,
		},
		workers: NewWorkers(config.MaxQueries),
	}
	b := &binder{set: s, config: config, dependencies: dependencies}
	if err := b.bind(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Addrs lists where the Set listens, in the order of the contract: "dns udp"
// and "dns tcp" for each address, then "dns tls", "dns https" and "dns quic".
// HTTP/3 is on the address of "dns https".
func (s *Set) Addrs() []Address { return append([]Address(nil), s.addresses...) }

// Serve answers queries until Stop, Close or the end of ctx; the last two
// abandon what is under way. It returns when the last reply has gone and
// everything is closed. Call it once.
func (s *Set) Serve(ctx context.Context, door Door) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !s.begin(cancel) {
		return
	}
	defer context.AfterFunc(ctx, s.Close)()
	var serving sync.WaitGroup
	for _, e := range s.endpoints {
		serving.Go(func() { e.Serve(ctx, door) })
	}
	serving.Wait()
	s.workers.Close()
}

func (s *Set) begin(cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.served || s.closed {
		return false
	}
	s.served, s.cancel = true, cancel
	return true
}

// Stop ends reading: nothing new is asked, what is under way is answered, and
// then Serve returns. It does not wait for it, and may be called again.
func (s *Set) Stop() {
	s.shared.stop()
	for _, e := range s.endpoints {
		e.Stop()
	}
}

// Close ends everything at once: queries under way get no answer. It does not
// wait for Serve, and may be called again.
func (s *Set) Close() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	cancel := s.cancel
	s.mu.Unlock()
	if !first {
		return
	}
	if cancel != nil {
		cancel()
	}
	s.Stop()
	s.shared.crowd.close()
	for _, e := range s.endpoints {
		e.Close()
	}
}

// Conns is how many connections of a transport are open; of UDP, which has
// none, 0. Those of HTTP/3 count as HTTPS.
func (s *Set) Conns(t Transport) int { return s.shared.crowd.count(t) }

// Busy is how many queries are under way that no Desk could answer.
func (s *Set) Busy() int { return s.workers.Busy() + len(s.shared.slots) }

// Waiting is how many queries over UDP wait for a worker.
func (s *Set) Waiting() int { return s.workers.Waiting() }

// Dropped is how many packets the kernel threw away because nobody read them
// in time (UDPListener.Dropped).
func (s *Set) Dropped() uint64 {
	var n uint64
	for _, l := range s.udp {
		n += l.Dropped()
	}
	return n
}

// Unsent is how many replies over UDP the kernel would not take
// (UDPListener.Unsent).
func (s *Set) Unsent() uint64 {
	var n uint64
	for _, l := range s.udp {
		n += l.Unsent()
	}
	return n
}

// NotAfter is when the certificate of a transport expires; false where it has
// none.
func (s *Set) NotAfter(t Transport) (expiry time.Time, ok bool) {
	if t >= TransportCount || s.certificates[t] == nil {
		return time.Time{}, false
	}
	// Whoever watches wants to know of the files, not of what a listener without
	// clients last read.
	s.certificates[t].Refresh()
	return s.certificates[t].NotAfter(), true
}

// ClientAuthorities reports whether clients of a transport must show a
// certificate, and whether the files that say of whom are good
// (servercert.Store.ClientAuthorities).
func (s *Set) ClientAuthorities(t Transport) (wanted, good bool) {
	if t >= TransportCount || s.certificates[t] == nil {
		return false, false
	}
	s.certificates[t].Refresh()
	return s.certificates[t].ClientAuthorities()
}

// MaxConns is how many connections may be open, of every transport together.
func (s *Set) MaxConns() int { return s.shared.crowd.limits.conns }

// withPort is address with another port.
func withPort(address, port string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return net.JoinHostPort(host, port)
}
