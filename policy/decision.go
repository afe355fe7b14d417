package policy

import (
	"net/netip"
	"time"
)

// Decision is one verdict as it is remembered: what was asked, by whom, how it
// came in, and what was said. Doors fill one per request and hand it to a
// record func; package audit counts and writes it. One Decision a request,
// however many times the door asked on the way; a tunnel that was recorded as
// allowed and is refused by what its client says later has a second one.
type Decision struct {
	ID        string // empty: audit gives it one
	Time      time.Time
	Door      Door
	Transport string // udp, tcp, tls, https, quic; http, connect, websocket
	Client    netip.Addr
	Subject   Subject
	Host      Host
	Port      uint16 // 0 where there is none
	QType     string // DNS type in presentation form, empty at the proxy door
	Facts     []Host // names and addresses judged besides Host
	Verdict   Verdict
	Duration  time.Duration // spent deciding and answering
}

// TunnelEnd is the closing entry of a tunnel: it repeats the decision's id, so
// that a log reader can join the two.
type TunnelEnd struct {
	Decision  *Decision
	Time      time.Time
	BytesUp   int64 // client to upstream
	BytesDown int64 // upstream to client
	Seconds   float64
	ClosedBy  string // client, upstream, idle, policy, shutdown
	Rule      string // the rule that closed it, where ClosedBy is policy
}
