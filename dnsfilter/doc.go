// Package dnsfilter is the DNS door: an enforcement point that answers
// queries over UDP and TCP, asks the policy before anything else, and obeys.
//
// A query goes in one straight line, and each step lives in the file that is
// named after it:
//
//	packet      ingress_udp.go, ingress_tcp.go   sockets, bounds, shedding
//	question    question.go, name.go, edns.go    header checks on raw bytes, canonical name
//	handler     handler.go                       who may ask, Decide
//	  refused:  sinkhole.go                      an answer built from the query's own bytes
//	  allowed:  lookup.go                        cache.go -> flight.go -> upstream.go, exchange.go
//	            answer.go                        what of an upstream's answer is kept, and its facts
//	            handler.go                       second look: Decide again with every fact
//	reply       reply.go                         size, EDNS, truncation
//
// The cache holds what upstreams said and nothing else. It sits behind the
// decision, so that a new policy needs no flush and no group ever sees what
// was cached for another.
//
// # What clients get
//
// Replies echo the question byte for byte (letter case included), copy RD and
// CD, set RA, and never set AA: nothing here is authoritative, refusals
// included. AD is what the upstream said, shown only to clients that asked
// for it with AD or DO (RFC 6840 §5.7, §5.8); the gateway does not validate,
// so AD is worth what the path to the upstream is worth. An OPT record is in
// the reply when one was in the query. The additional section of an upstream's
// answer is never relayed, so nothing in it needs to be judged. EDNS options
// travel in neither direction; client subnet (RFC 7871) stays in the house.
//
// A refusal (block, or warn, which has nothing to click at this door) follows
// the rule's answer mode, or else the gateway's; see sinkhole.go for what
// each mode says to each type. Its negative answers carry an SOA whose MNAME
// is sallyport.invalid, so that a person who meets it in dig knows whom to
// ask; a client that sent EDNS gets EDE 15 (Blocked) with the rule's reason.
// No TTL, of a refusal or of an allowed answer, reaches past the verdict's
// next schedule edge.
//
// # What is not here
//
// Upstreams over TLS, HTTPS and QUIC, encrypted listeners, and serving stale
// answers. Zone transfers, updates and notifications are NOTIMP. A query
// without RD is answered like any other. An upstream that does not understand
// EDNS (RFC 6891) counts as one that gives no answer. A failed lookup is not
// cached (a deviation from RFC 9520 §3.2): one flight per question and the
// back-off of dead upstreams bound the load instead, and a repaired upstream
// is used at once.
//
// # Use
//
//	s, err := dnsfilter.New(config, dependencies)
//	err = s.Listen(ctx)     // binds, starts, returns
//	for _, a := range s.Addrs() { ... }
//	r, err := s.Resolve(ctx, "meet.corp.example")   // for the proxy door
//	err = s.Shutdown(ctx)
package dnsfilter
