// Package dnsfilter is the DNS door: an enforcement point that answers
// queries, asks the policy before anything else, and obeys.
//
// It joins parts that know nothing of each other:
//
//	ingress    listeners: UDP in batches, TCP, DoT, DoH, DoQ, PROXY protocol
//	dnswire    questions and replies as bytes, in place
//	upstream   asking resolvers: transports, strategies, health, zones
//	localdata  records, hosts files and special names that the door knows itself
//	cookie     DNS cookies
//	ratelimit  rates of clients, and their share of places
//
// A query goes in one straight line, and each step lives in the file that is
// named after it:
//
//	desk.go      Try, on the reader: question, who asks, may they, how often
//	decide.go    Decide on the name; what is cached; the second look
//	sinkhole.go  a refusal, built from the query's own bytes
//	entry.go     a cached answer, its bytes patched
//	             -- what is not at hand goes to a worker, and the same line --
//	lookup.go    wait for it, or give a stale answer
//	flight.go    one lookup per question at a time
//	fetch.go     local data, else upstream; keep it
//	answer.go    what of an upstream's answer is kept; facts.go, where it leads
//
// A desk is the line with everything that one query at a time needs, used
// again for the next: what it can answer at once costs no allocation. Each UDP
// reader has one, connections borrow one. handler.go holds what they share.
//
// The cache (cache.go, cachetable.go) holds what upstreams said and nothing
// else. It sits behind the decision, so that a new policy needs no flush and no
// group ever sees what was cached for another. What an answer leads to is made
// ready for the policy in force by the first query under it; for every other
// the second look is a mask test (policy.Facts).
//
// # What clients get
//
// Replies echo the question byte for byte (letter case included), copy RD and
// CD, set RA, and never set AA: nothing here is authoritative, refusals
// included. AD is shown to clients that asked for it with AD or DO (RFC 6840
// §5.7, §5.8), and only where the upstream that said it is trusted; the gateway
// does not validate. An OPT record is in the reply when one was in the query.
// The additional section of an upstream's answer is never relayed, so nothing
// in it needs to be judged. Client subnet (RFC 7871) is never sent upstream.
// ANY is answered minimally (RFC 8482), CHAOS and other classes are refused.
//
// A refusal (block, or warn, which has nothing to click at this door) follows
// the rule's answer mode, or else the gateway's; see sinkhole.go for what
// each mode says to each type. Its negative answers carry an SOA whose MNAME
// is sallyport.invalid, so that a person who meets it in dig knows whom to
// ask; a client that sent EDNS gets EDE 15 (Blocked) with the rule's reason,
// and 4 (Forged) besides where it is sent to the block page. No TTL, of a
// refusal or of an allowed answer, reaches past the verdict's next schedule
// edge.
//
// An HTTPS or SVCB answer is judged by the addresses of its name too, and loses
// ech where a rule judges the name, and HTTP/3 where a rule asks for it
// (strip.go, svcbstrip.go), so that the proxy door keeps sight of the name.
//
// # Who may ask
//
// Clients in Config.Clients, and those that have proven who they are by a
// certificate or a device path. What others say of a client counts from listed
// networks only: PROXY protocol from Config.ProxyFrom, client subnet from
// Config.SubnetFrom.
//
// # What is not here
//
// Zone transfers, updates and notifications are NOTIMP. A query without RD is
// answered like any other. An upstream that does not understand EDNS (RFC 6891)
// counts as one that gives no answer.
//
// # Use
//
//	s, err := dnsfilter.New(config, dependencies)
//	err = s.Listen(ctx)     // binds, starts, returns
//	for _, a := range s.Addrs() { ... }
//	r, err := s.Resolve(ctx, "meet.corp.example")   // for the proxy door
//	err = s.Shutdown(ctx)
package dnsfilter
