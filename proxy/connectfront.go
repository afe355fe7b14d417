package proxy

import (
	"net"
	"net/http"
	"time"
)

// connectFront is the front of a CONNECT that we have read ourselves (see
// serveHTTP): most of a proxy's requests begin a connection and are its only
// one, and net/http costs more than all the rest of them.
type connectFront struct {
	server *Server
	conn   *clientConn
	head   connectHead
	early  []byte // what came behind the head
	over   bool   // the connection serves no further request
	taken  bool   // it has become a tunnel
}

// asking is the request, for an exchange.
func (f *connectFront) asking() asking {
	return asking{
		front:       f,
		ctx:         f.server.base,
		client:      f.conn.addr,
		peer:        f.conn.peer,
		credentials: f.head.credentials,
		accept:      f.head.accept,
		agent:       f.head.agent,
		via:         f.head.via,
		target:      f.head.target,
		verb:        http.MethodConnect,
		major:       1,
		minor:       f.head.minor,
		method:      methodConnect,
		transport:   methodConnect,
	}
}

// deny keeps the connection for the next request where the client has waited
// for the answer. Where it has not, what it sent was meant for the tunnel that
// it did not get, must not be taken for a request, and is thrown away.
func (f *connectFront) deny(x *exchange, a answer) {
	if f.server.promises(x, a) {
		f.over = true
		f.server.keepPromise(x, f.conn, f.early, a)
		return
	}
	early := len(f.early) > 0 || f.conn.unread()
	f.over = a.last || early || f.head.close || f.server.leaving.Load()
	response := memoryResponse{last: f.over}
	f.server.write(a, &response, f.head.request(), x.destination())
	_ = f.conn.SetWriteDeadline(time.Now().Add(lingerTime))
	wire := response.bytes()
	x.account.sentWhole(wire, &response)
	_, err := f.conn.Write(wire) // an error means that the client has left
	switch {
	case err != nil:
		f.over = true
	case early:
		f.server.linger(f.conn)
	}
}

// open says 200. The connection belongs to the tunnel then.
func (f *connectFront) open(*exchange) (net.Conn, []byte, error) {
	if err := establish(f.conn, f.server.config.Timeouts.Header); err != nil {
		f.over = true
		return nil, nil, err
	}
	f.taken = true
	return f.conn.Conn, f.early, nil
}

// request is as much of a request as an answer's form depends on.
func (h *connectHead) request() *http.Request {
	return &http.Request{Method: http.MethodConnect, Header: http.Header{"Accept": {h.accept}}}
}
