package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/gate"
)

// webServer is one of the console's listeners. A nil *webServer is one that is
// switched off: its methods do nothing.
type webServer struct {
	name    string // "admin http"
	address string
	open    listenFunc
	server  *http.Server
	clients webClients
	leaving atomic.Bool // every answer is the last of its connection
	log     *zap.Logger

	listener net.Listener // nil: not open
	serving  sync.WaitGroup
}

// listenFunc is net.ListenConfig's Listen for TCP, for a listener of that name.
type listenFunc func(ctx context.Context, config *net.ListenConfig, name, address string) (net.Listener, error)

func newWebServer(name, address string, open listenFunc, h http.Handler, log *zap.Logger) *webServer {
	if address == "" {
		return nil
	}
	s := &webServer{name: name, address: address, open: open, log: log}
	s.server = console.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	}), log)
	s.server.ConnState = s.clients.changed
	return s
}

func (s *webServer) listen(ctx context.Context) error {
	if s == nil {
		return nil
	}
	l, err := s.open(ctx, &net.ListenConfig{}, s.name, s.address)
	if err != nil {
		return err
	}
	s.listener = l
	s.serving.Go(func() {
		if err := s.server.Serve(newWebCrowd(l)); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.log.Error("listener failed", zap.String("listener", s.name), zap.Error(err))
		}
	})
	return nil
}

func (s *webServer) addresses() []Address {
	if s == nil {
		return nil
	}
	return []Address{{Name: s.name, Addr: s.listener.Addr().String()}}
}

// shutdown lets requests under way finish until ctx ends. Clients that have not
// asked anything are not waited for.
func (s *webServer) shutdown(ctx context.Context) {
	if s == nil {
		return
	}
	s.stopAccepting()
	s.clients.closeSilent()
	s.finish(ctx)
}

// leave is shutdown where another process serves the address: whoever is
// connected has so long to ask once more, which net/http lets nobody once it
// shuts down.
func (s *webServer) leave(ctx context.Context, patience time.Duration) {
	if s == nil {
		return
	}
	s.leaving.Store(true)
	s.stopAccepting()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.clients.inside.Close():
	case <-timer.C:
	case <-ctx.Done():
	}
	s.finish(ctx)
}

// stopAccepting returns when net/http knows every connection that was accepted.
func (s *webServer) stopAccepting() {
	if s.listener != nil {
		_ = s.listener.Close()
	}
	s.serving.Wait()
}

func (s *webServer) finish(ctx context.Context) {
	if err := s.server.Shutdown(ctx); err != nil {
		_ = s.server.Close() // what is left is cut: there is nothing more to try
	}
}

// webClients are the connections of a webServer, and which of them have said
// nothing yet: browsers open some for later, and net/http would wait five seconds
// for each before it stops. The zero value is ready. Safe for concurrent use.
type webClients struct {
	inside gate.Gate // closed once nobody is accepted any more

	mu       sync.Mutex
	silent   map[net.Conn]struct{}
	stopping bool
}

// changed follows a connection's life; it is net/http's ConnState hook.
func (c *webClients) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.inside.Enter()
		if c.silent == nil {
			c.silent = make(map[net.Conn]struct{})
		}
		c.silent[conn] = struct{}{}
		if c.stopping {
			_ = conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		c.inside.Leave()
		delete(c.silent, conn)
	default:
		delete(c.silent, conn)
	}
}

// closeSilent closes those that have said nothing, and those that come.
func (c *webClients) closeSilent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	for conn := range c.silent {
		_ = conn.Close()
	}
}
