// Package dnswire reads questions and writes replies as bytes, in place and
// without allocation. It is what every query passes through; whole messages
// with records of every type are miekg/dns's work, elsewhere.
//
//	var q dnswire.Question               // kept and used again by one reader
//	rcode := q.Read(packet)              // header checks, name in lower case, EDNS
//	msg := dnswire.StartReply(buf, &q, dnswire.RcodeNoError)
//	msg = dnswire.AppendAddress(msg, addr, 30)
//	msg = dnswire.FinishReply(msg, &q, limit, dnswire.RcodeNoError, &options)
//
// # Names
//
// A name has three forms. Wire form is labels with length bytes, as in packets
// (RFC 1035 §3.1), always uncompressed here and, where it is called lower,
// with ASCII letters in lower case. Presentation form is what people write and
// miekg/dns's records hold. Canonical form is the policy's: lower case, labels
// joined by dots, no trailing dot, "" for the root.
//
// Nothing here reads a clock, a socket or a policy. All functions are safe for
// concurrent use; values are as safe as plain data.
package dnswire
