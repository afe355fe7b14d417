package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// Dependencies is what the proxy needs of the rest of the gateway. Every func
// must be safe for concurrent use.
type Dependencies struct {
	// Decider answers every question. Required.
	Decider policy.Decider

	// Identify says who asks, from the client's address and the value of the
	// Proxy-Authorization header. After an error it is called again with ""
	// for the credentials, as it is where there are none or
	// Config.CanAuthenticate is false. Required.
	Identify func(client netip.Addr, proxyAuthorization string) (policy.Subject, error)

	// IdentifyPeer says who asks that has shown a certificate at the TLS
	// listener. Required where clients must have one (Config.TLS.ClientCA).
	IdentifyPeer func(client netip.Addr, peer Peer) policy.Subject

	// BadCredentials reports whether an error of Identify means that the
	// credentials are bad. Where the policy needs a user name for a request,
	// its client is then asked again (407); after any other error it is told
	// to try again later (503). Nil: every error means so.
	BadCredentials func(error) bool

	// Resolve finds the addresses of a canonical name. The facts that it
	// returns with an error are judged too. Required.
	Resolve func(ctx context.Context, name string) (Resolution, error)

	// NoAddress reports whether an error of Resolve means that the name has no
	// address, or does not exist: trying again is no use. After any other error
	// nobody could tell. Nil: no error means so.
	NoAddress func(error) bool

	// NamesFault reports whether an error of Resolve is no fault of the
	// resolvers', which have answered: no such name, or nobody can look it up.
	// It is for the metrics alone. Nil: no error is.
	NamesFault func(error) bool

	// Record takes one decision a request, and another one, with an id of its
	// own, where a tunnel that was recorded as allowed is refused because of a
	// ClientHello that comes late. The Decision must not be changed by either
	// side afterwards. Required.
	Record func(*policy.Decision)

	// RecordEnd takes the closing entry of a tunnel. Required.
	RecordEnd func(*policy.TunnelEnd)

	// Listen gives a listener its socket, as net.ListenConfig's Listen does for
	// TCP: one that is open already, from a process that ran before, or a new
	// one. name is the listener's, as in Address. The result is a
	// *net.TCPListener. Nil: every socket is opened.
	Listen func(ctx context.Context, config *net.ListenConfig, name, address string) (net.Listener, error)

	// Access takes every exchange that is over, for access logs. It does not
	// keep the Access, which may be used again at once. Nil: nobody asks.
	Access func(*Access)

	// Portal is asked for through the proxy. The zero Portal: there is none.
	Portal Portal

	// Continue makes the address of the page at which whoever was warned may go
	// on, for a decision that warns. url is what was asked for, to come back to;
	// empty: that is not known. It gives "" where there is no such page. Nil:
	// there is none.
	Continue func(d *policy.Decision, url string) string

	// Intercept shows refusals over HTTPS. Nil: nobody does.
	Intercept Interceptor

	// Registerer takes the metrics; nil: they are counted and shown nowhere.
	Registerer prometheus.Registerer

	// Log takes what an admin should know. Nil: nothing is logged.
	Log *zap.Logger

	// Now is the clock that decisions are taken by. Nil: time.Now.
	Now func() time.Time

	// Original finds where a connection was going that was redirected to
	// Config.Transparent. Nil: the system is asked.
	Original func(*net.TCPConn) (netip.AddrPort, error)

	// Self lists the gateway's own listeners, which are never dialled. Nil:
	// the proxy's own are all there are.
	Self func() []netip.AddrPort
}

// Resolution is what a name led to.
type Resolution struct {
	// Addrs are the addresses, in the order in which to try them.
	Addrs []netip.Addr

	// Facts is everything that the name's owner derived from it: CNAME and
	// HTTPS targets, address hints, addresses.
	Facts []policy.Host
}

// complete checks d and fills in what may be left out.
func (d Dependencies) complete() (Dependencies, error) {
	switch {
	case d.Decider == nil:
		return d, errors.New("proxy: no decider")
	case d.Identify == nil:
		return d, errors.New("proxy: no identify func")
	case d.Resolve == nil:
		return d, errors.New("proxy: no resolve func")
	case d.Record == nil:
		return d, errors.New("proxy: no record func")
	case d.RecordEnd == nil:
		return d, errors.New("proxy: no record-end func")
	}
	if d.BadCredentials == nil {
		d.BadCredentials = func(error) bool { return true }
	}
	if d.NoAddress == nil {
		d.NoAddress = func(error) bool { return false }
	}
	if d.NamesFault == nil {
		d.NamesFault = func(error) bool { return false }
	}
	if d.Listen == nil {
		d.Listen = func(ctx context.Context, config *net.ListenConfig, _, address string) (net.Listener, error) {
			return config.Listen(ctx, "tcp", address)
		}
	}
	if d.Continue == nil {
		d.Continue = func(*policy.Decision, string) string { return "" }
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Self == nil {
		d.Self = func() []netip.AddrPort { return nil }
	}
	return d, nil
}
