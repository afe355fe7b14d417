package localdata

import "github.com/miekg/dns"

// The times of SOA records that are made up here, in seconds.
const (
	soaRefresh = 3600
	soaRetry   = 600
	soaExpire  = 86400

	// negativeTTL is how long what is missing may be remembered: as long as
	// records without a TTL of their own, for both change with an edit of the
	// configuration.
	negativeTTL = 300
)

// madeSOA is the SOA record of a negative answer where no zone of ours has one
// (RFC 2308 §3). Its names are those of the door's refusals, so that a person
// who meets them in dig knows whom to ask.
func madeSOA(owner string, ttl uint32) *dns.SOA {
	return &dns.SOA{
		Hdr:     dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:      "sallyport.invalid.",
		Mbox:    "hostmaster.sallyport.invalid.",
		Serial:  1,
		Refresh: soaRefresh,
		Retry:   soaRetry,
		Expire:  soaExpire,
		Minttl:  ttl,
	}
}
