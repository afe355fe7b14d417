package upstream

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"
	"go.uber.org/zap"
)

// newHTTPS is a fake on HTTPS; handle nil answers as RFC 8484 has it.
func newHTTPS(t *testing.T, a *issuer, s script, handle func(http.ResponseWriter, *http.Request, []byte)) *fake {
	t.Helper()
	f := newFake(t, s)
	if handle == nil {
		handle = func(w http.ResponseWriter, _ *http.Request, packet []byte) {
			w.Header().Set("Content-Type", "application/dns-message")
			w.Write(packet)
		}
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		answer := f.answer(body, "https")
		if answer.cut {
			panic(http.ErrAbortHandler)
		}
		if len(answer.packets) == 0 {
			<-r.Context().Done()
			return
		}
		handle(w, r, answer.packets[0])
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = zap.NewStdLog(zap.NewNop()) // handshakes that are meant to fail
	server.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, "dns.example", "127.0.0.1")}}
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch state {
		case http.StateNew:
			f.conns.Add(1)
			f.live[c] = true
		case http.StateClosed:
			delete(f.live, c)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	f.addr = server.Listener.Addr().String()
	return f
}

// newQUIC is a fake on QUIC.
func newQUIC(t *testing.T, a *issuer, s script, names ...string) *fake {
	t.Helper()
	f := newFake(t, s)
	secure := &tls.Config{Certificates: []tls.Certificate{a.issue(t, names...)}, NextProtos: []string{"doq"}, MinVersion: tls.VersionTLS13}
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	listener, err := transport.Listen(secure, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.addr = listener.Addr().String()
	var mu sync.Mutex
	var open []*quic.Conn
	f.hangUp = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			c.CloseWithError(0, "")
		}
		open = nil
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			f.conns.Add(1)
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			running.Go(func() { f.serveQUIC(conn) })
		}
	})
	t.Cleanup(func() {
		f.cutAll()
		listener.Close()
		f.cutAll()
		running.Wait()
		transport.Close()
		socket.Close()
	})
	return f
}

func (f *fake) serveQUIC(conn *quic.Conn) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		running.Go(func() {
			wire, err := readMessage(stream, nil)
			if err != nil {
				return
			}
			rest, err := io.ReadAll(stream)
			if err != nil {
				return // the client is gone
			}
			if len(rest) > 0 {
				f.t.Errorf("%d bytes behind the query", len(rest))
			}
			r := f.answer(wire, "quic")
			for _, packet := range r.packets {
				stream.Write(frame(packet))
			}
			stream.Write(r.raw)
			if len(r.packets) == 0 && len(r.raw) == 0 && !r.cut { // silent
				<-conn.Context().Done()
			}
			stream.Close()
		})
	}
}
