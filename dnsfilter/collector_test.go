package dnsfilter

import (
	"net"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/policy"
)

// TestQueriesUnderWayAreShown has an upstream hold its answers back, so that
// one query is under way: over UDP, with another that waits, and then over TCP.
func TestQueriesUnderWayAreShown(t *testing.T) {
	udpHeld, tcpHeld := make(chan struct{}), make(chan struct{})
	letUDP, letTCP := sync.OnceFunc(func() { close(udpHeld) }), sync.OnceFunc(func() { close(tcpHeld) })
	defer letUDP()
	defer letTCP()
	zone := zoneScript(t, "a.example. 60 IN A 192.0.2.1", "b.example. 60 IN A 192.0.2.2", "c.example. 60 IN A 192.0.2.3")
	up := newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		if dns.CanonicalName(q.Question[0].Name) == "c.example." {
			<-tcpHeld
		} else {
			<-udpHeld
		}
		return zone(q, tcp)
	})
	o := openDoor(t, memo(policy.Rule{}), func(c *Config) { c.MaxQueries = 1 }, up)
	shows := func(busy, waiting float64) {
		t.Helper()
		eventually(t, "the queries under way to be shown", func() bool {
			return o.metric("sallyport_dns_queries_busy") == busy && o.metric("sallyport_dns_queries_waiting") == waiting
		})
	}
	packed := func(name string) []byte {
		t.Helper()
		wire, err := query(name, dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	udp, err := net.Dial("udp", o.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp := dialDoor(t, o)

	shows(0, 0)
	udp.Write(packed("a.example"))
	shows(1, 0)
	udp.Write(packed("b.example"))
	shows(1, 1)
	tcp.Write(frame(packed("zoom.us"))) // answered at once
	if reply := readFrame(t, tcp); reply.Question[0].Name != "zoom.us." {
		t.Errorf("reply %v", reply)
	}
	shows(1, 1)
	letUDP()
	shows(0, 0)
	tcp.Write(frame(packed("c.example")))
	shows(1, 0)
	letTCP()
	shows(0, 0)
}
