package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/console"
)

// webServer is one of the console's listeners. A nil *webServer is one that is
// switched off: its methods do nothing.
type webServer struct {
	name    string // "admin http"
	address string
	open    listenFunc
	server  *http.Server
	silent  silentConns
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
	s := &webServer{name: name, address: address, open: open, server: console.NewServer(h, log), log: log}
	s.server.ConnState = s.silent.changed
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
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
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
	s.silent.close()
	s.finish(ctx)
}

// leave is shutdown where another process serves the address: whoever was
// accepted is heard.
func (s *webServer) leave(ctx context.Context) {
	if s == nil {
		return
	}
	s.stopAccepting()
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

// silentConns are the connections on which nothing has come yet: browsers open
// some for later, and net/http would wait five seconds for each before it stops.
// The zero value is ready. Safe for concurrent use.
type silentConns struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// changed follows a connection's life; it is net/http's ConnState hook.
func (s *silentConns) changed(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.conns, conn)
	case s.closed:
		_ = conn.Close()
	default:
		if s.conns == nil {
			s.conns = make(map[net.Conn]struct{})
		}
		s.conns[conn] = struct{}{}
	}
}

// close closes them, and those that come.
func (s *silentConns) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close()
	}
}
