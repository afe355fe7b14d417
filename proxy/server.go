package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/gate"
	"github.com/sallyport/sallyport/proxy/outbound"
	"github.com/sallyport/sallyport/proxy/relay"
	"github.com/sallyport/sallyport/ratelimit"
)

// Server is the proxy door. Make it with New. Its methods are safe for
// concurrent use.
type Server struct {
	config       Config
	dependencies Dependencies

	metrics     *metrics
	identifiers *identifiers
	networks    *networkGuard
	crowd       *crowd
	rate        *ratelimit.Limiter
	bandwidth   bandwidth
	lingering   chan struct{} // one element a lingering connection
	tunnels     *registry
	relay       *relay.Relay // once Listen has been called
	blocks      sync.Pool    // of *block
	dialer      *outbound.Dialer
	pool        *http.Transport // of connections for plain requests
	transport   *outbound.Transport
	forwarder   http.Handler
	headers     sync.Pool // of *[headBytes]byte
	pseudonym   string    // of this process, in Via
	redialled   ownDials  // for redirected clients
	began       time.Time // when the clock of rate begins

	security *security // of the TLS listener; nil: there is none

	requests gate.Gate   // handlers under way
	leaving  atomic.Bool // no client is to stay for another request
	base     context.Context
	cancel   context.CancelFunc

	mu        sync.Mutex
	closed    bool
	listeners []*listener
	servers   []*http.Server
	serving   sync.WaitGroup
}

// Address is where a listener is bound.
type Address struct {
	Name string // what listens: "proxy http"
	Addr string // host:port
}

// New makes a Server that does not listen yet. It fails on settings that make
// no sense, on a missing dependency, and where the metrics are registered
// already.
func New(config Config, dependencies Dependencies) (*Server, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	dependencies, err = dependencies.complete()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(dependencies.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Server{
		config:       config,
		dependencies: dependencies,
		metrics:      m,
		identifiers:  newIdentifiers(),
		crowd:        newCrowd(config.MaxConns, config.MaxConnsPerClient, m.shed),
		rate:         ratelimit.New(ratelimit.Config{Rate: config.Rate, Exempt: config.RateExempt}),
		lingering:    make(chan struct{}, max(1, config.MaxConns/16)),
		tunnels:      newRegistry(config.MaxTunnels, config.MaxTunnelsPerClient),
		blocks:       sync.Pool{New: func() any { return new(block) }},
		headers:      sync.Pool{New: func() any { return new([headBytes]byte) }},
		pseudonym:    newPseudonym(),
		began:        time.Now(),
	}
	if err := s.registerOccupancy(); err != nil {
		return nil, err
	}
	if s.bandwidth, err = newBandwidth(config.Bandwidth); err != nil {
		return nil, err
	}
	s.networks = newNetworkGuard(config.DenyNetworks, s.ownAddresses)
	if s.dialer, err = outbound.New(config.Outbound, s.forDialling()); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if s.security, err = newSecurity(config.TLS, dependencies); err != nil {
		return nil, err
	}
	s.pool = newPool(config.Timeouts)
	s.transport = s.dialer.NewTransport(s.pool)
	s.forwarder = newForwarder(s.pool, s.roundTrip, dependencies.Log)
	s.base, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Listen binds every address, or none, and starts serving. It returns once all
// are bound; ctx bounds the binding alone. It may be called once.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.relay != nil {
		return errors.New("proxy: listen: the server has been started already")
	}
	var err error
	if s.relay, err = relay.New(relay.Config{Idle: s.config.Timeouts.Idle}); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	var streams *http.Server
	if s.security != nil {
		if streams, err = s.newStreamServer(); err != nil {
			return err
		}
	}
	for _, k := range s.kinds() {
		for _, address := range k.addresses {
			l, err := s.listen(ctx, k, address)
			if err != nil {
				for _, earlier := range s.listeners {
					_ = earlier.Close()
				}
				s.listeners = nil
				return err
			}
			s.listeners = append(s.listeners, l)
		}
	}
	if streams != nil {
		s.hand(s.security.streams, streams)
	}
	s.serving.Go(func() { s.endSilent(s.base) })
	for _, l := range s.listeners {
		s.hand(l, s.newHTTPServer())
		s.serving.Go(func() { s.accept(l) })
	}
	return nil
}

// hand has net/http serve what a listener leaves to it.
func (s *Server) hand(l net.Listener, server *http.Server) {
	s.servers = append(s.servers, server)
	s.serving.Go(func() { s.serve(server, l) })
}

func (s *Server) newHTTPServer() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	limits := s.config.Timeouts
	server := &http.Server{
		Handler:           s,
		Protocols:         &protocols,
		ReadHeaderTimeout: limits.Header,
		// Covers the answers that we write ourselves: finding the name,
		// connecting, and as long again as a head may take. forward lifts it,
		// hijacking does too.
		WriteTimeout:                 2*limits.Dial + limits.Header,
		IdleTimeout:                  min(limits.Idle, keepAliveIdle),
		MaxHeaderBytes:               s.config.MaxHeaderBytes,
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return s.base },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ConnState: s.changed,
	}
	// What net/http has to say of broken clients goes to a level at which
	// nobody can fill an admin's disk with it.
	if quiet, err := zap.NewStdLogAt(s.dependencies.Log, zap.DebugLevel); err == nil {
		server.ErrorLog = quiet
	}
	return server
}

func (s *Server) serve(server *http.Server, l net.Listener) {
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.dependencies.Log.Error("proxy listener failed", zap.String("address", l.Addr().String()), zap.Error(err))
	}
}

// Addrs lists where the server is bound; empty before Listen.
func (s *Server) Addrs() []Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Address
	for _, l := range s.listeners {
		list = append(list, Address{Name: l.name, Addr: l.Addr().String()})
	}
	return list
}

// ownAddresses lists the listeners that must not be dialled: ours, and those
// of the rest of the gateway.
func (s *Server) ownAddresses() []netip.AddrPort {
	list := s.dependencies.Self()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if bound, ok := l.Addr().(*net.TCPAddr); ok {
			list = append(list[:len(list):len(list)], bound.AddrPort())
		}
	}
	return list
}

// connKey is where a request's context keeps its *clientConn.
type connKey struct{}

// ServeHTTP answers one request. It is called by the server's own listeners
// only.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.abort()
	if !s.requests.Enter() {
		w.Header().Set("Connection", "close")
		http.Error(w, "the proxy is stopping", http.StatusServiceUnavailable)
		return
	}
	defer s.requests.Leave()
	conn, ok := r.Context().Value(connKey{}).(*clientConn)
	if !ok {
		panic("proxy: request from a foreign listener")
	}
	conn.begun = false
	s.partFrom(w)
	if r.Method == http.MethodConnect && !conn.original.IsValid() {
		s.connect(w, r, conn)
		return
	}
	s.forward(w, r, conn)
}

// Shutdown stops the server: listeners close first, then requests and tunnels
// under way may finish until ctx ends, then what is left is closed. It returns
// when every goroutine of the server has ended; the error is ctx's where
// something had to be cut short.
func (s *Server) Shutdown(ctx context.Context) error {
	s.leaving.Store(true)
	s.mu.Lock()
	s.closed = true
	servers := s.servers
	for _, l := range s.listeners {
		_ = l.Close() // Shutdown closes it again
	}
	s.mu.Unlock()
	s.crowd.closeSilent()

	var stopping sync.WaitGroup
	errs := make([]error, len(servers))
	for i, server := range servers {
		stopping.Go(func() { errs[i] = server.Shutdown(ctx) })
	}
	stopping.Wait()
	// What net/http knows nothing of: a CONNECT that we have read, and that is
	// being dialled for, becomes a tunnel yet.
	noRequests := s.requests.Close()
	waitUntil(ctx, noRequests)
	noTunnels := s.tunnels.open.Close()
	if !waitUntil(ctx, noTunnels) {
		errs = append(errs, fmt.Errorf("proxy: tunnels cut short: %w", ctx.Err()))
	}

	s.tunnels.endAll(closedByShutdown) // first, so that this is the reason they give
	s.cancel()
	s.crowd.closeReading()
	for _, server := range servers {
		_ = server.Close() // it has nothing to report that Shutdown did not
	}
	<-noTunnels
	<-noRequests
	s.pool.CloseIdleConnections()
	s.serving.Wait()
	if s.relay != nil {
		errs = append(errs, s.relay.Close())
	}
	return errors.Join(errs...)
}
