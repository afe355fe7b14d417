package gateway

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/policy/catalogue"
)

// parityPolicy has every selector that both doors can see: groups that nest,
// except, apps, categories, domains of each form, schedules, exceptions,
// warnings, and rules that only watch.
const parityPolicy = `
version: 1
timezone: Europe/Berlin
groups:
  employees:   {groups: [engineering, sales]}
  engineering: {networks: [127.0.1.0/24]}
  sales:       {networks: [127.0.2.0/24, 127.0.3.0/28]}
  guests:      {networks: [127.0.4.0/24]}
apps:
  town-hall: {name: Town Hall, category: conferencing, domains: [meet.corp.example]}
rules:
  - {name: rehearsal, what: {categories: [webinar]}, action: block, enforcement: report-only}
  - {name: memo, who: {groups: [employees], except: {networks: [127.0.1.7/32]}}, what: {apps: [zoom]}, when: {from: 2020-03-28T00:00}, action: block}
  - {name: approved, what: {apps: [msteams, town-hall]}, action: allow}
  - {name: lunch, who: {groups: [engineering]}, what: {categories: [messaging]}, when: {hours: ["Mon-Fri 12:00-13:00", "Sat 22:00-02:00"]}, action: allow}
  - {name: no-chat, who: {groups: [employees]}, what: {categories: [messaging], except: {apps: [slack]}}, action: block}
  - {name: coach, what: {categories: [conferencing]}, action: warn}
  - {name: watch, what: {categories: [voip]}, action: monitor}
  - {name: no-way-round, what: {categories: [bypass]}, action: block}
  - {name: forms, what: {domains: ["=exact.example", "*.below.example", "/^x[0-9]+\\.re\\.example$/"]}, action: block}
  - {name: strangers, who: {groups: [unidentified]}, what: {domains: [corp.example]}, action: block}
default: allow
exceptions:
  - {name: review, who: {groups: [sales]}, what: {apps: [zoom]}, until: 2020-04-03T18:00}
`

// triple is one question: who, what, when.
type triple struct {
	client netip.Addr
	name   string
	at     time.Time
}

// triples makes questions near the edges of every rule: clients in and out of
// every group, names of every app and names that only look like them, and
// instants around every schedule.
type triples struct {
	random *rand.Rand
	names  []string
	edges  []time.Time
}

func newTriples(t *testing.T, seed uint64) *triples {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	apps, err := catalogue.Apps()
	if err != nil {
		t.Fatal(err)
	}
	g := &triples{random: rand.New(rand.NewPCG(seed, 1)), names: []string{
		"meet.corp.example", "wiki.corp.example", "corp.example", "exact.example", "a.exact.example",
		"below.example", "a.below.example", "x1.re.example", "xy.re.example", "www.example",
	}}
	for _, app := range apps {
		for _, d := range app.Domains {
			if d.Name != "" {
				g.names = append(g.names, d.Name)
			}
		}
	}
	for _, text := range []string{
		"2020-03-28T00:00", "2020-04-03T18:00", "2020-03-27T12:00", "2020-03-27T13:00",
		"2020-03-28T22:00", "2020-03-29T02:00", "2020-10-25T02:00", "2020-03-25T12:30",
	} {
		at, err := time.ParseInLocation("2006-01-02T15:04", text, zone)
		if err != nil {
			t.Fatal(err)
		}
		g.edges = append(g.edges, at)
	}
	return g
}

func (g *triples) next() triple {
	name := g.names[g.random.IntN(len(g.names))]
	switch g.random.IntN(6) {
	case 0:
		name = fmt.Sprintf("us%d.%s", g.random.IntN(100), name)
	case 1:
		name = "not" + name
	case 2:
		name += ".evil.example"
	}
	within := time.Duration(g.random.Int64N(int64(3*time.Hour))) - 90*time.Minute
	if g.random.IntN(3) == 0 {
		within = time.Duration(g.random.IntN(3)-1) * time.Second
	}
	return triple{
		client: netip.AddrFrom4([4]byte{127, 0, byte(g.random.IntN(6)), byte(1 + g.random.IntN(20))}),
		name:   name,
		at:     g.edges[g.random.IntN(len(g.edges))].Add(within),
	}
}

// TestParityOfTheEngine asks the engine as each door does, 10,000 times.
func TestParityOfTheEngine(t *testing.T) {
	path := t.TempDir() + "/policy.yaml"
	writeFile(t, path, parityPolicy)
	loaded := LoadPolicy(path, time.Now())
	if !loaded.OK() {
		t.Fatal(loaded.All())
	}
	seed := rand.Uint64()
	g := newTriples(t, seed)
	decided := map[string]int{}
	for range 10_000 {
		q := g.next()
		host, err := policy.ParseHost(q.name)
		if err != nil {
			t.Fatal(err)
		}
		subject := loaded.Program.Subject(policy.Identity{Addr: q.client})
		request := policy.Request{Subject: subject, Door: policy.DoorDNS, At: q.at, Host: host}
		dns := loaded.Program.Decide(&request)
		request.Door, request.Port = policy.DoorProxy, 443
		proxy := loaded.Program.Decide(&request)
		if dns.Action != proxy.Action || dns.Rule != proxy.Rule || dns.App != proxy.App || dns.Group != proxy.Group || dns.Would != proxy.Would {
			t.Fatalf("seed %d: %v: the DNS door is told %s by %s, the proxy door %s by %s",
				seed, q, dns.Action, dns.RuleName(), proxy.Action, proxy.RuleName())
		}
		decided[dns.RuleName()]++
	}
	for _, rule := range loaded.Program.Rules() {
		if rule.Action != policy.ActionMonitor && !rule.ReportOnly && decided[rule.Name] == 0 {
			t.Errorf("seed %d: no question was decided by %s, so that nothing is said about it", seed, rule.Name)
		}
	}
}

// TestParityOfTheDoors asks the same at real listeners.
func TestParityOfTheDoors(t *testing.T) {
	port := echoServer(t)
	var c clock
	g := start(t, parityPolicy, func(config *Config, d *Dependencies) {
		slowPoll(config, d)
		d.Now = c.now
	})
	seed := rand.Uint64()
	questions := newTriples(t, seed)
	refusals := 0
	for range 400 {
		q := questions.next()
		c.set(q.at)
		byDNS := dnsDoor(t, g, q)
		byProxy, rule := proxyDoor(t, g, q, port)
		if byDNS != byProxy {
			t.Errorf("seed %d: %v: refused by the DNS door %v, by the proxy door %v (%s)", seed, q, byDNS, byProxy, rule)
		}
		if byProxy {
			refusals++
		}
	}
	if refusals < 40 || refusals > 360 {
		t.Errorf("seed %d: %d of 400 were refused: the questions say little", seed, refusals)
	}
	// What was recorded must agree as well: rule by rule, one door as the other.
	for _, rule := range g.engine.Program().Rules() {
		dns, proxy := g.decisions("dns", rule.Name), g.decisions("proxy", rule.Name)
		if dns != proxy {
			t.Errorf("seed %d: rule %s decided %d times at the DNS door, %d times at the proxy door", seed, rule.Name, dns, proxy)
		}
	}
}

func dnsDoor(t *testing.T, g *running, q triple) (refused bool) {
	t.Helper()
	addrs, _, err := queryFrom(g.addr("dns udp"), q.client.String(), q.name)
	if err != nil && strings.Contains(err.Error(), "NameError") {
		return true // a canary: the stub knows every name
	}
	if err != nil || len(addrs) != 1 {
		t.Fatalf("%v: %v, %v", q, addrs, err)
	}
	return addrs[0].IsUnspecified()
}

func proxyDoor(t *testing.T, g *running, q triple, port string) (refused bool, rule string) {
	t.Helper()
	conn, response, err := connectThrough(g.addr("proxy http"), q.client.String(), net.JoinHostPort(q.name, port))
	if err != nil {
		t.Fatalf("%v: %v", q, err)
	}
	_ = conn.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return false, ""
	case http.StatusForbidden:
		return true, response.Header.Get("X-Sallyport-Rule")
	default:
		t.Fatalf("%v: %s", q, response.Status)
		return false, ""
	}
}

// decisions is how many of a door's decisions a rule took.
func (r *running) decisions(door, rule string) (sum int) {
	r.eachSeries("sallyport_decisions_total", func(labels map[string]string, value float64) {
		if labels["door"] == door && labels["rule"] == rule {
			sum += int(value)
		}
	})
	return sum
}
