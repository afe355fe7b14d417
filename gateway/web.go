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
	server  *http.Server
	log     *zap.Logger

	listener net.Listener
	serving  sync.WaitGroup
}

func newWebServer(name, address string, h http.Handler, log *zap.Logger) *webServer {
	if address == "" {
		return nil
	}
	return &webServer{name: name, address: address, server: console.NewServer(h, log), log: log}
}

func (s *webServer) listen(ctx context.Context) error {
	if s == nil {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	s.listener = l
	s.serving.Go(func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
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

// shutdown lets requests under way finish until ctx ends.
func (s *webServer) shutdown(ctx context.Context) {
	if s == nil {
		return
	}
	if err := s.server.Shutdown(ctx); err != nil {
		_ = s.server.Close() // what is left is cut: there is nothing more to try
	}
	s.serving.Wait()
}
