// Package audit remembers: it counts every decision of both doors, and writes
// the decision log.
//
//	log, err := audit.New(audit.Config{File: "decisions.jsonl"}, audit.Dependencies{
//		Registerer: registry, Log: logger,
//	})
//	...
//	log.Record(&decision) // once a request, from any goroutine
//	log.RecordEnd(&end)   // once a tunnel
//	log.Reopen()          // after the file was rotated
//	log.Close()           // writes what is still queued
//
// # Two promises
//
// The counters are exact. Record counts before anything else, so that
// sallyport_decisions_total is the number of decisions taken whatever the log
// keeps, samples or loses.
//
// The doors never wait. Record copies what an entry needs into a bounded
// queue, without formatting and without allocation, and returns. One goroutine
// takes entries from the queue, writes them as JSON through zap's encoder, and
// hands them to the file in blocks. When the file is slower than the traffic
// the queue fills and entries are dropped: allows first, because the last
// eighth of the queue is kept for refusals, and every drop is counted. When the
// file fails, entries wait in the queue while the write is tried again.
//
// # What is written
//
// Blocks, warns, and allows that a monitoring or report-only rule would have
// refused are written unless Config.Refusals says otherwise. The other allows
// are written as Config.Allows says. One JSON object a line, one shape for both
// doors:
//
//	time         RFC 3339, UTC, microseconds
//	id           names the decision, also on the block page
//	tenant       from the configuration
//	revision     of the policy that decided
//	door         dns or proxy
//	transport    udp, tcp, tls, https, quic; http, connect, websocket
//	client       address; or a pseudonym, or "", as Dependencies.Mask says
//	user         "" where unknown; the same
//	groups       of the policy, in its order
//	devices      that the client has proven to be, empty where none; the same
//	identity     how the client was named: see package identity
//	host         what was asked for
//	port         0 where there is none
//	qtype        DNS type, "" at the proxy door
//	facts        the other names and addresses that were judged
//	app          "" where none matched
//	rule         that decided, or default
//	action       allow, block or warn
//	granted      true where a grant lets pass what a rule warns of
//	would        block or warn, where a rehearsed rule would have done that
//	would_rule   that rule
//	reason       that the rule gives
//	duration_us  spent deciding and answering, in microseconds
//
// A tunnel adds a closing entry with "event":"close" behind the tenant, the
// same id, and who and where the tunnel was for, so that it can be read alone.
// It has no action, would, reason, facts, qtype and duration_us, and instead
//
//	bytes_up, bytes_down   from and to the client
//	seconds                that the tunnel was open
//	closed_by              client, upstream, idle, policy or shutdown
//	closed_by_rule         where that is policy
//
// Somebody who continues past a warning makes an entry with "event":"grant"
// behind the tenant, and the end of the grant one with "event":"grant_end":
// the id of the refusal that it began with, who, where and by which rule, and
//
//	action         continue; where it is given
//	grant          names the grant
//	until          when it ends
//	justification  that was given, "" where none was
//	ended_by       time or revoked; where it has ended
//
// Entries of grants are always written. Closing entries follow Config.Allows
// too, except that a tunnel closed by
// policy follows Config.Refusals.
//
// Where people are hidden (package privacy), the writer hides them, so that it
// costs the doors nothing. Entries of one tunnel, or one grant, have the
// pseudonyms of its beginning however long it lasts, since their id would join
// those of two periods. Justifications are then left out.
//
// Entries stand in the order in which they were
// queued, which for requests under way at the same time need not be the order
// of their times.
package audit
