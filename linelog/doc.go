// Package linelog writes a log, a line an entry, without ever making those
// wait who log. The decision log and the access logs stand on it.
//
//	log, err := linelog.Open(linelog.Config[record]{
//		Noun: "decision log", File: "decisions.jsonl", Places: 16_384,
//		Encode: func(block []byte, r *record) ([]byte, error) { ... },
//	}, linelog.Dependencies{Log: logger, Counters: counters})
//	...
//	if r, place, ok := log.Claim(false); ok { // from any goroutine
//		r.fill(...)
//		log.Publish(place)
//	}
//	log.Reopen() // after the file was rotated
//	log.Close()  // writes what is still queued
//
// Entries pass through a ring of fixed size. Whoever logs claims a place,
// fills the entry that lives there, and publishes it: no allocation, no lock,
// no system call. One goroutine encodes what was published and hands it to the
// file in blocks. Where the file is slower than the traffic the ring fills, and
// entries are dropped and counted. Where the file fails, as on a full disk,
// entries wait in the ring while the write is tried again, and a line of which
// only a part was written is finished when there is room.
package linelog
