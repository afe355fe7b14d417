package proxy

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy/relay"
)

// connect serves a CONNECT that net/http has read.
func (s *Server) connect(w http.ResponseWriter, r *http.Request, conn *clientConn) {
	web := s.newWebFront(w, r, conn)
	x := s.newExchange(web.asking(methodConnect))
	if !x.admitted() || !web.framed(x) {
		return
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		x.say(http.StatusBadRequest, "a CONNECT has no content\n")
		return
	}
	s.tunnelTo(x, r.RequestURI)
}

// tunnelTo opens a tunnel to the target of a CONNECT: every step lets the
// request go on, or has answered it. The package comment tells the line in
// words.
func (s *Server) tunnelTo(x *exchange, target string) {
	host, port, err := parseTarget(target)
	if err != nil {
		x.say(http.StatusBadRequest, err.Error()+"\n")
		return
	}
	s.tunnelToHost(x, host, port)
}

// tunnelToHost is tunnelTo for a destination that has been read.
func (s *Server) tunnelToHost(x *exchange, host policy.Host, port uint16) {
	x.request = policy.Request{Door: policy.DoorProxy, Host: host, Port: port}
	if !x.identified() || !x.decided() || !x.located() || !x.unlooped() {
		return
	}
	upstream, err := s.dial(x.ctx, x)
	if err != nil {
		x.record()
		x.unreachable(err)
		return
	}
	s.open(x, upstream.Conn)
}

// parseTarget reads the destination of a CONNECT (RFC 9110 §9.3.6): host and
// port, both compulsory.
func parseTarget(target string) (policy.Host, uint16, error) {
	name, portText, err := net.SplitHostPort(target)
	if err != nil {
		return policy.Host{}, 0, fmt.Errorf("CONNECT %q: write host:port", target)
	}
	port, err := parsePort(portText)
	if err != nil {
		return policy.Host{}, 0, fmt.Errorf("CONNECT %q: %w", target, err)
	}
	host, err := policy.ParseHost(name)
	if err != nil {
		return policy.Host{}, 0, fmt.Errorf("CONNECT %q: %w", target, err)
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
// client, and leaves the two connections to the relay.
func (s *Server) open(x *exchange, upstream net.Conn) {
	t := s.newTunnel(x)
	if t == nil {
		_ = upstream.Close()
		x.record()
		x.busy()
		return
	}
	var client net.Conn
	handed := false
	defer func() { // after a panic, too: a stop waits for every tunnel
		if handed {
			return
		}
		if client != nil {
			_ = client.Close() // which is nobody's any more
		}
		t.finish()
	}()
	t.attach(upstream)
	if !x.decided() {
		return
	}
	taken, early, err := x.front.open(x)
	if err != nil {
		s.dependencies.Log.Debug("client left before the tunnel was open", zap.String("decision", x.id), zap.Error(err))
		x.record()
		s.metrics.answered(x.method, statusClientGone)
		x.account.asked(x)
		x.account.answered(answer{status: statusClientGone})
		x.account.close()
		return
	}
	client = taken
	x.account.asked(x)
	x.took = time.Since(x.began)
	x.forget()
	s.metrics.answered(x.method, http.StatusOK)
	s.metrics.answers.kind[answerAllowed].Observe(x.took.Seconds())
	t.establish()
	c := &carrier{tunnel: t, exchange: x, client: client, account: x.account}
	err = t.flow(relay.Ends{Client: client, Upstream: upstream}, early, c)
	handed = true
	if err != nil {
		c.Ended(relay.Outcome{Cause: relay.CauseEnded})
	}
}
