// Package ratelimit keeps one client from taking what is meant for all.
//
// A Limiter bounds how many queries a client may ask in a second, or requests
// send:
//
//	limiter := ratelimit.New(ratelimit.Config{Rate: 100, Burst: 400})
//	switch limiter.Allow(addr, now) {
//	case ratelimit.Allow: // answer
//	case ratelimit.Slip:  // answer truncated: a real client comes back over TCP
//	case ratelimit.Drop:  // say nothing
//	}
//
// A client is an IPv4 address or an IPv6 /64, since that is what one machine
// or one home has to choose addresses from. Of the DNS door it is meant for clients that have
// not proven their address; those with a connection or a valid cookie can be
// held to the same rate, but a truncated answer tells them nothing.
//
// An Inflight bounds how many slow look-ups a client may have under way once
// places become scarce:
//
//	places := ratelimit.NewInflight(2048, 64)
//	if refusal := places.Begin(addr); refusal != ratelimit.None {
//		// shed, because of this client or because of all
//	}
//	defer places.End(addr)
//
// # Memory
//
// Both have all their memory from the start and never more, whatever addresses
// come. The table of clients forgets a client only when its bucket is full
// again, when forgetting changes nothing. Clients for whom there is no place
// share the bucket of their /24 or /56, then of their /16 or /48, each with a
// larger allowance: a flood from made-up addresses can make the limit coarser,
// but it cannot make the table grow, and it does not lock newcomers out.
//
// Nothing here reads a clock or allocates after New.
package ratelimit
