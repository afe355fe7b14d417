package proxy

import (
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// serveSOCKS serves a client that speaks SOCKS 5 (RFC 1928): greeting, user name
// and password where they are wanted, one request. What comes behind it belongs
// to the tunnel.
func (s *Server) serveSOCKS(_ *listener, conn *clientConn) {
	piece := s.headers.Get().(*[headBytes]byte)
	defer s.headers.Put(piece)
	front := &socksFront{server: s, conn: conn}
	talk := &socksTalk{server: s, conn: conn, buffer: piece[:]}
	talk.hurry()
	if front.agreed(talk) {
		front.serve(talk)
	}
	s.crowd.read(conn)
	if front.taken {
		s.crowd.leave(conn.addr)
		return
	}
	s.hangUp(conn)
}

// agreed finds out how the client wants to prove who it is, and has it do so.
// False: it was told no, or is not worth an answer.
func (f *socksFront) agreed(talk *socksTalk) bool {
	var greeting socksGreeting
	err := talk.next(func(data []byte) (n int, err error) {
		greeting, n, err = parseSocksGreeting(data)
		return n, err
	})
	switch {
	case errors.Is(err, errSocksOld):
		f.refuse(socksOldRefusal[:], answer{status: http.StatusBadRequest, text: err.Error(), last: true})
		return false
	case err != nil:
		return false
	}
	method := f.method(greeting)
	if method == socksNoMethod {
		f.refuse([]byte{socksVersion, socksNoMethod}, answer{status: http.StatusBadRequest, text: "no way to prove who asks that is known here", last: true})
		return false
	}
	return talk.say(socksVersion, method) && (method != socksPassword || f.proven(talk))
}

// method chooses among what a client offers. A password is asked for where there
// are users, and not of strangers: checking one takes time. A client that has
// nothing else to offer may say what it likes where there are none.
func (f *socksFront) method(offered socksGreeting) byte {
	switch {
	case offered.password && f.asksWho():
		return socksPassword
	case offered.none:
		return socksNoAuthentication
	case offered.password:
		return socksPassword
	default:
		return socksNoMethod
	}
}

func (f *socksFront) asksWho() bool {
	config := &f.server.config
	return config.CanAuthenticate && contains(config.Clients, f.conn.addr)
}

// proven checks a user name and a password (RFC 1929). Wrong ones are the end,
// whether or not the policy will want to know who asks: the protocol knows no
// second try, and to a user with a typing mistake a refusal later on would say
// nothing. Those that cannot be checked now are tried again with the request.
func (f *socksFront) proven(talk *socksTalk) bool {
	var basic string
	err := talk.next(func(data []byte) (n int, err error) {
		basic, n, err = parseSocksPassword(data)
		return n, err
	})
	switch {
	case errors.Is(err, errNotSocks), errors.Is(err, errSocksEnd):
		return false
	case !f.asksWho():
		return talk.say(socksPasswordVersion, 0)
	}
	bad := err != nil
	if !bad {
		_, err = f.server.dependencies.Identify(f.conn.addr, basic)
		bad = err != nil && f.server.dependencies.BadCredentials(err)
	}
	talk.hurry() // checking may have taken long
	if bad {
		f.server.dependencies.Log.Debug("credentials not taken", zap.Stringer("client", f.conn.addr), zap.Error(err))
		f.refuse([]byte{socksPasswordVersion, 1}, answer{status: http.StatusProxyAuthRequired, challenge: true})
		return false
	}
	f.credentials = basic
	return talk.say(socksPasswordVersion, 0)
}

// refuse ends a connection of which there is no request.
func (f *socksFront) refuse(farewell []byte, a answer) {
	f.farewell = farewell
	f.server.newExchange(f.asking()).deny(a)
}

// serve reads the request and serves it.
func (f *socksFront) serve(talk *socksTalk) {
	var host policy.Host
	var port uint16
	err := talk.next(func(data []byte) (n int, err error) {
		host, port, n, err = parseSocksRequest(data)
		return n, err
	})
	f.server.crowd.read(f.conn)
	var unfit *socksError
	if err != nil && !errors.As(err, &unfit) || !f.server.requests.Enter() {
		return
	}
	defer f.server.requests.Leave()
	f.early = talk.rest()
	x := f.server.newExchange(f.asking())
	switch {
	case !x.admitted():
	case unfit != nil:
		f.farewell = unfit.reply.bytes()
		x.deny(answer{status: unfit.status(), text: unfit.text, last: true})
	default:
		f.server.tunnelToHost(x, host, port)
	}
}

// status is what an HTTP proxy would say.
func (e *socksError) status() int {
	if e.reply == socksNoCommand {
		return http.StatusNotImplemented
	}
	return http.StatusBadRequest
}
