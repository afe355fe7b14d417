package dnsfilter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"go.uber.org/zap"
)

// Server is the DNS door. Make it with New, end it with Shutdown. Safe for
// concurrent use.
type Server struct {
	config  Config
	deps    Dependencies
	handler *handler
	lookups *lookups
	forward *forwarder
	slots   slots

	ctx       context.Context // of everything the door does
	cancel    context.CancelFunc
	serving   sync.WaitGroup
	resolving sync.WaitGroup

	mu        sync.Mutex
	ingresses []ingress
	closed    bool
}

// New makes a door that is not open yet: Resolve works, Listen opens it. It
// fails on settings that cannot work, all of them named, and when metrics
// cannot be registered.
func New(c Config, d Dependencies) (*Server, error) {
	c, d = c.withDefaults(), d.withDefaults()
	if err := errors.Join(c.check(), d.check()); err != nil {
		return nil, fmt.Errorf("set up the DNS door: %w", err)
	}
	cache := newCache(c.CacheBytes)
	forward, err := newForwarder(&c, nil, &d)
	if err != nil {
		return nil, fmt.Errorf("set up the DNS door: %w", err)
	}
	m, err := newMetrics(d.Registerer, cache)
	if err != nil {
		return nil, fmt.Errorf("register the DNS door's metrics: %w", err)
	}
	forward.metrics = m

	ctx, cancel := context.WithCancel(context.Background())
	l := &lookups{cache: cache, metrics: m, now: d.Now}
	h := &handler{
		clients:  c.Clients,
		decider:  d.Decider,
		identify: d.Identify,
		record:   d.Record,
		sinkhole: sinkhole{mode: c.Answer, ttl: c.TTL, page: unmapped(c.PageAddrs)},
		lookups:  l,
		metrics:  m,
		log:      d.Log,
		now:      d.Now,
	}
	l.flights = &flights{
		ctx:     ctx,
		fetch:   keeping(cache, m, forward.fetch),
		panicky: h.panicked,
		limit:   2 * c.MaxQueries, // the DNS door's own, and as many of the proxy's
		byKey:   make(map[lookupKey]*flight),
	}
	return &Server{
		config: c, deps: d, handler: h, lookups: l, forward: forward,
		slots: make(slots, c.MaxQueries), ctx: ctx, cancel: cancel,
	}, nil
}

type fetcher func(context.Context, lookupKey) (*entry, error)

// keeping makes a fetcher whose answers are cached before anybody sees them,
// so that no second flight starts for what is known.
func keeping(c *cache, m *metrics, fetch fetcher) fetcher {
	return func(ctx context.Context, key lookupKey) (*entry, error) {
		e, err := fetch(ctx, key)
		if err == nil {
			m.cacheEvictions.Add(float64(c.put(key, e)))
		}
		return e, err
	}
}

func unmapped(addrs []netip.Addr) []netip.Addr {
	plain := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		plain[i] = plainAddr(a)
	}
	return plain
}

// Listen opens the door: it binds UDP and TCP on every configured address and
// returns once all are bound and served. If one fails, none is left open. ctx
// bounds the binding only. Call it once.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if len(s.ingresses) > 0 {
		return errors.New("the DNS door is open already")
	}
	var bound []ingress
	for _, address := range s.config.Listen {
		pair, err := s.bind(ctx, address)
		if err != nil {
			closeAll(bound)
			return fmt.Errorf("open the DNS door on %q: %w", address, err)
		}
		bound = append(bound, pair...)
	}
	if err := s.forward.refuseSelf(bound); err != nil {
		closeAll(bound)
		return fmt.Errorf("open the DNS door: %w", err)
	}
	s.ingresses = bound
	for _, in := range bound {
		s.serving.Go(func() { in.serve(s.ctx, s.handler.respond) })
		s.deps.Log.Info("listening", zap.String("door", in.address().Name), zap.String("address", in.address().Addr))
	}
	return nil
}

func closeAll(ingresses []ingress) {
	for _, in := range ingresses {
		in.close()
	}
}

// bindTries is how often a free port is looked for that is free in UDP and TCP.
const bindTries = 32

// bind opens UDP and TCP on one address, with the same port.
func (s *Server) bind(ctx context.Context, address string) ([]ingress, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w: use an address with a port, such as 127.0.0.1:53", err)
	}
	for try := 1; ; try++ {
		pair, err := s.bindPair(ctx, host, port)
		if err == nil || port != "0" || try == bindTries || !errors.Is(err, syscall.EADDRINUSE) {
			return pair, err
		}
	}
}

func (s *Server) bindPair(ctx context.Context, host, port string) ([]ingress, error) {
	var lc net.ListenConfig
	packets, err := lc.ListenPacket(ctx, network("udp", host), net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	conn := packets.(*net.UDPConn)
	udp, err := newUDPIngress(conn, s.slots, s.handler.metrics.countShed)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ask for the addresses that queries come in on: %w", err)
	}
	// The kernel chose, where the port was 0.
	port = strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port)
	listener, err := lc.Listen(ctx, network("tcp", host), net.JoinHostPort(host, port))
	if err != nil {
		udp.close()
		return nil, err
	}
	limits := tcpLimits{conns: s.config.MaxTCPConns, each: max(s.config.MaxTCPConns/4, 1), idle: s.config.TCPIdleTimeout}
	tcp := newTCPIngress(listener, s.slots, limits, s.handler.known, s.handler.metrics.countShed)
	return []ingress{udp, tcp}, nil
}

// network keeps "0.0.0.0" to IPv4: Go would open a socket for both families.
func network(protocol, host string) string {
	if a, err := netip.ParseAddr(host); err == nil && a.Is4() {
		return protocol + "4"
	}
	return protocol
}

// Addrs lists what is bound, in configured order, UDP before TCP; nothing
// before Listen.
func (s *Server) Addrs() []Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]Address, len(s.ingresses))
	for i, in := range s.ingresses {
		addrs[i] = in.address()
	}
	return addrs
}

// Shutdown closes the door: no further query is read, those under way are
// answered. When ctx ends first they are abandoned and its error is returned.
// Either way nothing of the door is left running when it returns.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	ingresses := s.ingresses
	s.mu.Unlock()
	for _, in := range ingresses {
		in.stop()
	}
	drained := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(drained)
	}()
	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = fmt.Errorf("close the DNS door: %w", ctx.Err())
	}
	s.cancel()
	closeAll(ingresses)
	<-drained
	s.lookups.flights.close()
	s.resolving.Wait()
	return err
}
