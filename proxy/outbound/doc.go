// Package outbound makes the proxy door's connections: straight to an address
// that was checked, or through a parent proxy.
//
// A [Dialer] is made of a [Config] and of [Dependencies], and is used so:
//
//	dialer, err := outbound.New(config, dependencies)
//	...
//	conn, err := dialer.Dial(ctx, outbound.Target{Host: "www.example.com", Port: 443, Addrs: checked})
//
// # Straight to an address
//
// Addresses are raced as RFC 8305 says: the families take turns, the family of
// the first address first; each attempt has a head start of 250 ms on the next
// one, which begins at once where one fails; the first connection wins. Where
// one address connects at once, as it does on the same machine, nothing of this
// comes into being: no goroutine, no timer and no channel.
//
// Only the addresses of the [Target] are dialled, and the caller has checked
// them all. That is why the race does not begin before both families' answers
// are there (RFC 8305 §3): the answer that comes later may be the one that the
// policy refuses.
//
// An address that did not answer is tried after the others for some seconds. It
// is never left out for that.
//
// # Through a parent
//
// The first [Route] that a destination fits names its ways, which are tried in
// order. What does not work is left alone for a while, from a second to a
// minute, and then one request finds out whether it is back. A parent that says
// no is not gone round: that is a [ParentError], and so is a parent that does
// not take our credentials, which its admin must hear of and the client need
// not.
//
// A connection through a parent begins with the destination's first byte: of
// the parent's answer everything is read, and of what follows nothing. A
// connection to a parent without TLS stays a bare TCP connection, so that the
// kernel can move its bytes.
//
// What a parent is sent is the destination's name, or one of the addresses that
// were checked. Sent the name, it looks it up again, and may find something
// else: then it is for the parent to keep to its network. A name that is not
// looked up here at all (Dialer.NeedsAddrs) is judged by itself alone.
//
// # Plain requests
//
// A [Transport] sends requests by the same routes, and keeps connections. An
// HTTP parent gets them in absolute form.
package outbound
