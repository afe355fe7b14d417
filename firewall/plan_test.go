package firewall

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// text has everything that a packet filter can tell apart, and what it cannot.
const text = `
version: 1
timezone: America/Los_Angeles
default: allow
groups:
  desks: {networks: [10.0.0.0/8, "fd00:28::/32"]}
  labs: {networks: [10.7.0.0/16]}
  liaison: {users: [priya@corp.example]}
apps:
  hall:
    name: Hall
    category: conferencing
    domains: [hall.example]
    networks: [192.0.2.0/24, "2001:db8:1::/48", {network: 192.0.2.200/29, role: shared}]
  booth:
    name: Booth
    category: conferencing
    networks: [198.51.100.0/25]
    ports: [udp/10000]
  nameless:
    name: Nameless
    category: conferencing
    domains: [nameless.example]
    ports: [udp/5000-5010, tcp/443]
  coached: {name: Coached, category: webinar, networks: [203.0.113.0/24]}
lists:
  far: {file: far.txt}
rules:
  - {name: labs-may, who: {groups: [labs]}, what: {apps: [hall]}, action: allow}
  - {name: liaison, who: {groups: [liaison]}, what: {apps: [booth]}, action: allow}
  - {name: memo, who: {groups: [desks]}, what: {apps: [hall, booth, nameless], except: {networks: [192.0.2.9/32]}}, action: block}
  - {name: ports, what: {networks: [198.18.0.0/15], ports: [udp/5000-5100, 7000]}, action: block}
  - {name: lunch, what: {networks: [203.0.113.7/32]}, when: {hours: ["12:00-13:00"]}, action: block}
  - {name: coach, what: {apps: [coached]}, action: warn}
  - {name: lists, what: {lists: [far]}, action: block}
  - {name: rehearsed, what: {networks: [100.100.0.0/16]}, action: block, enforcement: report-only}
  - {name: guests, who: {networks: [172.16.9.0/24]}, action: block}
`

const farList = "45.45.0.0/16\n46.46.46.46\n"

var morning = time.Date(2020, 3, 30, 16, 0, 0, 0, time.UTC) // nine o'clock there

func compiled(t testing.TB, text string) *policy.Program {
	t.Helper()
	doc, problems := policy.Parse([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	list, _, err := policy.ParseList([]byte(farList))
	if err != nil {
		t.Fatal(err)
	}
	p, problems := policy.Compile(doc, policy.Sources{Revision: "r1", Lists: map[string]*policy.List{"far": list}})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return p
}

// TestPlanIsThePolicy sends packets of chance through the plan and asks the
// policy about the same: the two must agree, save where the plan says that it
// leaves something out.
func TestPlanIsThePolicy(t *testing.T) {
	p := compiled(t, text)
	clients := []string{"10.0.0.1", "10.7.0.1", "10.6.255.255", "10.8.0.0", "11.0.0.1", "192.168.1.1", "fd00:28::5", "fd00:29::5"}
	destinations := []string{
		"192.0.2.0", "192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.199", "192.0.2.200", "192.0.2.207", "192.0.2.208", "192.0.3.0",
		"2001:db8:1::", "2001:db8:1:ffff::9", "2001:db8:2::", "198.51.100.1", "198.51.100.127", "198.51.100.128",
		"198.18.0.1", "198.19.255.255", "198.20.0.0", "203.0.113.7", "203.0.113.8", "45.45.1.1", "46.46.46.46", "46.46.46.47", "100.100.1.1", "8.8.8.8",
	}
	ports := []uint16{1, 443, 4999, 5000, 5100, 5101, 7000, 10000, 65535}
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		destinations = append(destinations, netip.AddrFrom4([4]byte{[]byte{192, 198, 203, 45}[random.IntN(4)], []byte{0, 51, 18, 45}[random.IntN(4)], byte(random.IntN(256)), byte(random.IntN(256))}).String())
	}
	for _, settings := range []Settings{{SignIn: true}, {SignIn: true, Strict: true}, {}, {TCP: true}} {
		settings.At = morning
		plan, refused := Make(p, settings), 0
		for _, protocol := range []policy.Protocol{policy.ProtocolUDP, policy.ProtocolTCP} {
			for _, c := range clients {
				client := netip.MustParseAddr(c)
				for _, d := range destinations {
					to := netip.MustParseAddr(d)
					if client.Is4() != to.Is4() {
						continue
					}
					for _, port := range ports {
						v := p.Decide(&policy.Request{Subject: p.Subject(policy.Identity{Addr: client}), Door: policy.DoorProxy, At: morning, Protocol: protocol, Port: port, Host: policy.HostFromAddr(to)})
						want := v.Action.Refuses() && (settings.Strict || v.Action == policy.ActionBlock && !(v.NeedsUser && settings.SignIn))
						want = want && (protocol == policy.ProtocolUDP || settings.TCP)
						if got := plan.refuses(t, protocol, client, to, port); got != want {
							t.Fatalf("%+v: %s %s to %s port %d: refused %t, and the policy says %s by %s", settings, protocol, client, to, port, got, v.Action, v.RuleName())
						}
						if want {
							refused++
						}
					}
				}
			}
		}
		if refused == 0 {
			t.Error("nothing was refused: the test shows nothing")
		}
	}
}

// refuses reads the plan as a packet filter would.
func (p *Plan) refuses(t *testing.T, protocol policy.Protocol, from, to netip.Addr, port uint16) bool {
	t.Helper()
	return slices.ContainsFunc(p.Refusals, func(r Refusal) bool {
		return r.Protocol == protocol.String() && holds(t, r.Destinations, to) &&
			(len(r.Clients) == 0 || holds(t, r.Clients, from)) &&
			(len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(s string) bool {
				low, high, found := strings.Cut(s, "-")
				if !found {
					high = low
				}
				first, err := strconv.Atoi(low)
				last, err2 := strconv.Atoi(high)
				if err != nil || err2 != nil {
					t.Fatalf("ports %q", s)
				}
				return first <= int(port) && int(port) <= last
			}))
	})
}

func holds(t *testing.T, ranges []string, addr netip.Addr) bool {
	t.Helper()
	return slices.ContainsFunc(ranges, func(s string) bool {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			return prefix.Contains(addr)
		}
		low, high, found := strings.Cut(s, "-")
		if !found {
			high = low
		}
		first, err := netip.ParseAddr(low)
		last, err2 := netip.ParseAddr(high)
		if err != nil || err2 != nil || first.Is4() != last.Is4() {
			t.Fatalf("addresses %q", s)
		}
		return first.Is4() == addr.Is4() && first.Compare(addr) <= 0 && addr.Compare(last) <= 0
	})
}

// TestNFTables compares the file with testdata, and with itself.
func TestNFTables(t *testing.T) {
	for name, settings := range map[string]Settings{"plain": {SignIn: true}, "strict": {SignIn: true, Strict: true, TCP: true}} {
		t.Run(name, func(t *testing.T) {
			settings.At = morning
			var first, again bytes.Buffer
			for _, to := range []*bytes.Buffer{&first, &again} {
				if err := Make(compiled(t, text), settings).WriteNFTables(to); err != nil {
					t.Fatal(err)
				}
			}
			if first.String() != again.String() {
				t.Error("the same policy gives two files")
			}
			golden := "testdata/" + name + ".nft"
			if *update {
				if err := os.WriteFile(golden, first.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if first.String() != string(want) {
				t.Errorf("the file has changed (go test ./firewall -update writes it anew):\n%s", first.String())
			}
		})
	}
}

func TestUntil(t *testing.T) {
	p := compiled(t, text)
	for at, want := range map[string]string{"2020-03-30T09:00:00-07:00": "2020-03-30T12:00:00-07:00", "2020-03-30T12:30:00-07:00": "2020-03-30T13:00:00-07:00"} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := Make(p, Settings{At: when}).Until; got != want {
			t.Errorf("at %s: until %q, want %s", at, got, want)
		}
	}
	if got := Make(compiled(t, "version: 1\ndefault: allow\n"), Settings{}); got.Until != "" || len(got.Refusals) != 0 || len(got.LeftOut) != 0 {
		t.Errorf("a policy without rules: %+v", got)
	}
}

// TestComments: what a policy is called cannot end a comment.
func TestComments(t *testing.T) {
	var b strings.Builder
	comment(&b, "\t", "one\ntwo\r\u2028three")
	if got := b.String(); got != "\t# one two three\n" {
		t.Errorf("%q", got)
	}
}

func TestDefaultBlockIsSaid(t *testing.T) {
	plan := Make(compiled(t, "version: 1\ndefault: block\nrules:\n  - {name: one, what: {networks: [192.0.2.0/24]}, action: allow}\n"), Settings{})
	if len(plan.Refusals) != 0 || len(plan.LeftOut) != 1 || plan.LeftOut[0].Rule != policy.DefaultRule {
		t.Errorf("%+v", plan)
	}
}

// TestPlanOfManyNetworks has sixty groups, sixty ports and three thousand networks
// multiply: what is asked must not grow with the networks.
func TestPlanOfManyNetworks(t *testing.T) {
	var groups, rules, networks strings.Builder
	for i := range 60 {
		fmt.Fprintf(&groups, "  g%d: {networks: [10.%d.0.0/16]}\n", i, i)
		fmt.Fprintf(&rules, "  - {name: r%d, who: {groups: [g%d]}, what: {apps: [hall], ports: [udp/%d]}, action: block}\n", i, i, 4000+2*i)
	}
	for i := range 3000 {
		fmt.Fprintf(&networks, "%d.%d.%d.0/25, ", 20+i>>16, i>>8&255, i&255)
	}
	p := compiled(t, "version: 1\ndefault: allow\ngroups:\n"+groups.String()+
		"apps:\n  hall: {name: Hall, category: conferencing, networks: ["+networks.String()+"]}\n"+
		"lists: {far: {file: far.txt}}\nrules:\n"+rules.String())
	if a := newAsker(p, Settings{At: morning}); len(a.families[0].clients) > 61 || len(a.families[0].destinations) != 1 {
		t.Fatalf("%d kinds of clients, %d of destinations", len(a.families[0].clients), len(a.families[0].destinations))
	}
	plan := Make(p, Settings{At: morning})
	if len(plan.Refusals) != 60 {
		t.Fatalf("%d refusals", len(plan.Refusals))
	}
	for i, r := range plan.Refusals {
		want := Refusal{Protocol: "udp", Clients: []string{fmt.Sprintf("10.%d.0.0/16", i)}, Ports: []string{fmt.Sprint(4000 + 2*i)}}
		if !slices.Equal(r.Clients, want.Clients) || !slices.Equal(r.Ports, want.Ports) || len(r.Destinations) != 3000 {
			t.Fatalf("refusal %d: clients %q, ports %q, %d destinations", i, r.Clients, r.Ports, len(r.Destinations))
		}
	}
}
