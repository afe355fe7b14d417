package dnsfilter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/dnsfilter/cookie"
	"github.com/sallyport/sallyport/dnsfilter/ingress"
	"github.com/sallyport/sallyport/dnsfilter/localdata"
	"github.com/sallyport/sallyport/dnsfilter/upstream"
	"github.com/sallyport/sallyport/ratelimit"
)

// Server is the DNS door. Make it with New, end it with Shutdown. Safe for
// concurrent use.
type Server struct {
	config  Config
	deps    Dependencies
	handler *handler
	lookups *lookups
	source  *source
	pool    *upstream.Pool

	ctx       context.Context // of everything the door does
	cancel    context.CancelFunc
	serving   sync.WaitGroup
	resolving sync.WaitGroup
	tending   sync.WaitGroup

	mu        sync.Mutex
	listeners *ingress.Set // nil: not open
	closed    bool
}

// New makes a door that is not open yet: Resolve works, Listen opens it. It
// fails on settings that cannot work, all of them named, and when metrics
// cannot be registered. The caller calls Shutdown.
func New(c Config, d Dependencies) (*Server, error) {
	c, d = c.withDefaults(), d.withDefaults()
	if err := errors.Join(c.check(), d.check()); err != nil {
		return nil, fmt.Errorf("set up the DNS door: %w", err)
	}
	jar, err := cookies(c.CookieSecretFile)
	if err != nil {
		return nil, fmt.Errorf("set up the DNS door: %w", err)
	}
	local, err := localdata.New(c.localData())
	if err != nil {
		return nil, fmt.Errorf("set up the DNS door: %w", err)
	}
	l := &lookups{now: d.clock(), stale: c.ServeStale, ahead: c.Prefetch}
	pool, err := newPool(&c, &d, l)
	if err != nil {
		return nil, fmt.Errorf("set up the DNS door: %w", err)
	}
	l.cache = newCache(c.CacheBytes)
	if l.metrics, err = newMetrics(d.Registerer, l.cache, pool.Names()); err != nil {
		return nil, errors.Join(fmt.Errorf("register the DNS door's metrics: %w", err), pool.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{config: c, deps: d, pool: pool, lookups: l, ctx: ctx, cancel: cancel}
	s.source = &source{
		ask:     pool.Ask,
		lookups: l,
		cache:   l.cache,
		metrics: l.metrics,
		ttls:    ttlBounds{min: c.MinTTL, max: c.MaxTTL, maxNegative: c.MaxNegativeTTL},
		stale:   c.ServeStale,
		total:   c.QueryTimeout,
		now:     d.clock(),
	}
	s.source.local.Store(local)
	s.handler = newHandler(&c, &d, l, jar)
	l.flights = &flights{
		ctx:     ctx,
		fetch:   s.source.fetch,
		panicky: s.handler.panicked,
		limit:   6 * c.MaxQueries, // those of upstreams, and what they bring with them
		byKey:   make(map[string]*flight),
	}
	s.tending.Go(s.tend)
	return s, nil
}

// newPool makes the upstream resolvers. What they report goes to lookups, which
// is complete before the first question is asked.
func newPool(c *Config, d *Dependencies, l *lookups) (*upstream.Pool, error) {
	settings, err := c.upstreams()
	if err != nil {
		return nil, err
	}
	return upstream.New(settings, upstream.Dependencies{
		Observe: func(name, result string, took time.Duration) { l.metrics.observeUpstream(name, result, took) },
		State:   l.upstreamState,
		Log:     d.Log,
		Now:     d.Now,
	})
}

// cookies makes the jar of DNS cookies with the secrets in a file, or with a
// random one.
func cookies(file string) (*cookie.Jar, error) {
	if file == "" {
		return cookie.New(), nil
	}
	secrets, err := cookie.ReadSecrets(file)
	if err != nil {
		return nil, err
	}
	return cookie.New(secrets...), nil
}

func newHandler(c *Config, d *Dependencies, l *lookups, jar *cookie.Jar) *handler {
	h := &handler{
		settings: settings{
			clients:    c.Clients,
			subnetFrom: c.SubnetFrom,
			strip:      c.StripECH,
			require:    c.RequireCookies,
			idle:       c.IdleTimeout,
		},
		decider:  d.Decider,
		prepare:  d.Prepare,
		identify: d.Identify,
		record:   d.Record,
		sinkhole: newSinkhole(c),
		lookups:  l,
		cookies:  jar,
		limiter:  ratelimit.New(ratelimit.Config{Rate: c.Rate, Burst: c.Burst, Exempt: c.RateExempt}),
		others:   ratelimit.New(ratelimit.Config{Rate: strangersRate, MaxClients: maxStrangers}),
		inflight: ratelimit.NewInflight(c.MaxQueries, max(c.MaxQueries/8, 1)),
		streamed: ratelimit.NewInflight(c.MaxQueries, max(c.MaxQueries/8, 1)),
		metrics:  l.metrics,
		log:      d.Log,
		now:      d.Now,
	}
	h.desks.New = func() any { return h.newDesk() }
	return h
}

func unmapped(addrs []netip.Addr) []netip.Addr {
	plain := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		plain[i] = plainAddr(a)
	}
	return plain
}

// Listen opens the door: it binds every configured listener and returns once
// all are bound and served. If one fails, which a *ListenError names, none is
// left open. ctx bounds the binding only. Call it once.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if s.listeners != nil {
		return errors.New("the DNS door is open already")
	}
	set, err := ingress.Open(ctx, s.ingress(), ingress.Dependencies{
		Known:    s.handler.known,
		Shed:     s.handler.metrics.shed,
		PathPeer: s.deps.Device,
		Sockets:  s.deps.Sockets,
		Log:      s.deps.Log,
	})
	if err != nil {
		return fmt.Errorf("open the DNS door: %w", err)
	}
	if err := s.refuseSelf(set); err != nil {
		set.Close()
		return fmt.Errorf("open the DNS door: %w", err)
	}
	s.listeners = set
	if err := s.deps.Registerer.Register(newIngressCollector(set)); err != nil {
		set.Close()
		return fmt.Errorf("register the metrics of the DNS door's listeners: %w", err)
	}
	s.serving.Go(func() { set.Serve(s.ctx, s.handler) })
	for _, a := range set.Addrs() {
		s.deps.Log.Info("listening", zap.String("door", a.Name), zap.String("address", a.Addr))
	}
	return nil
}

// ingress are the settings of the listeners.
func (s *Server) ingress() ingress.Config {
	c := &s.config
	return ingress.Config{
		Listen:         c.Listen,
		TLS:            c.TLS,
		HTTPS:          c.HTTPS,
		QUIC:           c.QUIC,
		Path:           c.HTTPSPath,
		HTTP3:          c.HTTP3,
		ProxyFrom:      c.ProxyFrom,
		MaxConns:       c.MaxConns,
		MaxClientConns: c.MaxClientConns,
		Idle:           c.IdleTimeout,
		MaxQueries:     c.MaxQueries,
		UDPSockets:     c.Sockets,
	}
}

// refuseSelf fails where an upstream is one of the door's own listeners: every
// query would come back to us until its time is over. A circle through another
// resolver cannot be seen from here; there the single flight per question and
// its total time bound the damage.
func (s *Server) refuseSelf(set *ingress.Set) error {
	var own []netip.AddrPort
	for _, a := range set.Addrs() {
		at, err := netip.ParseAddrPort(a.Addr)
		if err != nil {
			return fmt.Errorf("read the bound address: %w", err)
		}
		own = append(own, at)
	}
	return s.pool.RefuseSelf(own)
}

// Addrs lists what is bound, in configured order, plain listeners first;
// nothing before Listen.
func (s *Server) Addrs() []ingress.Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners == nil {
		return nil
	}
	return s.listeners.Addrs()
}

// Shutdown closes the door: no further query is read, those under way are
// answered. When ctx ends first they are abandoned and its error is returned.
// Either way nothing of the door is left running when it returns.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	set := s.listeners
	s.mu.Unlock()
	var err error
	if set != nil {
		set.Stop()
		drained := make(chan struct{})
		go func() {
			s.serving.Wait()
			close(drained)
		}()
		select {
		case <-drained:
		case <-ctx.Done():
			err = fmt.Errorf("close the DNS door: %w", ctx.Err())
		}
		s.cancel()
		set.Close()
		<-drained
	}
	s.cancel()
	s.lookups.flights.close()
	s.resolving.Wait()
	s.tending.Wait()
	return errors.Join(err, s.pool.Close())
}
