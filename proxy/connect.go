package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// connect opens a tunnel: every step lets the request go on, or has answered
// it. The package comment tells the line in words.
func (s *Server) connect(w http.ResponseWriter, r *http.Request, conn *clientConn) {
	x := s.newExchange(w, r, conn, methodConnect)
	if !x.admitted() || !x.framed() {
		return
	}
	host, port, err := parseTarget(r)
	if err != nil {
		x.say(http.StatusBadRequest, err.Error()+"\n")
		return
	}
	x.request = policy.Request{Door: policy.DoorProxy, Host: host, Port: port}
	if !x.identified() || !x.decided() || !x.located() {
		return
	}
	upstream, err := s.dial(r.Context(), x.addrs, port)
	if err != nil {
		x.record()
		x.unreachable(err)
		return
	}
	s.open(x, upstream)
}

// parseTarget reads the destination of a CONNECT (RFC 9110 §9.3.6): host and
// port, both compulsory, and no content.
func parseTarget(r *http.Request) (policy.Host, uint16, error) {
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return policy.Host{}, 0, errors.New("a CONNECT has no content")
	}
	name, portText, err := net.SplitHostPort(r.RequestURI)
	if err != nil {
		return policy.Host{}, 0, fmt.Errorf("CONNECT %q: write host:port", r.RequestURI)
	}
	port, err := parsePort(portText)
	if err != nil {
		return policy.Host{}, 0, fmt.Errorf("CONNECT %q: %w", r.RequestURI, err)
	}
	host, err := policy.ParseHost(name)
	if err != nil {
		return policy.Host{}, 0, fmt.Errorf("CONNECT %q: %w", r.RequestURI, err)
	}
	return host, port, nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", text)
	}
	return uint16(port), nil
}

// open registers the tunnel, judges it once more (see Recheck), tells the
// client, and leaves the two connections to two goroutines.
func (s *Server) open(x *exchange, upstream *net.TCPConn) {
	t := s.newTunnel(x)
	if t == nil {
		_ = upstream.Close()
		x.record()
		x.busy()
		return
	}
	t.attach(upstream)
	if !x.decided() {
		t.finish()
		return
	}
	client, early, err := x.takeOver()
	if err != nil {
		t.finish()
		x.record()
		s.metrics.answered(x.method, statusClientGone)
		return
	}
	t.attach(client)
	x.took = time.Since(x.began)
	x.w, x.r = nil, nil // a tunnel lives long: do not keep its request's memory
	s.metrics.answered(x.method, http.StatusOK)
	t.establish()
	c := &carrier{tunnel: t, exchange: x, client: client, upstream: upstream}
	go c.run(early)
}

// takeOver takes the client's connection from net/http, together with the bytes
// that net/http has read from it beyond the request, and says 200.
func (x *exchange) takeOver() (*net.TCPConn, []byte, error) {
	conn, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection: %w", err)
	}
	var early []byte
	if n := buffered.Reader.Buffered(); n > 0 {
		peeked, err := buffered.Reader.Peek(n)
		if err != nil {
			_ = conn.Close()
			return nil, nil, fmt.Errorf("keep early bytes: %w", err)
		}
		early = append(early, peeked...)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(x.server.config.Timeouts.Header))
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		x.server.dependencies.Log.Debug("client left before the tunnel was open", zap.String("decision", x.id), zap.Error(err))
		return nil, nil, fmt.Errorf("say 200: %w", err)
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return x.conn.TCPConn, early, nil
}
