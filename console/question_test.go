package console

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// testProgram is a policy that tells every way of asking apart.
func testProgram(t *testing.T) *policy.Program {
	t.Helper()
	doc, problems := policy.Parse([]policy.File{{Name: "policy.yaml", Data: []byte(`
version: 1
timezone: America/Los_Angeles
groups:
  staff: {networks: [10.0.0.0/8]}
  guests: {networks: [192.0.2.0/24]}
rules:
  - {name: rooms, who: {devices: ["aa:bb:cc:dd:ee:0f", kiosk-7]}, what: {domains: [zoom.us]}, action: allow}
  - {name: for-priya, who: {users: [priya@corp.example]}, what: {domains: [zoom.us]}, action: allow}
  - {name: tls-only, what: {domains: [mail.example], ports: [443]}, action: warn}
  - {name: memo, who: {groups: [staff]}, what: {domains: [zoom.us]}, when: {from: 2020-03-28T00:00}, action: block}
default: allow
`)}})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	program, problems := policy.Compile(doc, policy.Sources{Revision: "r1"})
	if program == nil {
		t.Fatal(problems)
	}
	return program
}

func TestAsk(t *testing.T) {
	program := testProgram(t)
	now := time.Date(2020, 4, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name string
		q    Question
		want string // "action rule", or part of the error
		bad  bool
	}{
		{"by address", Question{IP: "10.1.2.3", Host: "us04web.zoom.us"}, "block memo", false},
		{"by mapped address", Question{IP: "::ffff:10.1.2.3", Host: "zoom.us"}, "block memo", false},
		{"another client", Question{IP: "192.0.2.1", Host: "zoom.us"}, "allow default", false},
		{"by user, in capitals", Question{IP: "10.1.2.3", User: "Priya@Corp.Example", Host: "zoom.us"}, "allow for-priya", false},
		{"by device, in capitals", Question{Device: "Kiosk-7", Host: "zoom.us"}, "allow rooms", false},
		{"by MAC address with hyphens", Question{IP: "10.1.2.3", Device: "AA-BB-CC-DD-EE-0F", Host: "zoom.us"}, "allow rooms", false},
		{"by MAC address with dots", Question{IP: "10.1.2.3", Device: "aabb.ccdd.ee0f", Host: "zoom.us"}, "allow rooms", false},
		{"another device", Question{IP: "10.1.2.3", Device: "aa:bb:cc:dd:ee:10", Host: "zoom.us"}, "block memo", false},
		{"by group", Question{Groups: []string{"staff"}, Host: "zoom.us"}, "block memo", false},
		{"in the policy's zone", Question{IP: "10.1.2.3", At: "2020-03-27T23:59", Host: "zoom.us"}, "allow default", false},
		{"at midnight there", Question{IP: "10.1.2.3", At: "2020-03-28", Host: "zoom.us"}, "block memo", false},
		{"in a zone", Question{IP: "10.1.2.3", At: "2020-03-28T06:59Z", Host: "zoom.us"}, "allow default", false},
		{"with seconds and zone", Question{IP: "10.1.2.3", At: "2020-03-28T07:00:00Z", Host: "zoom.us"}, "block memo", false},
		{"port", Question{IP: "10.1.2.3", Host: "mail.example:443"}, "warn tls-only", false},
		{"port apart", Question{IP: "10.1.2.3", Host: "mail.example", Port: "443"}, "warn tls-only", false},
		{"another port", Question{IP: "10.1.2.3", Host: "mail.example:25"}, "allow default", false},
		{"the DNS door sees no port", Question{IP: "10.1.2.3", Door: "dns", Host: "mail.example:443"}, "allow default", false},
		{"derived", Question{IP: "10.1.2.3", Host: "vanity.example", Derived: []string{"zoom.us"}}, "block memo", false},
		{"claimed", Question{IP: "10.1.2.3", Host: "www.example:443", Claimed: []string{"zoom.us"}}, "block memo", false},
		{"full-width", Question{IP: "10.1.2.3", Host: "ｚｏｏｍ．ｕｓ"}, "block memo", false},
		{"bare IPv6", Question{IP: "10.1.2.3", Host: "2001:db8::1"}, "allow default", false},
		{"IPv6 with port", Question{IP: "10.1.2.3", Host: "[2001:db8::1]:443"}, "allow default", false},

		{"nobody", Question{Host: "zoom.us"}, "nobody is asking", true},
		{"nothing", Question{IP: "10.1.2.3"}, "no host is given", true},
		{"no address", Question{IP: "office", Host: "zoom.us"}, `ip "office" is not an address`, true},
		{"url", Question{IP: "10.1.2.3", Host: "https://zoom.us/j/1"}, "give the host alone", true},
		{"port 0", Question{IP: "10.1.2.3", Host: "zoom.us:0"}, "is not a number", true},
		{"two ports", Question{IP: "10.1.2.3", Host: "zoom.us:80", Port: "443"}, "two ports", true},
		{"door", Question{IP: "10.1.2.3", Host: "zoom.us", Door: "window"}, "unknown door", true},
		{"group", Question{Groups: []string{"staf"}, Host: "zoom.us"}, "the policy has", true},
		{"time", Question{IP: "10.1.2.3", Host: "zoom.us", At: "tomorrow"}, "is not a time", true},
		{"derived host", Question{IP: "10.1.2.3", Host: "zoom.us", Derived: []string{""}}, "derived:", true},
		{"too much", Question{IP: "10.1.2.3", Host: "zoom.us", Claimed: make([]string, maxFacts+1)}, "at most 64", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			x, err := test.q.Ask(program, now)
			if test.bad {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want an error with %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := x.Action + " " + x.Rule; got != test.want {
				t.Errorf("got %s, want %s: %+v", got, test.want, x.Trace)
			}
		})
	}
}

// TestAskIsTheDataPath asks the same as a door does, and wants the same.
func TestAskIsTheDataPath(t *testing.T) {
	program := testProgram(t)
	now := time.Date(2020, 4, 1, 0, 0, 0, 0, time.UTC)
	host, err := policy.ParseHost("zoom.us")
	if err != nil {
		t.Fatal(err)
	}
	verdict := program.Decide(&policy.Request{
		Subject: program.Subject(policy.Identity{Addr: netip.MustParseAddr("10.1.2.3")}),
		Door:    policy.DoorDNS,
		At:      now,
		Host:    host,
	})
	x, err := Question{IP: "10.1.2.3", Host: "zoom.us"}.Ask(program, now)
	if err != nil {
		t.Fatal(err)
	}
	if x.Rule != verdict.RuleName() || x.Verdict.Action != verdict.Action {
		t.Errorf("explain says %s by %s, the door is told %s by %s", x.Action, x.Rule, verdict.Action, verdict.RuleName())
	}
}

func TestQuestionFromQuery(t *testing.T) {
	values, err := url.ParseQuery("ip=10.0.0.1&user=a&group=x&group=y&device=d&host=h&port=1&door=dns&at=2020-01-01&derived=p&derived=q&claimed=r")
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionFromQuery(values)
	if err != nil {
		t.Fatal(err)
	}
	if q.IP != "10.0.0.1" || q.User != "a" || !slices.Equal(q.Groups, []string{"x", "y"}) || q.Device != "d" || q.Host != "h" ||
		q.Port != "1" || q.Door != "dns" || q.At != "2020-01-01" || !slices.Equal(q.Derived, []string{"p", "q"}) || !slices.Equal(q.Claimed, []string{"r"}) {
		t.Errorf("got %+v", q)
	}
	// As the contract writes it, with what is not asked about left empty.
	if q, err := questionFromQuery(url.Values{"ip": {"10.0.0.1"}, "user": {""}, "group": {""}, "host": {"h"}}); err != nil || len(q.Groups) != 0 {
		t.Errorf("got %+v, %v", q, err)
	}
	for _, bad := range []url.Values{{"ip": {"a", "b"}}, {"hosts": {"h"}}} {
		if _, err := questionFromQuery(bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}
