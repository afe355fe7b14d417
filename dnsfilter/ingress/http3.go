package ingress

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sallyport/sallyport/servercert"
)

// http3Unidirectional is how many unidirectional streams HTTP/3 needs: control,
// two of QPACK, and room for those that are there to be ignored (RFC 9114 §6.2).
const http3Unidirectional = 8

// web3 is a listener for DNS over HTTPS by HTTP/3, on the port of the one by
// HTTP/2, which tells clients of it.
type web3 struct {
	*quicSocket
	server  *http3.Server
	handler *dohHandler
}

// listenHTTP3 binds address. The handler must be its own.
func listenHTTP3(ctx context.Context, address string, h *dohHandler, certificates *servercert.Store) (endpoint, error) {
	config := certificates.ServerConfig(http3.NextProtoH3)
	socket, err := listenQUIC(ctx, address, h.shared, HTTPS, config, http3Unidirectional)
	if err != nil {
		return nil, err
	}
	in := &web3{quicSocket: socket, handler: h}
	in.server = &http3.Server{Handler: h, MaxHeaderBytes: maxHTTPHeader, IdleTimeout: max(h.idle, httpIdle)}
	return in, nil
}

// Serve answers the requests of every connection, and returns after Stop when
// the last reply has gone out, or when ctx ends.
func (in *web3) Serve(ctx context.Context, door Door) {
	in.serving.Store(true)
	defer in.free()
	defer context.AfterFunc(ctx, in.Stop)()
	in.handler.open(door)
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, m, err := in.accept(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), unproven, func() func() {
			return func() {} // told by GOAWAY
		})
		if err != nil {
			break
		}
		visitor, _ := conn.Context().Value(visitorKey{}).(*visitor)
		visitor.member = m
		visitor.client = func() netip.AddrPort { return peerAddress(conn.RemoteAddr()) }
		if !m.is(known) {
			visitor.told = make(chan struct{})
			open.Go(func() { dismiss(conn, visitor.told) })
		}
		open.Go(func() {
			defer in.crowd.leave(m)
			_ = in.server.ServeQUICConn(conn) // what goes wrong is the client's affair
		})
	}
	in.end(ctx)
}

// dismiss ends the connection of a client that has been told that it may not
// ask, once what it was told has had the time to arrive. HTTP/3 has no word for
// it that is for one connection alone.
func dismiss(conn *quic.Conn, told <-chan struct{}) {
	select {
	case <-conn.Context().Done():
		return
	case <-told:
	}
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-conn.Context().Done():
	case <-timer.C:
		_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	}
}

// end says GOAWAY, waits for the requests under way and gives their replies
// the time to arrive; clients that have them all close the connection sooner.
func (in *web3) end(ctx context.Context) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = in.server.Shutdown(ctx)
	}()
	<-in.handler.requests.Close()
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
		_ = in.server.Close()
		<-gone
	}
}
