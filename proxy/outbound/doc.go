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
package outbound
