package dnsfilter

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap/zaptest"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/ingress"
	"github.com/sallyport/sallyport/policy"
)

// deciderFunc is a policy.Decider made of a func.
type deciderFunc func(*policy.Request) policy.Verdict

func (f deciderFunc) Decide(r *policy.Request) policy.Verdict { return f(r) }

func allowAll(*policy.Request) policy.Verdict {
	return policy.Verdict{Action: policy.ActionAllow, Rule: &policy.Rule{Name: policy.DefaultRule, Action: policy.ActionAllow}, Revision: "r1"}
}

// memo refuses Zoom as the memo does: names at and under zoom.us, and
// addresses in two of its networks, asked for or derived.
func memo(rule policy.Rule) deciderFunc {
	if rule.Name == "" {
		rule.Name = "zoom-memo"
	}
	if rule.Reason == "" {
		rule.Reason = "Privacy and security concerns"
	}
	zoom4, zoom6 := netip.MustParsePrefix("3.7.35.0/25"), netip.MustParsePrefix("2620:123:2000::/40")
	return func(r *policy.Request) policy.Verdict {
		for _, h := range append([]policy.Host{r.Host}, r.Derived...) {
			name := h.Name() == "zoom.us" || strings.HasSuffix(h.Name(), ".zoom.us")
			if name || h.IsAddr() && (zoom4.Contains(h.Addr()) || zoom6.Contains(h.Addr())) {
				return policy.Verdict{Action: rule.Action, Rule: &rule, App: &policy.App{ID: "zoom"}, Fact: h, Revision: "r1"}
			}
		}
		return allowAll(r)
	}
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2020, 3, 28, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// door is a DNS door under test, listening on a free port.
type door struct {
	*Server
	t        *testing.T
	addr     string
	clock    *clock
	registry *prometheus.Registry

	mu      sync.Mutex
	records []policy.Decision
}

// patience is when a test gives up on what must come.
const patience = 10 * time.Second

// impatient is a door's setting for an upstream that is waited for in vain.
func impatient(c *Config) { c.UpstreamTimeout, c.QueryTimeout = time.Second/2, time.Second }

// openDoor opens a door whose decisions are d's and whose upstreams are ups.
// Settings may be changed by adjust.
func openDoor(t *testing.T, d policy.Decider, adjust func(*Config), ups ...*fakeUpstream) *door {
	t.Helper()
	o := newDoor(t, d, adjust, ups...)
	if err := o.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	o.addr = o.Addrs()[0].Addr
	return o
}

func newDoor(t *testing.T, d policy.Decider, adjust func(*Config), ups ...*fakeUpstream) *door {
	t.Helper()
	o := &door{t: t, clock: newClock(), registry: prometheus.NewRegistry()}
	c := Config{
		Listen:          []string{"127.0.0.1:0"},
		Clients:         []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		TTL:             30 * time.Second,
		CacheBytes:      1 << 20,
		UpstreamTimeout: patience, // on a busy machine as well, nothing is given up by accident
		QueryTimeout:    patience,
	}
	for _, u := range ups {
		c.Upstreams = append(c.Upstreams, "udp://"+u.addr)
	}
	if len(ups) == 0 {
		c.Upstreams = []string{"udp://127.0.0.1:9"}
	}
	if adjust != nil {
		adjust(&c)
	}
	server, err := New(c, Dependencies{
		Decider: d,
		Identify: func(a netip.Addr, _ *Peer) policy.Subject {
			return policy.Subject{Identity: policy.Identity{Addr: a, Source: "network"}}
		},
		Record: func(d *policy.Decision) {
			o.mu.Lock()
			defer o.mu.Unlock()
			kept := *d
			kept.Host = kept.Host.Clone()
			kept.Verdict.Fact = kept.Verdict.Fact.Clone()
			o.records = append(o.records, kept)
		},
		Registerer: o.registry,
		Log:        zaptest.NewLogger(t),
		Now:        o.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Server = server
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return o
}

// respond answers a packet as an ingress has it answered.
func respond(h *handler, wire []byte, transport ingress.Transport) []byte {
	q := &ingress.Query{Wire: wire, Client: netip.MustParseAddrPort("127.0.0.1:4000"), Transport: transport}
	desk := h.Desk()
	desk.Begin()
	defer desk.End()
	if reply, done := desk.Try(q, make([]byte, 0, dnswire.UDPPayload)); done {
		return reply
	}
	return h.Respond(context.Background(), q, nil)
}

// query is a question as tests write it.
func query(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
}

// withEDNS adds an OPT record.
func withEDNS(m *dns.Msg, size uint16, do bool) *dns.Msg { return m.SetEdns0(size, do) }

// ask sends m over UDP and returns the reply.
func (o *door) ask(m *dns.Msg) *dns.Msg { return o.askOver("udp", m) }

func (o *door) askOver(network string, m *dns.Msg) *dns.Msg {
	o.t.Helper()
	client := dns.Client{Net: network, Timeout: 2 * patience, UDPSize: dns.MaxMsgSize}
	reply, _, err := client.Exchange(m, o.addr)
	if err != nil {
		o.t.Fatalf("%s %s over %s: %v", m.Question[0].Name, typeName(m.Question[0].Qtype), network, err)
	}
	return reply
}

// decisions returns what has been recorded.
func (o *door) decisions() []policy.Decision {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.records)
}

// lastDecision returns the one that was recorded for the latest query. It is
// recorded before the reply goes out.
func (o *door) lastDecision() policy.Decision {
	o.t.Helper()
	all := o.decisions()
	if len(all) == 0 {
		o.t.Fatal("nothing was recorded")
	}
	return all[len(all)-1]
}

// metric reads one counter or gauge: a name, and label pairs that must fit.
func (o *door) metric(name string, labels ...string) float64 {
	o.t.Helper()
	families, err := o.registry.Gather()
	if err != nil {
		o.t.Fatal(err)
	}
	total := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			fits := 0
			for _, pair := range m.GetLabel() {
				for i := 0; i+1 < len(labels); i += 2 {
					if pair.GetName() == labels[i] && pair.GetValue() == labels[i+1] {
						fits++
					}
				}
			}
			if fits == len(labels)/2 {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return total
}

// settled is metric for one that has to become want: a batch is counted when
// its replies have gone out. Whatever else it is after some patience is
// returned too.
func (o *door) settled(want float64, name string, labels ...string) float64 {
	o.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := o.metric(name, labels...)
		if got == want || time.Now().After(deadline) {
			return got
		}
		time.Sleep(time.Millisecond)
	}
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// texts are the answers of a reply in presentation form, without spaces.
func texts(section []dns.RR) []string {
	lines := make([]string, len(section))
	for i, r := range section {
		lines[i] = strings.Join(strings.Fields(r.String()), " ")
	}
	return lines
}

// ede returns the dnswire.Extended error of a reply.
func ede(m *dns.Msg) *dns.EDNS0_EDE {
	opt := m.IsEdns0()
	if opt == nil {
		return nil
	}
	for _, option := range opt.Option {
		if e, ok := option.(*dns.EDNS0_EDE); ok {
			return e
		}
	}
	return nil
}

func TestMetricsFollowConventions(t *testing.T) {
	o := openDoor(t, deciderFunc(allowAll), nil, newZone(t, "a.example. 60 IN A 192.0.2.1"))
	o.ask(query("a.example", dns.TypeA))
	problems, err := testutil.GatherAndLint(o.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func counterValue(c prometheus.Counter) float64 { return testutil.ToFloat64(c) }
