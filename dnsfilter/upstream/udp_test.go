package upstream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

func TestFailuresOfPlainServers(t *testing.T) {
	setTC := func(b []byte) { b[2] |= 2 }
	tests := []struct {
		name string
		lie  lie
		kind Kind
		text string
	}{
		{"silent", func([]byte, *dns.Msg, string) reply { return reply{} }, Timeout, "in time"},
		{"wrong id", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, func(b []byte) { b[0] ^= 0xFF }))
		}, Timeout, "in time"},
		{"wrong name", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, func(b []byte) { b[13] = '7' }))
		}, Timeout, "in time"},
		{"wrong type", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, func(b []byte) { b[questionEnd(good)-3] = byte(dns.TypeAAAA) }))
		}, Timeout, "in time"},
		{"wrong class", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, func(b []byte) { b[questionEnd(good)-1] = dns.ClassCHAOS }))
		}, Timeout, "in time"},
		{"query sent back", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, func(b []byte) { b[2] &^= 0x80 }))
		}, Timeout, "in time"},
		{"NXDOMAIN without a question", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good[:dnswire.HeaderBytes], func(b []byte) { clear(b[4:12]); b[3] = dns.RcodeNameError }))
		}, Timeout, "in time"},
		{"half a record", func(good []byte, _ *dns.Msg, _ string) reply { return one(good[:len(good)-3]) }, Garbled, "malformed"},
		{"fewer records than counted", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, func(b []byte) { b[7] = 9 }))
		}, Garbled, "half an answer"},
		{"garbage behind the question", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(slices.Concat(good[:questionEnd(good)], slices.Repeat([]byte{0xFF}, 60)))
		}, Garbled, "malformed"},
		{"SERVFAIL", withRcode(dns.RcodeServerFailure), Refused, "SERVFAIL"},
		{"REFUSED", withRcode(dns.RcodeRefused), Refused, "REFUSED"},
		{"code 14", withRcode(14), Refused, "code 14"},
		{"FORMERR, header only", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good[:dnswire.HeaderBytes], func(b []byte) { clear(b[4:12]); b[3] = dns.RcodeFormatError }))
		}, Refused, "FORMERR"},
		{"truncated, and over TCP too", func(good []byte, _ *dns.Msg, _ string) reply {
			return one(patched(good, setTC))
		}, Garbled, "half an answer"},
		{"truncated, and silent over TCP", func(good []byte, _ *dns.Msg, transport string) reply {
			if transport == "tcp" {
				return reply{}
			}
			return one(patched(good, setTC))
		}, Timeout, "in time"},
		{"truncated, and wrong over TCP", func(good []byte, _ *dns.Msg, transport string) reply {
			if transport == "tcp" {
				return one(patched(good, func(b []byte) { b[0] ^= 0xFF }))
			}
			return one(patched(good, setTC))
		}, Garbled, "another question"},
		{"truncated, and cut off over TCP", func(good []byte, _ *dns.Msg, transport string) reply {
			if transport == "tcp" {
				return reply{raw: frame(good)[:20], cut: true}
			}
			return one(patched(good, setTC))
		}, Garbled, "cut its answer off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			up := newPlain(t, lying(t, tt.lie))
			o := open(t, impatient(tt.kind), up.addr)
			_, err := o.ask("a.example")
			var failure *Error
			if !errors.As(err, &failure) || failure.Kind != tt.kind || !strings.Contains(failure.Text, tt.text) {
				t.Fatalf("error %#v, want kind %v and %q", err, tt.kind, tt.text)
			}
			if strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%q names an address", err)
			}
			if o.seen.tries("udp://"+up.addr, tt.kind.String()) == 0 {
				t.Errorf("observed %v", o.seen.counts)
			}
			up.set(zone(t, goodAnswer)) // a repaired server is used at once
			o.mustRecover()
		})
	}
}

func TestNobodyListens(t *testing.T) {
	addr := closedPort(t)
	for _, scheme := range []string{"udp://", "tcp://", "tls://"} {
		t.Run(scheme, func(t *testing.T) {
			o := open(t, nil, scheme+addr)
			start := time.Now()
			_, err := o.ask("a.example")
			var failure *Error
			if !errors.As(err, &failure) || failure.Kind != Unreachable || failure.Unwrap() == nil {
				t.Fatalf("error %#v", err)
			}
			if time.Since(start) > 5*time.Second {
				t.Error("the error was not noticed: the query waited")
			}
		})
	}
}

func TestStrayAnswersArePassedOver(t *testing.T) {
	up := newPlain(t, lying(t, func(good []byte, _ *dns.Msg, _ string) reply {
		forged := patched(good, func(b []byte) { copy(b[len(b)-4:], []byte{6, 6, 6, 6}) })
		return reply{packets: [][]byte{
			patched(forged, func(b []byte) { b[1]++ }),
			patched(forged, func(b []byte) { b[13] = '9' }),
			{0xDE, 0xAD},
			nil,
			good,
		}}
	}))
	open(t, nil, up.addr).mustAnswer()
}

func TestFloodOfStrayAnswersLeadsToTCP(t *testing.T) {
	up := newPlain(t, lying(t, func(good []byte, _ *dns.Msg, transport string) reply {
		if transport == "tcp" {
			return one(good)
		}
		return reply{packets: slices.Repeat([][]byte{patched(good, func(b []byte) { b[0] ^= 0x55 })}, maxStray)}
	}))
	open(t, nil, up.addr).mustAnswer()
	if up.count("tcp") != 1 {
		t.Errorf("%d queries over TCP", up.count("tcp"))
	}
}

func TestLetterCase(t *testing.T) {
	lower := func(good []byte, _ *dns.Msg, transport string) reply {
		if transport == "tcp" {
			return one(good)
		}
		return one(patched(good, func(b []byte) {
			name := b[dnswire.HeaderBytes : questionEnd(b)-4]
			copy(name, dnswire.LowerName(name))
		}))
	}
	const name = "letters-that-hardly-come-out-all-small.example"
	records := "LETTERS-that-hardly-come-out-all-small.example. 600 IN A 192.0.2.7"
	up := newPlain(t, zone(t, records))
	o := open(t, nil, up.addr)
	if got, err := o.ask(name); err != nil || !slices.Equal(got, []string{name + ". 600 IN A 192.0.2.7"}) {
		t.Fatalf("answer %q, %v: want names in lower case", got, err)
	}
	sent := up.packets()[0]
	asked := sent[dnswire.HeaderBytes : questionEnd(sent)-4]
	if string(asked) == dnswire.LowerName(asked) {
		t.Errorf("asked %q: letters are not mixed", asked)
	}

	// A server that does not repeat them is asked over TCP, and soon without.
	good := zone(t, records)
	up.set(func(q *dns.Msg, transport string) reply { return lower(good(q, transport).packets[0], q, transport) })
	for range letterMisses + 2 {
		if _, err := o.ask(name); err != nil {
			t.Fatal(err)
		}
	}
	if n := up.count("tcp"); n != letterMisses {
		t.Errorf("%d queries over TCP, want %d", n, letterMisses)
	}
	// After a while it gets another chance.
	o.clock.advance(letterAmnesty + time.Second)
	up.set(good)
	before := up.count("tcp")
	if _, err := o.ask(name); err != nil || up.count("tcp") != before {
		t.Errorf("%v, %d queries over TCP", err, up.count("tcp")-before)
	}
	last := up.packets()
	sent = last[len(last)-1]
	asked = sent[dnswire.HeaderBytes : questionEnd(sent)-4]
	if string(asked) == dnswire.LowerName(asked) {
		t.Errorf("asked %q: letters are not mixed again", asked)
	}
}

func TestTruncatedAnswerComesOverTCP(t *testing.T) {
	up := newPlain(t, lying(t, func(good []byte, _ *dns.Msg, transport string) reply {
		if transport == "udp" {
			return one(patched(good, func(b []byte) { b[2] |= 2 }))
		}
		return one(good)
	}))
	o := open(t, nil, up.addr)
	o.mustAnswer()
	o.mustAnswer()
	if up.count("tcp") != 2 || up.conns.Load() != 1 {
		t.Errorf("%d queries over %d TCP connections, want 2 over 1", up.count("tcp"), up.conns.Load())
	}
}

func TestQueryOnTheWire(t *testing.T) {
	up := newPlain(t, zone(t, goodAnswer))
	o := open(t, nil, up.addr)
	q := question(t, "a.example", dns.TypeMX)
	q.DO, q.CD = true, true
	if _, err := o.Ask(context.Background(), q); err != nil {
		t.Fatal(err)
	}
	o.mustAnswer()
	up.mu.Lock()
	defer up.mu.Unlock()
	m, plain := up.seen[0], up.seen[1]
	opt := m.IsEdns0()
	if !m.RecursionDesired || !m.AuthenticatedData || !m.CheckingDisabled || m.Question[0].Qtype != dns.TypeMX {
		t.Errorf("query %v", m)
	}
	if opt == nil || !opt.Do() || opt.UDPSize() != dnswire.UDPPayload || len(opt.Option) != 0 {
		t.Errorf("OPT %v", opt)
	}
	if plain.CheckingDisabled || plain.IsEdns0().Do() {
		t.Errorf("query without DO and CD: %v", plain)
	}
}

// Ports must not be guessed: queries come from many, and none is used for long.
func TestPortsChange(t *testing.T) {
	up := newPlain(t, zone(t, goodAnswer))
	o := open(t, nil, up.addr)
	const asked = maxSocketAsked + 200
	for range asked {
		o.mustAnswer()
	}
	if n := up.ports(); n < maxSockets*3/4 || n > maxSockets {
		t.Errorf("%d ports", n)
	}
	d := o.resolvers[0].transport.(*datagrams)
	for i := range d.sockets {
		if s := d.sockets[i].Load(); s != nil {
			s.mu.Lock()
			s.asked = maxSocketAsked
			s.mu.Unlock()
		}
	}
	before := up.ports()
	for range 20 {
		o.mustAnswer()
	}
	if up.ports() <= before {
		t.Errorf("%d ports, still: a socket is used for ever", before)
	}
	eventually(t, "sockets that are used up are closed", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.open) <= maxSockets
	})
}

func TestSocketsEndByThemselves(t *testing.T) {
	up := newPlain(t, zone(t, goodAnswer))
	o := open(t, nil, up.addr)
	d := o.resolvers[0].transport.(*datagrams)
	o.mustAnswer()
	d.mu.Lock()
	for s := range d.open {
		s.conn.SetReadDeadline(time.Unix(1, 0)) // its time is over
	}
	d.mu.Unlock()
	eventually(t, "the socket is gone", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.open) == 0
	})
	o.mustAnswer()
}

func TestLateAnswerIsNobodys(t *testing.T) {
	s := &socket{to: new(endpoint), until: time.Now().Add(time.Hour)}
	var calls calls
	q := question(t, "a.example", dns.TypeA)
	c := calls.borrow(q)
	c.name = []byte(q.Name)
	if !s.take(c, time.Now()) {
		t.Fatal("no place")
	}
	late := patched(appendQuery(nil, q, c.id, c.name, extras{}), func(b []byte) { b[2] |= 0x80 })
	if !s.giveUp(c) || s.giveUp(c) {
		t.Error("a call is given up once")
	}
	s.receive(late)
	if s.strays != 0 || len(s.waiting.byID) != 0 {
		t.Errorf("%d strays, %d ids taken: a late answer is known", s.strays, len(s.waiting.byID))
	}
	s.receive(late)
	if s.strays != 1 {
		t.Errorf("%d strays: the second is none of ours", s.strays)
	}
	select {
	case <-c.done:
		t.Error("delivered after it was given up")
	default:
	}
}
