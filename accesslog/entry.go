package accesslog

import (
	"net/netip"
	"time"
)

// Result is how an exchange went, in Squid's words.
type Result uint8

// The results of a proxy that keeps nothing in store.
const (
	// ResultNone is no result at all: what came was no request, or a CONNECT
	// whose destination could not be reached.
	ResultNone Result = iota

	// ResultDenied is a refusal, a demand for credentials included.
	ResultDenied

	// ResultMiss is a request that went to its origin, or should have.
	ResultMiss

	// ResultTunnel is a tunnel that was opened.
	ResultTunnel
)

// String is Squid's result code: "TCP_MISS".
func (r Result) String() string {
	switch r {
	case ResultDenied:
		return "TCP_DENIED"
	case ResultMiss:
		return "TCP_MISS"
	case ResultTunnel:
		return "TCP_TUNNEL"
	default:
		return "NONE_NONE" // Squid 4 wrote NONE
	}
}

// Entry is one exchange that is over. What a client chose may hold any bytes.
type Entry struct {
	End      time.Time
	Duration time.Duration // from the request's head to End
	Client   netip.Addr
	User     string // empty: not known

	Result  Result
	Aborted bool // the client left before its answer was whole
	Status  int  // sent to the client; 0: none was

	Sent     int64 // bytes to the client, heads included
	SentBody int64 // bytes to the client, bodies and what tunnels carry alone

	Method       string // empty: not known
	URL          string // with its query; of a CONNECT host:port. Empty: not known
	Major, Minor int    // version of HTTP; 0.0: none was spoken, and 1.1 is written

	Server netip.Addr // that was connected to; the zero Addr: none
	Parent bool       // Server is another proxy

	ContentType string // of the answer
	Referer     string // of the request
	UserAgent   string // of the request
}
