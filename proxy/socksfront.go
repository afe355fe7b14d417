package proxy

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// methodSocks labels SOCKS in metrics, and is the transport of its decisions.
const methodSocks = "socks"

// socksFront is the front of a request by SOCKS 5. It is a connection's only
// one.
type socksFront struct {
	server      *Server
	conn        *clientConn
	credentials string // as HTTP has them; empty: none
	early       []byte // what came behind the request
	farewell    []byte // says no before there is a request; nil: a reply does
	taken       bool   // the connection has become a tunnel
}

// asking is the request, for an exchange.
func (f *socksFront) asking() asking {
	return asking{
		front:       f,
		ctx:         f.server.base,
		client:      f.conn.addr,
		credentials: f.credentials,
		verb:        http.MethodConnect,
		method:      methodSocks,
		transport:   methodSocks,
	}
}

// deny replies with the nearest that SOCKS has to the answer, and closes the
// connection, as RFC 1928 §6 wants it.
func (f *socksFront) deny(x *exchange, a answer) {
	if f.server.promises(x, a) {
		if conn, early, err := f.open(x); err == nil {
			f.server.showInside(x, conn, early, a)
		}
		f.taken = false // the connection has been one of the crowd all the time
		return
	}
	reply := f.farewell
	if reply == nil {
		reply = socksReplyTo(a).bytes()
	}
	_ = f.conn.SetWriteDeadline(time.Now().Add(lingerTime))
	if _, err := f.conn.Write(reply); err != nil {
		return // the client has left
	}
	x.account.sent(int64(len(reply)), 0)
	f.server.linger(f.conn)
}

// socksReplyTo translates an answer.
func socksReplyTo(a answer) socksReply {
	switch {
	case a.status == http.StatusForbidden, a.status == http.StatusProxyAuthRequired:
		return socksNotAllowed
	case a.status == http.StatusNotImplemented:
		return socksNoCommand
	case a.proxyStatus == "connection_refused":
		return socksRefused
	case a.proxyStatus == "destination_ip_unroutable":
		return socksNetworkUnreachable
	case a.status == http.StatusBadGateway:
		return socksHostUnreachable
	case a.status == http.StatusGatewayTimeout:
		return socksTooLate
	default:
		return socksFailed
	}
}

// open says that the tunnel is there. The connection belongs to it then.
func (f *socksFront) open(*exchange) (net.Conn, []byte, error) {
	_ = f.conn.SetDeadline(time.Now().Add(f.server.config.Timeouts.Header))
	if _, err := f.conn.Write(socksSucceeded.bytes()); err != nil {
		return nil, nil, fmt.Errorf("say that the tunnel is open: %w", err)
	}
	_ = f.conn.SetDeadline(time.Time{})
	f.taken = true
	return f.conn.Conn, f.early, nil
}
