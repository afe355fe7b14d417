package dnsfilter

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A script that stays the upstream's for every query, made of one that
// answers well.
type lie func(good []byte, q *dns.Msg, overTCP bool) [][]byte

func lying(t *testing.T, l lie) *fakeUpstream {
	zone := zoneScript(t, "a.example. 600 IN A 192.0.2.1")
	return newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte { return l(zone(q, tcp)[0], q, tcp) })
}

func patched(good []byte, change func([]byte)) []byte {
	bad := bytes.Clone(good)
	change(bad)
	return bad
}

func withRcode(rcode int) lie {
	return func(good []byte, q *dns.Msg, _ bool) [][]byte {
		return [][]byte{patched(good[:headerBytes+len("\x01a\x07example\x00")+4], func(b []byte) {
			b[3] = b[3]&^0xF | byte(rcode)
			clear(b[6:12])
		})}
	}
}

func TestUpstreamFailures(t *testing.T) {
	closedPort := func(t *testing.T) string {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().String()
	}
	wrongID := func(good []byte) []byte { return patched(good, func(b []byte) { b[0] ^= 0xFF }) }
	wrongName := func(good []byte) []byte { return patched(good, func(b []byte) { b[13] = 'b' }) }
	tests := []struct {
		name string
		lie  lie // nil: nobody listens
		want uint16
		text string
	}{
		{"nobody listens", nil, dns.ExtendedErrorCodeNoReachableAuthority, "reached"},
		{"silent", func([]byte, *dns.Msg, bool) [][]byte { return nil }, dns.ExtendedErrorCodeNoReachableAuthority, "in time"},
		{"wrong id", func(good []byte, _ *dns.Msg, _ bool) [][]byte { return [][]byte{wrongID(good)} }, dns.ExtendedErrorCodeNoReachableAuthority, "in time"},
		{"wrong name", func(good []byte, _ *dns.Msg, _ bool) [][]byte { return [][]byte{wrongName(good)} }, dns.ExtendedErrorCodeNoReachableAuthority, "in time"},
		{"wrong type", func(good []byte, _ *dns.Msg, _ bool) [][]byte {
			return [][]byte{patched(good, func(b []byte) { b[headerBytes+len("\x01a\x07example\x00")+1] = byte(dns.TypeAAAA) })}
		}, dns.ExtendedErrorCodeNoReachableAuthority, "in time"},
		{"query sent back", func(good []byte, _ *dns.Msg, _ bool) [][]byte {
			return [][]byte{patched(good, func(b []byte) { b[2] &^= 0x80 })}
		}, dns.ExtendedErrorCodeNoReachableAuthority, "in time"},
		{"NXDOMAIN without a question", func(good []byte, _ *dns.Msg, _ bool) [][]byte {
			return [][]byte{patched(good[:headerBytes], func(b []byte) { clear(b[4:12]); b[3] = rcodeNXDomain })}
		}, dns.ExtendedErrorCodeNoReachableAuthority, "in time"},
		{"half a record", func(good []byte, _ *dns.Msg, _ bool) [][]byte { return [][]byte{good[:len(good)-3]} }, dns.ExtendedErrorCodeNetworkError, "malformed"},
		{"fewer records than counted", func(good []byte, _ *dns.Msg, _ bool) [][]byte {
			return [][]byte{patched(good, func(b []byte) { b[7] = 9 })}
		}, dns.ExtendedErrorCodeNetworkError, "half an answer"},
		{"garbage behind the question", func(good []byte, _ *dns.Msg, _ bool) [][]byte {
			return [][]byte{append(bytes.Clone(good[:headerBytes+len("\x01a\x07example\x00")+4]), bytes.Repeat([]byte{0xFF}, 60)...)}
		}, dns.ExtendedErrorCodeNetworkError, "malformed"},
		{"SERVFAIL", withRcode(dns.RcodeServerFailure), dns.ExtendedErrorCodeOther, "SERVFAIL"},
		{"REFUSED", withRcode(dns.RcodeRefused), dns.ExtendedErrorCodeOther, "REFUSED"},
		{"FORMERR, header only", func(good []byte, _ *dns.Msg, _ bool) [][]byte {
			return [][]byte{patched(good[:headerBytes], func(b []byte) { clear(b[4:12]); b[3] = rcodeFormErr })}
		}, dns.ExtendedErrorCodeOther, "FORMERR"},
		{"truncated, and over TCP too", func(good []byte, _ *dns.Msg, _ bool) [][]byte {
			return [][]byte{patched(good, func(b []byte) { b[2] |= flagTC >> 8 })}
		}, dns.ExtendedErrorCodeNetworkError, "half an answer"},
		{"truncated, and cut off over TCP", func(good []byte, _ *dns.Msg, tcp bool) [][]byte {
			if tcp {
				return nil
			}
			return [][]byte{patched(good, func(b []byte) { b[2] |= flagTC >> 8 })}
		}, dns.ExtendedErrorCodeNoReachableAuthority, "in time"},
		{"truncated, and wrong over TCP", func(good []byte, _ *dns.Msg, tcp bool) [][]byte {
			if tcp {
				return [][]byte{wrongID(good)}
			}
			return [][]byte{patched(good, func(b []byte) { b[2] |= flagTC >> 8 })}
		}, dns.ExtendedErrorCodeNetworkError, "another question"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := closedPort
			var up *fakeUpstream
			if tt.lie != nil {
				up = lying(t, tt.lie)
				address = func(*testing.T) string { return up.addr }
			}
			o := openDoor(t, deciderFunc(allowAll), func(c *Config) {
				c.Upstreams = []string{address(t)}
				c.UpstreamTimeout, c.QueryTimeout = 30*time.Millisecond, 200*time.Millisecond
			})
			reply := o.ask(withEDNS(query("a.example", dns.TypeA), 1232, false))
			e := ede(reply)
			if reply.Rcode != dns.RcodeServerFailure || len(reply.Answer) != 0 || e == nil {
				t.Fatalf("reply %v", reply)
			}
			if e.InfoCode != tt.want || !strings.Contains(e.ExtraText, tt.text) {
				t.Errorf("extended error %d %q, want %d and %q", e.InfoCode, e.ExtraText, tt.want, tt.text)
			}
			if d := o.lastDecision(); len(o.decisions()) != 1 || d.Verdict.Action.Refuses() {
				t.Errorf("recorded %+v", o.decisions())
			}
			if up == nil {
				return
			}
			// Nothing was cached, and the repaired upstream is used at once.
			up.set(zoneScript(t, "a.example. 600 IN A 192.0.2.99"))
			if got := texts(o.ask(query("a.example", dns.TypeA)).Answer); !slices.Equal(got, []string{"a.example. 600 IN A 192.0.2.99"}) {
				t.Errorf("after repair: %q", got)
			}
		})
	}
}

func TestStrayAnswersArePassedOver(t *testing.T) {
	up := lying(t, func(good []byte, _ *dns.Msg, _ bool) [][]byte {
		forged := bytes.Clone(good)
		copy(forged[len(forged)-4:], []byte{6, 6, 6, 6}) // another address, not asked for
		return [][]byte{
			patched(forged, func(b []byte) { b[1]++ }),
			patched(forged, func(b []byte) { b[13] = 'z' }),
			{0xDE, 0xAD},
			nil,
			good,
		}
	})
	o := openDoor(t, deciderFunc(allowAll), nil, up)
	if got := texts(o.ask(query("a.example", dns.TypeA)).Answer); !slices.Equal(got, []string{"a.example. 600 IN A 192.0.2.1"}) {
		t.Errorf("answer %q", got)
	}
}

func TestFloodOfStrayAnswersLeadsToTCP(t *testing.T) {
	up := lying(t, func(good []byte, _ *dns.Msg, tcp bool) [][]byte {
		if tcp {
			return [][]byte{good}
		}
		return slices.Repeat([][]byte{patched(good, func(b []byte) { b[0] ^= 0x55 })}, maxStray)
	})
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.UpstreamTimeout, c.QueryTimeout = 5*time.Second, 5*time.Second }, up)
	if reply := o.ask(query("a.example", dns.TypeA)); len(reply.Answer) != 1 || up.tcp.Load() != 1 {
		t.Errorf("%d queries over TCP, reply %v", up.tcp.Load(), reply)
	}
}

func TestFailover(t *testing.T) {
	for name, first := range map[string]lie{
		"silent":    func([]byte, *dns.Msg, bool) [][]byte { return nil },
		"SERVFAIL":  withRcode(dns.RcodeServerFailure),
		"malformed": func(good []byte, _ *dns.Msg, _ bool) [][]byte { return [][]byte{good[:len(good)-2]} },
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := lying(t, first), newZone(t, "a.example. 600 IN A 192.0.2.2")
			o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.UpstreamTimeout, c.QueryTimeout = 50*time.Millisecond, 5*time.Second }, bad, good)
			if got := texts(o.ask(query("a.example", dns.TypeA)).Answer); !slices.Equal(got, []string{"a.example. 600 IN A 192.0.2.2"}) {
				t.Errorf("answer %q", got)
			}
			if n := o.metric("sallyport_dns_upstream_duration_seconds", "upstream", "udp://"+good.addr, "result", "ok"); n != 1 {
				t.Errorf("%v good tries observed, want 1", n)
			}
		})
	}
}

func TestDeadUpstreamIsAvoidedAndForgiven(t *testing.T) {
	first := newUpstream(t, silent)
	second := newZone(t)
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.UpstreamTimeout, c.QueryTimeout = 50*time.Millisecond, 5*time.Second }, first, second)
	names := 0
	next := func() {
		names++
		o.ask(query(strings.Repeat("x", names)+".example", dns.TypeA))
	}
	next()
	next()
	if n := first.udp.Load(); n != 1 {
		t.Errorf("a dead upstream was asked %d times in its back-off, want once", n)
	}
	o.clock.Advance(minBackoff)
	next()
	next()
	if n := first.udp.Load(); n != 2 {
		t.Errorf("a dead upstream was asked %d times after its back-off, want twice", n)
	}
	o.clock.Advance(minBackoff) // the second back-off is longer
	next()
	if n := first.udp.Load(); n != 2 {
		t.Error("back-off does not grow")
	}
	first.set(zoneScript(t))
	o.clock.Advance(maxBackoff)
	before := second.udp.Load()
	next()
	next()
	if first.udp.Load() != 4 || second.udp.Load() != before {
		t.Errorf("a repaired upstream is not preferred again")
	}
}

func TestBackoffOfAllUpstreamsStillAsks(t *testing.T) {
	up := newUpstream(t, silent)
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.UpstreamTimeout, c.QueryTimeout = 30*time.Millisecond, 100*time.Millisecond }, up)
	o.ask(query("a.example", dns.TypeA))
	up.set(zoneScript(t, "a.example. 60 IN A 192.0.2.1"))
	if reply := o.ask(query("a.example", dns.TypeA)); len(reply.Answer) != 1 {
		t.Errorf("reply %v", reply)
	}
}

func TestOneFlightPerQuestion(t *testing.T) {
	release := make(chan struct{})
	zone := zoneScript(t, "a.example. 0 IN A 192.0.2.1") // never cached
	up := newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		<-release
		return zone(q, tcp)
	})
	o := newDoor(t, deciderFunc(allowAll), func(c *Config) { c.UpstreamTimeout, c.QueryTimeout = 10*time.Second, 10*time.Second }, up)
	key := lookupKey{name: "\x01a\x07example\x00", qtype: typeA}
	var aboard []*flight
	for range 20 {
		f, err := o.lookups.flights.join(key)
		if err != nil {
			t.Fatal(err)
		}
		aboard = append(aboard, f)
	}
	close(release)
	for _, f := range aboard {
		<-f.done
		if f != aboard[0] || f.err != nil || f.entry == nil {
			t.Fatalf("flights %p and %p, %v", f, aboard[0], f.err)
		}
	}
	if n := up.udp.Load(); n != 1 {
		t.Errorf("upstream was asked %d times for %d clients", n, len(aboard))
	}
	if _, _, err := o.lookups.lookup(context.Background(), key); err != nil || up.udp.Load() != 2 {
		t.Errorf("the next flight: %d queries, %v", up.udp.Load(), err)
	}
}

// A client that gives up leaves the flight to the others.
func TestClientsLeaveFlightsAlone(t *testing.T) {
	release := make(chan struct{})
	zone := zoneScript(t, "a.example. 60 IN A 192.0.2.1")
	up := newUpstream(t, func(q *dns.Msg, tcp bool) [][]byte {
		<-release
		return zone(q, tcp)
	})
	o := newDoor(t, deciderFunc(allowAll), func(c *Config) { c.UpstreamTimeout, c.QueryTimeout = 10*time.Second, 10*time.Second }, up)
	key := lookupKey{name: "\x01a\x07example\x00", qtype: typeA}
	f, err := o.lookups.flights.join(key)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := o.lookups.lookup(gone, key); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that is gone: %v", err)
	}
	close(release)
	if <-f.done; f.err != nil {
		t.Errorf("its flight: %v", f.err)
	}
}

func TestFlightsAreBounded(t *testing.T) {
	up := newUpstream(t, silent)
	o := newDoor(t, deciderFunc(allowAll), func(c *Config) {
		c.MaxQueries = 1
		c.UpstreamTimeout, c.QueryTimeout = time.Hour, time.Hour
	}, up)
	ctx, cancel := context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	for _, name := range []string{"\x01a\x00", "\x01b\x00"} {
		waiting.Go(func() { _, _, _ = o.lookups.lookup(ctx, lookupKey{name: name, qtype: typeA}) })
	}
	eventually(t, "two flights", func() bool { return up.udp.Load() == 2 })
	if _, _, err := o.lookups.lookup(ctx, lookupKey{name: "\x01c\x00", qtype: typeA}); err != errBusy {
		t.Errorf("a flight too many: %v", err)
	}
	if n := o.metric("sallyport_dns_shed_total", "reason", "lookups"); n != 1 {
		t.Errorf("%v counted, want 1", n)
	}
	cancel()
	waiting.Wait()
}

func TestPanicInAFlight(t *testing.T) {
	o := newDoor(t, deciderFunc(allowAll), nil)
	o.lookups.flights.fetch = func(context.Context, lookupKey) (*entry, error) { panic("boom") }
	if _, _, err := o.lookups.lookup(context.Background(), lookupKey{name: "\x01a\x00", qtype: typeA}); err == nil {
		t.Error("no error")
	}
	if n := o.metric("sallyport_dns_panics_total"); n != 1 {
		t.Errorf("%v panics counted, want 1", n)
	}
}

func TestTCPUpstream(t *testing.T) {
	up := newZone(t, "a.example. 600 IN A 192.0.2.1")
	o := openDoor(t, deciderFunc(allowAll), func(c *Config) { c.Upstreams = []string{"tcp://" + up.addr} })
	if reply := o.ask(query("a.example", dns.TypeA)); len(reply.Answer) != 1 {
		t.Errorf("reply %v", reply)
	}
	if up.udp.Load() != 0 || up.tcp.Load() != 1 {
		t.Errorf("%d queries over UDP, %d over TCP", up.udp.Load(), up.tcp.Load())
	}
}

func TestParseUpstream(t *testing.T) {
	tests := []struct{ in, want, problem string }{
		{"192.0.2.1", "udp://192.0.2.1:53", ""},
		{"192.0.2.1:5353", "udp://192.0.2.1:5353", ""},
		{"udp://192.0.2.1", "udp://192.0.2.1:53", ""},
		{"tcp://192.0.2.1:5353", "tcp://192.0.2.1:5353", ""},
		{"2001:db8::1", "udp://[2001:db8::1]:53", ""},
		{"[2001:db8::1]", "udp://[2001:db8::1]:53", ""},
		{"udp://[2001:db8::1]:5353", "udp://[2001:db8::1]:5353", ""},
		{"fe80::1%lo", "udp://[fe80::1%lo]:53", ""},
		{"::ffff:192.0.2.1", "udp://192.0.2.1:53", ""},
		{"tls://192.0.2.1", "", "tls upstreams come in a later version"},
		{"https://dns.example/dns-query", "", "https upstreams come in a later version"},
		{"quic://192.0.2.1", "", "quic upstreams come in a later version"},
		{"sdns://x", "", `unknown scheme "sdns"`},
		{"dns.example", "", "use an IP address"},
		{"192.0.2.1:0", "", "use an IP address"},
		{"", "", "use an IP address"},
	}
	for _, tt := range tests {
		u, err := parseUpstream(tt.in)
		if tt.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%q: error %v, want %q", tt.in, err, tt.problem)
			}
			continue
		}
		if err != nil || u.name != tt.want || u.tcpOnly != strings.HasPrefix(tt.want, "tcp") {
			t.Errorf("%q: %+v, %v; want %q", tt.in, u, err, tt.want)
		}
	}
}
