package outbound

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Transport sends plain requests, those with an http URL, over connections that
// it keeps for the next one. What goes by way of an HTTP parent is sent to it in
// absolute form (RFC 9112 §3.2.2), as parents expect: many let nobody CONNECT to
// port 80. Safe for concurrent use.
type Transport struct {
	dialer *Dialer
	base   *http.Transport
}

// NewTransport makes a Transport that carries requests as base does. It takes
// base over: its connections are the Dialer's from now on. Whoever closes idle
// connections does so at base.
func (d *Dialer) NewTransport(base *http.Transport) *Transport {
	t := &Transport{dialer: d, base: base}
	base.DialContext = t.dial
	base.Proxy = func(r *http.Request) (*url.URL, error) {
		if ride, ok := r.Context().Value(rideKey{}).(*ride); ok {
			return ride.proxy, nil
		}
		return nil, errNoRide
	}
	return t
}

// errNoRide is why base does nothing by itself.
var errNoRide = errors.New("outbound: a request that did not come by RoundTrip")

// RoundTrip sends a request to a destination, as http.RoundTripper says. The
// request's Host is what the destination is told, and need not be the Target's.
// A connection that was kept is used again only for the same checked addresses
// by the same way. Where the body has not been touched, the next way is tried
// as in Dial. The error of an attempt to connect is Dial's. Whoever traces the
// request (net/http/httptrace) gets connections of type Conn.
func (t *Transport) RoundTrip(r *http.Request, to Target) (*http.Response, error) {
	began := time.Now()
	j := journey{steps: []step{nil}}
	if route := t.dialer.routes.find(to.Host, to.Addrs); route != nil {
		j.steps = route.steps
	}
	body := hold(r, len(j.steps))
	defer body.release()
	var last error
	for {
		l, ok := j.next()
		if !ok {
			break
		}
		ride := t.newRide(r, l, to, began)
		response, err := t.base.RoundTrip(ride.request(r, body))
		if err == nil {
			return ride.arrived(response)
		}
		ride.leg.settle(outcomeUnknown, nil) // unless that was done
		var unconnected *unconnectedError
		if !errors.As(err, &unconnected) {
			return nil, err
		}
		if last = unconnected.err; body.touched() || !mayGoOn(r.Context(), last) {
			break
		}
	}
	if last == nil {
		last = j.passed
	}
	if body.release(); r.Body != nil {
		_ = r.Body.Close() // perhaps for the second time
	}
	t.dialer.deps.Dialled(Result(last), time.Since(began))
	return nil, last
}

// ride is one request on one way.
type ride struct {
	leg      leg
	to       Target
	began    time.Time
	deadline time.Time // of connecting
	proxy    *url.URL  // what net/http takes for its proxy: the request is sent in absolute form; nil: it is not
}

// rideKey is where a request's context keeps its *ride.
type rideKey struct{}

func (t *Transport) newRide(r *http.Request, l leg, to Target, began time.Time) *ride {
	ride := &ride{leg: l, to: to, began: began, deadline: share(began.Add(t.dialer.config.Timeout), l.left)}
	if p := l.parent; p != nil && !p.endpoint.isSOCKS() && !p.sendsAddress && r.Header.Get("Upgrade") == "" {
		ride.proxy = p.poolURL
	}
	return ride
}

// request is the request as net/http is to get it. The host in its URL is the
// key under which connections are kept.
func (a *ride) request(r *http.Request, body *heldBody) *http.Request {
	out := r.WithContext(context.WithValue(r.Context(), rideKey{}, a))
	address := *r.URL
	out.URL = &address
	if body != nil {
		out.Body = body
	}
	if out.Host == "" {
		out.Host = r.URL.Host
	}
	if a.proxy == nil {
		out.URL.Host = net.JoinHostPort(a.poolKey(), strconv.Itoa(int(a.to.Port)))
		return out
	}
	out.URL.Host = out.Host
	switch {
	case out.URL.Opaque == "*":
		out.URL.Opaque = "//" + out.Host // RFC 9112 §3.2.4: the last proxy makes a * of it
	case out.URL.Opaque != "": // a path to be sent as it is, in absolute form
		out.URL.Opaque = "//" + out.Host + out.URL.Opaque
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Proxy-Authorization")
	if a.leg.parent.basic != "" {
		out.Header.Set("Proxy-Authorization", a.leg.parent.basic)
	}
	return out
}

// arrived looks at an answer: what a parent wants to know of us is no business
// of the client's.
func (a *ride) arrived(response *http.Response) (*http.Response, error) {
	a.leg.settle(outcomeUnknown, nil) // unless that was done
	if a.proxy != nil {
		a.leg.parent.health.settle(false, outcomeAnswered, nil)
	}
	if a.proxy == nil || response.StatusCode != http.StatusProxyAuthRequired {
		return response, nil
	}
	_ = response.Body.Close()
	answer := answerHead{status: response.StatusCode, reason: printable(http.StatusText(response.StatusCode))}
	for _, value := range response.Header["Proxy-Authenticate"] {
		answer.offer(value)
	}
	err := &ParentError{Parent: a.leg.parent.name, Answer: answer.String(), kind: answer.kind()}
	a.leg.parent.complainOf(err)
	return nil, err
}

// dial connects for the request in ctx. The address that net/http names is a
// pool key and is not used.
func (t *Transport) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, ok := ctx.Value(rideKey{}).(*ride)
	if !ok {
		return nil, errNoRide
	}
	conn, err := t.dialer.take(ctx, a.leg, a.to, a.deadline, a.proxy != nil)
	if err != nil {
		if ctx.Err() != nil { // RoundTrip has returned, and nobody will hear of this
			t.dialer.deps.Dialled(resultCancelled, time.Since(a.began))
		}
		return nil, &unconnectedError{err}
	}
	t.dialer.deps.Dialled(resultOK, time.Since(a.began))
	return conn, nil
}

// unconnectedError is the error of a request of which nothing was sent.
type unconnectedError struct{ err error }

// Error is the error's.
func (e *unconnectedError) Error() string { return e.err.Error() }

// Unwrap is the error.
func (e *unconnectedError) Unwrap() error { return e.err }

// poolKey stands for the destination wherever net/http looks, so that a
// connection that was kept is found again only by a request for which the very
// same addresses were checked, whatever the names are and whatever they resolve
// to later; and behind a parent, only for the same name too.
func (a *ride) poolKey() string {
	if a.leg.parent == nil && len(a.to.Addrs) == 1 {
		return a.to.Addrs[0].Unmap().WithZone("").String()
	}
	sorted := slices.Clone(a.to.Addrs)
	slices.SortFunc(sorted, netip.Addr.Compare)
	sum := sha256.New()
	for _, address := range slices.Compact(sorted) {
		octets := address.As16()
		sum.Write(octets[:])
	}
	way := Direct
	if a.leg.parent != nil {
		way = a.leg.parent.name
		sum.Write([]byte(a.to.Host))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]) + "." + way
}
