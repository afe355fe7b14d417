package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// observed is what a Pool told about its tries.
type observed struct {
	mu     sync.Mutex
	counts map[string]int // "udp://127.0.0.1:53 ok"
	states []string       // "udp://127.0.0.1:53 down"
}

func (o *observed) tries(upstream, result string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts[upstream+" "+result]
}

func (o *observed) changes() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.states)
}

// clock is a Pool's time, moved by hand.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

type opened struct {
	*Pool
	t     *testing.T
	seen  *observed
	clock *clock
}

// open makes a Pool of servers, with times that no test waits for by accident.
func open(t *testing.T, change func(*Config), servers ...string) *opened {
	t.Helper()
	c := Config{Servers: servers, Try: 10 * time.Second, Total: 20 * time.Second}
	if change != nil {
		change(&c)
	}
	o := &opened{t: t, seen: &observed{counts: make(map[string]int)}, clock: new(clock)}
	p, err := New(c, Dependencies{
		Observe: func(upstream, result string, took time.Duration) {
			o.seen.mu.Lock()
			defer o.seen.mu.Unlock()
			o.seen.counts[upstream+" "+result]++
			if took < 0 {
				t.Errorf("a try took %v", took)
			}
		},
		State: func(upstream string, up bool) {
			o.seen.mu.Lock()
			defer o.seen.mu.Unlock()
			o.seen.states = append(o.seen.states, upstream+" "+map[bool]string{true: "up", false: "down"}[up])
		},
		Now: o.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Pool = p
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return o
}

func question(t testing.TB, name string, kind uint16) Query {
	wire, err := dnswire.WireName(name)
	if err != nil {
		t.Fatal(err)
	}
	return Query{Name: wire, Type: kind}
}

// ask returns the answer's records, or the error, as text.
func (o *opened) ask(name string) ([]string, error) {
	answer, err := o.Ask(context.Background(), question(o.t, name, dns.TypeA))
	if err != nil {
		return nil, err
	}
	return texts(answer.Msg), nil
}

func texts(m *dns.Msg) []string {
	var all []string
	for _, r := range m.Answer {
		all = append(all, strings.ReplaceAll(r.String(), "\t", " "))
	}
	return all
}

const goodAnswer = "a.example. 600 IN A 192.0.2.1"

func (o *opened) mustAnswer() {
	o.t.Helper()
	if got, err := o.ask("a.example"); err != nil || !slices.Equal(got, []string{goodAnswer}) {
		o.t.Fatalf("answer %q, %v", got, err)
	}
}

// mustRecover is mustAnswer with patience, for Pools that have little.
func (o *opened) mustRecover() {
	o.t.Helper()
	eventually(o.t, "an answer", func() bool {
		got, err := o.ask("a.example")
		return err == nil && slices.Equal(got, []string{goodAnswer})
	})
}

// impatient makes a Pool wait for little only where waiting is in vain.
func impatient(k Kind) func(*Config) {
	return func(c *Config) {
		if k == Timeout {
			c.Try, c.Total = 200*time.Millisecond, 300*time.Millisecond
		}
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func closedPort(t *testing.T) string {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

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

func TestManyAtOnce(t *testing.T) {
	var records []string
	for i := range 200 {
		records = append(records, fmt.Sprintf("n%d.example. 60 IN A 192.0.2.%d", i, i))
	}
	up := newPlain(t, zone(t, records...))
	for _, scheme := range []string{"udp://", "tcp://"} {
		o := open(t, nil, scheme+up.addr)
		var running sync.WaitGroup
		for i := range records {
			running.Go(func() {
				got, err := o.ask(fmt.Sprintf("n%d.example", i))
				if err != nil || !slices.Equal(got, records[i:i+1]) {
					t.Errorf("%q, %v; want %q", got, err, records[i])
				}
			})
		}
		running.Wait()
	}
	if n := up.conns.Load(); n > maxStreams {
		t.Errorf("%d TCP connections", n)
	}
}

func TestContextEndsAsk(t *testing.T) {
	up := newPlain(t, silent)
	for _, scheme := range []string{"udp://", "tcp://"} {
		o := open(t, nil, scheme+up.addr)
		ctx, cancel := context.WithCancel(context.Background())
		before := len(up.packets())
		go func() {
			for len(up.packets()) == before {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		_, err := o.Ask(ctx, question(t, "a.example", dns.TypeA))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", scheme, err)
		}
		if o.resolvers[0].health.sick.Load() {
			t.Errorf("%s: a client's leaving is held against the resolver", scheme)
		}
	}
}

func TestCloseEndsAsk(t *testing.T) {
	up := newPlain(t, silent)
	for _, scheme := range []string{"udp://", "tcp://"} {
		o := open(t, nil, scheme+up.addr)
		before := len(up.packets())
		ended := make(chan error, 1)
		go func() {
			_, err := o.ask("a.example")
			ended <- err
		}()
		eventually(t, "a query", func() bool { return len(up.packets()) > before })
		o.Close()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: no error", scheme)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: Ask goes on after Close", scheme)
		}
		if _, err := o.ask("a.example"); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: after Close: %v", scheme, err)
		}
	}
}

func TestTooManyAtOnce(t *testing.T) {
	up := newPlain(t, silent)
	o := open(t, func(c *Config) { c.MaxInFlight = 1 }, up.addr)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = o.Ask(ctx, question(t, "a.example", dns.TypeA))
	}()
	eventually(t, "a query", func() bool { return up.count("udp") == 1 })
	if _, err := o.ask("b.example"); !errors.Is(err, ErrBusy) {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	<-ended
	up.set(zone(t, goodAnswer))
	o.mustAnswer()
}

func TestAskRefusesNoName(t *testing.T) {
	o := open(t, nil, "127.0.0.1:1")
	for _, name := range []string{"", "a", "\x01a", "\x01A\x00", "\x01a\x00\x00", "\x40" + strings.Repeat("a", 64) + "\x00", strings.Repeat("\x01a", 128) + "\x00"} {
		if _, err := o.Ask(context.Background(), Query{Name: name, Type: dns.TypeA}); err == nil || !strings.Contains(err.Error(), "wire form") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
