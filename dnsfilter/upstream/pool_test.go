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

// clock is a Pool's time, moved by hand and by nothing else.
type clock struct {
	start time.Time
	ahead atomic.Int64
}

func (c *clock) now() time.Time          { return c.start.Add(time.Duration(c.ahead.Load())) }
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
	o := &opened{t: t, seen: &observed{counts: make(map[string]int)}, clock: &clock{start: time.Now()}}
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
	eventually(t, "a query", func() bool { return up.count("udp") > 0 })
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
