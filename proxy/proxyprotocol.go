package proxy

import (
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxyheader"
)

// introduced reads from a load balancer's connection for whom it comes: from now
// on the connection is that client's, in every limit, decision and log. False
// where it is over. Anybody else's connection is left alone.
func (s *Server) introduced(l *listener, conn *clientConn) bool {
	if !conn.balancer {
		return true
	}
	if !s.crowd.rest(conn) { // nothing is under way yet that a stop should wait for
		s.hangUp(conn)
		return false
	}
	_ = conn.SetReadDeadline(time.Now().Add(s.config.Timeouts.Header))
	client, err := proxyheader.Read(conn.tcp)
	s.crowd.wake(conn)
	s.crowd.read(conn)
	if err != nil {
		s.metrics.shed.WithLabelValues(shedProxyHeader).Inc()
		s.dependencies.Log.Debug("load balancer does not say for whom it comes", zap.Stringer("balancer", conn.addr), zap.Error(err))
		s.hangUp(conn)
		return false
	}
	return s.becomes(l, conn, client.Addr())
}

// becomes gives a connection its client. A load balancer that asks in its own
// name, to see whether we live, stays what it is.
func (s *Server) becomes(l *listener, conn *clientConn, client netip.Addr) bool {
	conn.balancer = false
	if !client.IsValid() {
		return true
	}
	if !s.crowd.move(conn.addr, client) {
		s.crowd.leave(conn.addr)
		s.turnAway(l, conn.tcp)
		return false
	}
	conn.addr = client
	return true
}
