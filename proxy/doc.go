// Package proxy is the enforcement point for connections: an explicit HTTP
// proxy that asks the policy about every CONNECT, every plain request and
// every server name in a TLS handshake, and obeys.
//
// A [Server] is made of a [Config] and of [Dependencies], and is used so:
//
//	server, err := proxy.New(config, dependencies)
//	err = server.Listen(ctx)    // bound and serving once it returns
//	...
//	server.Recheck()            // after every policy swap and schedule edge
//	...
//	err = server.Shutdown(ctx)  // tunnels may finish until ctx ends
//
// # The ways in
//
// Clients come by HTTP, by SOCKS 5, by HTTP/1.1 or HTTP/2 inside TLS, and by no
// protocol at all where the system redirects them; before any of these may come
// the PROXY header of a load balancer. For each way there is a front: how a
// client is told no, and how its connection becomes a tunnel. What lies between
// is the same line for all.
//
// # The way of a CONNECT
//
// connect.go reads as one straight line: client allowed, destination parsed,
// subject identified, host judged, name resolved, host and everything that its
// owner derived from it judged again, forbidden networks refused, one of the
// checked addresses dialled, tunnel registered and judged once more, 200,
// ClientHello read, server name judged, bytes relayed. A refusal on the way is
// an ordinary 403 with the block page; after the 200 it is a TLS alert, or the page
// over TLS where there is an [Interceptor].
//
// # The way of a plain request
//
// forward.go takes the same steps and then hands the request to goproxy, which
// carries it and WebSockets. What goproxy does not do, or does wrongly, is
// mended in goproxy.go, roundtrip.go, responder.go and websocket.go around it.
// CONNECT never reaches goproxy: it drops the bytes that a client sends right
// behind a CONNECT, and knows neither timeouts nor a list of open tunnels.
//
// # What was checked is what is dialled
//
// A name is resolved once a request, through [Dependencies], and connections
// are made to the addresses of that answer only. Kept-alive connections to
// origins are pooled under the set of addresses that was checked, never under
// a name, so that a request can only reuse a connection to an address that was
// checked for it.
//
// # Where it runs
//
// On Unix. Linux besides moves bytes without copying them, keeps tunnels that say
// nothing at no cost, serves redirected connections, and sees early bytes that
// nobody has read yet.
package proxy
