package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/servercert"
)

// TLS is the listener at which clients speak to the proxy inside TLS: HTTP/1.1
// or HTTP/2, as they agree on (ALPN). The files are PEM, and are read again when
// they have changed.
type TLS struct {
	// Listen holds TCP addresses, host:port. Empty: there is no such listener.
	Listen []string

	// Certificate is the file of the proxy's certificate, with the authorities
	// between, and Key that of its private key, mode 0600.
	Certificate, Key string

	// ClientCA is the file of the authorities that sign clients' certificates,
	// without which nobody connects. Empty: clients need none.
	ClientCA string
}

// protocols are what clients may speak inside TLS (ALPN).
const (
	protocolHTTP1 = "http/1.1"
	protocolHTTP2 = "h2"
)

// security is what TLS to the proxy needs.
type security struct {
	store   *servercert.Store
	config  *tls.Config
	streams *streamListener // of the connections that speak HTTP/2
}

// newSecurity reads the certificate; nil where there is no listener for TLS.
func newSecurity(c TLS, deps Dependencies) (*security, error) {
	if len(c.Listen) == 0 {
		return nil, nil
	}
	if c.ClientCA != "" && deps.IdentifyPeer == nil {
		return nil, errors.New("proxy: clients have certificates, and there is no func to identify them by")
	}
	store, err := servercert.Load(servercert.Files{Certificate: c.Certificate, Key: c.Key, ClientCA: c.ClientCA}, deps.Log)
	if err != nil {
		return nil, &ListenError{Name: nameTLS, Err: err}
	}
	if deps.Registerer != nil {
		expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sallyport_proxy_certificate_not_after_timestamp_seconds",
			Help: "When the certificate of the proxy's TLS listener expires.",
		}, func() float64 {
			store.Refresh() // the files count, and not what a listener without clients last read
			return float64(store.NotAfter().Unix())
		})
		if err := deps.Registerer.Register(expiry); err != nil {
			return nil, fmt.Errorf("proxy: register metrics: %w", err)
		}
	}
	return &security{store: store, config: store.ServerConfig(protocolHTTP2, protocolHTTP1), streams: newStreamListener()}, nil
}

// ClientAuthorities reports whether clients of the TLS listener must show a
// certificate, and whether the files that say of whom are good: where they are
// not, those before still hold.
func (s *Server) ClientAuthorities() (wanted, good bool) {
	if s.security == nil {
		return false, false
	}
	s.security.store.Refresh()
	return s.security.store.ClientAuthorities()
}

// nameTLS is the listener's name, as in Address.
const nameTLS = "proxy tls"

// serveTLS serves a client that speaks TLS first of all.
func (s *Server) serveTLS(l *listener, conn *clientConn) {
	secured := s.shakeHands(conn)
	if secured == nil {
		s.hangUp(conn)
		return
	}
	conn.Conn = secured
	state := secured.ConnectionState()
	conn.peer = peerOf(state)
	if state.NegotiatedProtocol != protocolHTTP2 {
		s.serveHTTP(l, conn)
		return
	}
	if !s.security.streams.pass(secured) {
		s.hangUp(conn)
	}
}

// shakeHands makes the TLS connection, within the time that a client has to say
// what it wants; nil where that does not come about. A stop does not wait for it.
func (s *Server) shakeHands(conn *clientConn) *tls.Conn {
	if !s.crowd.rest(conn) {
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(s.config.Timeouts.Header))
	secured := tls.Server(&underTLS{TCPConn: conn.tcp, client: conn}, s.security.config)
	err := secured.Handshake()
	s.crowd.wake(conn)
	s.crowd.read(conn)
	if err != nil {
		s.metrics.shed.WithLabelValues(shedHandshake).Inc()
		s.dependencies.Log.Debug("no TLS came about", zap.Stringer("client", conn.addr), zap.Error(err))
		s.explainTLS(conn, err)
		return nil
	}
	_ = conn.SetDeadline(time.Time{})
	return secured
}

// explainTLS tells a client that speaks HTTP without TLS what is missing.
func (s *Server) explainTLS(conn *clientConn, err error) {
	var foreign tls.RecordHeaderError
	if !errors.As(err, &foreign) || foreign.Conn == nil || !isMethodStart(string(foreign.RecordHeader[:])) {
		return
	}
	response := memoryResponse{last: true}
	writeText(&response, &http.Request{}, http.StatusBadRequest, "this port of the proxy speaks TLS: write https:// before its address\n")
	_ = conn.SetWriteDeadline(time.Now().Add(lingerTime))
	if _, err := conn.Write(response.bytes()); err == nil {
		s.linger(conn)
	}
}

// isMethodStart reports whether text, of the length of a TLS record's head,
// begins a request to a proxy.
func isMethodStart(text string) bool {
	for _, method := range []string{"CONNECT ", "GET ", "HEAD ", "POST ", "PUT ", "OPTIONS ", "DELETE ", "PATCH "} {
		if strings.HasPrefix(method, text) || strings.HasPrefix(text, method) {
			return true
		}
	}
	return false
}

// underTLS is the TCP connection that a client's TLS connection is made of, and
// knows whose it is.
type underTLS struct {
	*net.TCPConn
	client *clientConn
}

// clientOf is the client that a TLS connection of ours is with.
func clientOf(conn net.Conn) *clientConn {
	if secured, ok := conn.(*tls.Conn); ok {
		if under, ok := secured.NetConn().(*underTLS); ok {
			return under.client
		}
	}
	panic("proxy: connection from a foreign listener")
}

// secured reports whether the client speaks TLS to us.
func (c *clientConn) secured() bool { return c.Conn != net.Conn(c.tcp) }

// unread reports whether the client has sent something that nobody has read.
// Where it has, the connection is good for nothing any more but to be closed: a
// byte of it may be gone.
func (c *clientConn) unread() bool {
	if waiting(c.tcp) > 0 {
		return true
	}
	if !c.secured() {
		return false
	}
	// TLS may have read a record more than it was asked for.
	var one [1]byte
	_ = c.SetReadDeadline(time.Unix(1, 0))
	n, _ := c.Conn.Read(one[:])
	_ = c.SetReadDeadline(time.Time{})
	return n > 0
}

// CloseWrite says that we have nothing more to send.
func (c *clientConn) CloseWrite() error {
	if secured, ok := c.Conn.(*tls.Conn); ok {
		return errors.Join(secured.CloseWrite(), c.tcp.CloseWrite())
	}
	return c.tcp.CloseWrite()
}
