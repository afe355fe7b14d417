package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// transports are the servers that keep connections: what is true of one is true
// of all.
func transports(t *testing.T, s script) map[string]*fake {
	a := newAuthority(t)
	plain, secure := newPlain(t, s), newTLS(t, a, s, "dns.example", "127.0.0.1")
	https, overQUIC := newHTTPS(t, a, s, nil), newQUIC(t, a, s, "dns.example", "127.0.0.1")
	plain.ca, secure.ca, https.ca, overQUIC.ca = a.file, a.file, a.file, a.file
	return map[string]*fake{
		"tcp://" + plain.addr:                      plain,
		"tls://" + secure.addr + "#dns.example":    secure,
		"https://" + https.addr + "/dns-query":     https,
		"quic://" + overQUIC.addr + "#dns.example": overQUIC,
	}
}

func (f *fake) total() int64 { return int64(len(f.packets())) }

func withCA(f *fake) func(*Config) { return func(c *Config) { c.CA = f.ca } }

func TestConnectionsAreKept(t *testing.T) {
	for server, up := range transports(t, zone(t, goodAnswer)) {
		t.Run(server[:5], func(t *testing.T) {
			o := open(t, withCA(up), server)
			for range 20 {
				o.mustAnswer()
			}
			if up.conns.Load() != 1 || up.total() != 20 {
				t.Errorf("%d connections for %d queries", up.conns.Load(), up.total())
			}
			if n := o.seen.tries(o.Names()[0], "ok"); n != 20 {
				t.Errorf("observed %v", o.seen.counts)
			}
		})
	}
}

func TestQueriesShareAConnection(t *testing.T) {
	for server, up := range transports(t, zone(t, goodAnswer)) {
		t.Run(server[:5], func(t *testing.T) {
			o := open(t, withCA(up), server)
			var running sync.WaitGroup
			for range streamDepth {
				running.Go(o.mustAnswer)
			}
			running.Wait()
			most := int64(1)
			if strings.HasPrefix(server, "https") {
				most = maxHTTPConns // begun before the first is known to be HTTP/2
			}
			if n := up.conns.Load(); n > most {
				t.Errorf("%d connections for %d queries at once", n, streamDepth)
			}
		})
	}
}

// Answers come in the order that suits the server (RFC 7766 §6.2.1.1).
func TestAnswersOutOfOrder(t *testing.T) {
	var mu sync.Mutex
	var held [][]byte
	answers := zone(t, "a.example. 600 IN A 192.0.2.1", "b.example. 600 IN A 192.0.2.2", "c.example. 600 IN A 192.0.2.3")
	up := newPlain(t, func(q *dns.Msg, transport string) reply {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, answers(q, transport).packets[0])
		if len(held) < 3 {
			return reply{}
		}
		slices.Reverse(held)
		return reply{packets: held}
	})
	o := open(t, nil, "tcp://"+up.addr)
	var running sync.WaitGroup
	for i, name := range []string{"a.example", "b.example", "c.example"} {
		running.Go(func() {
			got, err := o.ask(name)
			if want := name + ". 600 IN A 192.0.2." + string(rune('1'+i)); err != nil || !slices.Equal(got, []string{want}) {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		})
	}
	running.Wait()
}

// A kept connection that died meanwhile costs no query.
func TestKeptConnectionDies(t *testing.T) {
	for server, up := range transports(t, zone(t, goodAnswer)) {
		t.Run(server[:5], func(t *testing.T) {
			o := open(t, withCA(up), server)
			o.mustAnswer()
			for range 5 {
				up.cutAll()
				o.mustAnswer()
			}
			if n := o.seen.tries(o.Names()[0], "ok"); n != 6 || len(o.seen.counts) != 1 {
				t.Errorf("observed %v", o.seen.counts)
			}
		})
	}
}

// The query that met the end of a connection is asked once more, on another.
func TestConnectionDiesUnderAQuery(t *testing.T) {
	answers := zone(t, goodAnswer)
	for server, up := range transports(t, answers) {
		if strings.HasPrefix(server, "https") {
			continue // an HTTP/2 server resets the stream: the answer is cut off
		}
		t.Run(server[:5], func(t *testing.T) {
			o := open(t, withCA(up), server)
			o.mustAnswer()
			var once sync.Once
			up.set(func(q *dns.Msg, transport string) (r reply) {
				r = answers(q, transport)
				once.Do(func() {
					if up.hangUp != nil {
						up.hangUp()
					}
					r = reply{raw: frame(r.packets[0])[:9], cut: true}
				})
				return r
			})
			o.mustAnswer()
			if up.conns.Load() != 2 {
				t.Errorf("%d connections", up.conns.Load())
			}
		})
	}
}

func TestFailuresOfStreams(t *testing.T) {
	tests := []struct {
		name string
		lie  lie
		kind Kind
		text string
	}{
		{"silent", func([]byte, *dns.Msg, string) reply { return reply{} }, Timeout, "in time"},
		{"wrong id", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, func(b []byte) { b[0] ^= 0xFF }))
		}, Garbled, "another question"},
		{"wrong name", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, func(b []byte) { b[13] = '7' }))
		}, Garbled, "another question"},
		{"half a record", func(good []byte, _ *dns.Msg, _ string) reply { return one(good[:len(good)-3]) }, Garbled, "malformed"},
		{"truncated", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, func(b []byte) { b[2] |= 2 }))
		}, Garbled, "half an answer"},
		{"SERVFAIL", withRcode(dns.RcodeServerFailure), Refused, "SERVFAIL"},
		{"cut", func(good []byte, _ *dns.Msg, _ string) reply {
			return reply{raw: frame(good)[:20], cut: true}
		}, Garbled, "cut its answer off"},
		{"too short for a header", func([]byte, *dns.Msg, string) reply {
			return one([]byte{1, 2, 3})
		}, Garbled, ""},
	}
	for _, tt := range tests {
		for server, up := range transports(t, lying(t, tt.lie)) {
			t.Run(tt.name+" "+server[:5], func(t *testing.T) {
				o := open(t, func(c *Config) { impatient(tt.kind)(c); c.CA = up.ca }, server)
				_, err := o.ask("a.example")
				var failure *Error
				if !errors.As(err, &failure) || failure.Kind != tt.kind || !strings.Contains(failure.Text, tt.text) {
					t.Fatalf("error %#v, want kind %v and %q", err, tt.kind, tt.text)
				}
				up.set(zone(t, goodAnswer))
				o.mustRecover()
			})
		}
	}
}

// Old servers take one query on a connection and end it.
func TestServerThatTakesOneQueryAtATime(t *testing.T) {
	answers := zone(t, goodAnswer)
	up := newPlain(t, func(q *dns.Msg, transport string) reply {
		r := answers(q, transport)
		r.cut = true
		return r
	})
	o := open(t, nil, "tcp://"+up.addr)
	for range 3 {
		var running sync.WaitGroup
		for range 10 {
			running.Go(o.mustAnswer)
		}
		running.Wait()
	}
}

func TestServerSaysHowLongConnectionsMayRest(t *testing.T) {
	saying := func(units uint16) script {
		answers := zone(t, goodAnswer)
		return func(q *dns.Msg, transport string) reply {
			asked := false
			for _, option := range q.IsEdns0().Option {
				asked = asked || option.Option() == dns.EDNS0TCPKEEPALIVE
			}
			if !asked {
				t.Error("not asked to say how long")
			}
			m := new(dns.Msg)
			if err := m.Unpack(answers(q, transport).packets[0]); err != nil {
				t.Error(err)
			}
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE, Timeout: units})
			return one(pack(t, m))
		}
	}
	up := newPlain(t, saying(0))
	o := open(t, nil, "tcp://"+up.addr)
	kept := func() int {
		s := o.resolvers[0].transport.(*streams)
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns)
	}
	o.mustAnswer()
	eventually(t, "the connection is ended at once", func() bool { return kept() == 0 })
	up.set(saying(300))
	o.mustAnswer()
	s := o.resolvers[0].transport.(*streams)
	s.mu.Lock()
	idle := s.conns[0].idle
	s.mu.Unlock()
	if idle != 30*time.Second {
		t.Errorf("kept for %v", idle)
	}
	up.set(saying(65535))
	o.mustAnswer()
	s.mu.Lock()
	idle = s.conns[0].idle
	s.mu.Unlock()
	if idle != maxIdle {
		t.Errorf("kept for %v, whatever the server says: want %v", idle, maxIdle)
	}
}

func TestIdleConnectionEnds(t *testing.T) {
	up := newPlain(t, zone(t, goodAnswer))
	o := open(t, nil, "tcp://"+up.addr)
	o.mustAnswer()
	s := o.resolvers[0].transport.(*streams)
	s.mu.Lock()
	s.conns[0].lastUsed = time.Now().Add(-time.Hour)
	s.conns[0].signal()
	s.mu.Unlock()
	eventually(t, "no connection", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == 0
	})
	o.mustAnswer()
	if up.conns.Load() != 2 {
		t.Errorf("%d connections", up.conns.Load())
	}
}

// A connection that is dead without saying so is left after the first query
// that waited in vain.
func TestSilentConnectionIsLeft(t *testing.T) {
	for server, up := range transports(t, zone(t, goodAnswer)) {
		if strings.HasPrefix(server, "https") {
			continue // pings, see httpPingAfter
		}
		t.Run(server[:5], func(t *testing.T) {
			t.Parallel()
			o := open(t, func(c *Config) { c.CA, c.Try, c.Total = up.ca, time.Second, time.Second }, server)
			o.mustAnswer()
			up.set(silent)
			if _, err := o.ask("a.example"); err == nil {
				t.Fatal("no error")
			}
			up.set(zone(t, goodAnswer))
			o.mustAnswer()
			if up.conns.Load() != 2 {
				t.Errorf("%d connections", up.conns.Load())
			}
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	up := newPlain(t, silent)
	o := open(t, nil, "tcp://"+up.addr)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	const many = 3 * maxStreams * streamDepth
	for range many {
		running.Go(func() { _, _ = o.Ask(ctx, question(t, "a.example", dns.TypeA)) })
	}
	eventually(t, "all queries", func() bool { return up.count("tcp") == many })
	if n := up.conns.Load(); n != maxStreams {
		t.Errorf("%d connections", n)
	}
	cancel()
	running.Wait()
}

func TestEncryptedQueriesArePadded(t *testing.T) {
	for server, up := range transports(t, zone(t, goodAnswer)) {
		o := open(t, withCA(up), server)
		for _, name := range []string{"a.example", strings.Repeat("long.", 20) + "example", strings.Repeat("longer.", 31) + "example"} {
			if _, err := o.Ask(context.Background(), question(t, name, dns.TypeA)); err != nil {
				t.Fatal(err)
			}
		}
		for _, packet := range up.packets() {
			padded := len(packet)%paddingBlock == 0
			if want := !strings.HasPrefix(server, "tcp"); padded != want {
				t.Errorf("%s: a query of %d bytes", server, len(packet))
			}
			if strings.HasPrefix(server, "https") || strings.HasPrefix(server, "quic") {
				if !bytes.Equal(packet[:2], []byte{0, 0}) {
					t.Errorf("%s: id %x, want 0", server, packet[:2])
				}
			}
		}
	}
}

// There is no padding that does not fill a block, for any name.
func TestPaddingFillsBlocks(t *testing.T) {
	for length := 1; length < 63; length++ {
		for _, x := range []extras{{padded: true}, {padded: true, keepalive: true}} {
			name := append(append([]byte{byte(length)}, bytes.Repeat([]byte{'a'}, length)...), 0)
			packet := appendQuery([]byte{9, 9}, Query{Name: string(name), Type: 1}, 7, name, x)[2:]
			var m dns.Msg
			if err := m.Unpack(packet); err != nil || len(packet)%paddingBlock != 0 {
				t.Fatalf("name of %d: %d bytes, %v", length, len(packet), err)
			}
		}
	}
}

func TestCertificates(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	good := zone(t, goodAnswer)
	byName, byAddress := newTLS(t, a, good, "dns.example"), newTLS(t, a, good, "127.0.0.1")
	https := newHTTPS(t, a, good, nil) // for both
	quicName, quicAddress := newQUIC(t, a, good, "dns.example"), newQUIC(t, a, good, "127.0.0.1")
	tests := []struct {
		server, ca string
		ok         bool
	}{
		{"tls://" + byName.addr + "#dns.example", a.file, true},
		{"tls://" + byName.addr + "#DNS.Example.", a.file, true},
		{"tls://" + byName.addr + "#other.example", a.file, false},
		{"tls://" + byName.addr, a.file, false},
		{"tls://" + byName.addr + "#dns.example", other.file, false},
		{"tls://" + byName.addr + "#dns.example", "", false},
		{"tls://" + byAddress.addr, a.file, true},
		{"tls://" + byAddress.addr + "#dns.example", a.file, false},
		{"https://" + https.addr, a.file, true},
		{"https://" + https.addr, other.file, false},
		{"quic://" + quicName.addr + "#dns.example", a.file, true},
		{"quic://" + quicName.addr, a.file, false},
		{"quic://" + quicAddress.addr, a.file, true},
		{"quic://" + quicAddress.addr, other.file, false},
	}
	for _, tt := range tests {
		t.Run(tt.server, func(t *testing.T) {
			o := open(t, func(c *Config) { c.CA = tt.ca }, tt.server)
			answer, err := o.Ask(context.Background(), question(t, "a.example", dns.TypeA))
			if tt.ok {
				if err != nil || !answer.Trusted || answer.Upstream != o.Names()[0] {
					t.Errorf("%+v, %v", answer, err)
				}
				return
			}
			var failure *Error
			if !errors.As(err, &failure) || failure.Kind != Garbled || !strings.Contains(failure.Text, "prove its name") {
				t.Errorf("error %#v", err)
			}
		})
	}
}

// A server that accepts and then says nothing holds no query longer than it
// may take.
func TestHandshakeThatNeverEnds(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { _, _ = io.Copy(io.Discard, conn); conn.Close() })
		}
	})
	t.Cleanup(func() { listener.Close(); running.Wait() })
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	for scheme, addr := range map[string]net.Addr{"tls://": listener.Addr(), "https://": listener.Addr(), "quic://": packets.LocalAddr()} {
		o := open(t, func(c *Config) { c.Try, c.Total = 50*time.Millisecond, 80*time.Millisecond }, scheme+addr.String())
		_, err := o.ask("a.example")
		var failure *Error
		if !errors.As(err, &failure) || failure.Kind != Timeout {
			t.Errorf("%s: %v", scheme, err)
		}
		o.Close()
	}
}
