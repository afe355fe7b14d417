// Package localdata is what the DNS door knows itself: records from the
// configuration, hosts files, and the names that RFCs keep out of the public
// DNS (localhost, home.arpa, resolver.arpa, the reverse zones of private
// addresses and others). It answers with miekg/dns messages, as an upstream
// would, so that the door looks at them a second time like at any other
// answer.
//
//	data, err := localdata.New(localdata.Config{
//		Records: []string{"nas.corp.example. 300 IN A 10.0.0.5"},
//		Hosts:   []string{"/etc/sallyport/hosts"},
//	})
//	if reply, ours := data.Answer("\x03nas\x04corp\x07example\x00", dns.TypeA); ours {
//		if next, open := localdata.Continues(reply); open {
//			// an alias leads out: ask upstream for next and append its answer
//		}
//	}
//
// # Which answer comes first
//
// For one name: records, then hosts files, then what a wildcard record makes,
// then the zone that the name lies in. A zone is a local SOA record with all
// below it, a zone that is forwarded elsewhere (Config.Forwarded), or a
// special-use name; the deepest one counts. localhost, invalid, onion and
// resolver.arpa are answered here whatever else is configured.
//
// A name with records or hosts entries is ours in every type: what is not
// there is NODATA. Names below it go upstream, unless a zone of ours covers
// them. An alias (CNAME) is followed as long as it stays here.
//
// # Reading files again
//
// A Data never changes. Call Reload every few seconds, and at a reload of the
// policy: it looks at the files' size, time and inode, reads those that
// changed, and returns the Data to use from then on. A file that cannot be
// read or understood keeps what it held before, and is named in the error once.
//
//	next, err := data.Reload()
//	if err != nil {
//		log.Warn("a hosts file keeps its last good state", zap.Error(err))
//	}
//	current.Store(next) // the same pointer where nothing changed
//
// Nothing here knows a policy, a socket or a clock, or starts a goroutine.
package localdata
