package policy_test

import (
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// TestTraceSaysWhy: an admin reads which selector fitted, or which one did not.
func TestTraceSaysWhy(t *testing.T) {
	p := compileFiles(t, []policy.File{{Name: "p.yaml", Data: []byte(`
version: 1
default: allow
timezone: Europe/Berlin
lists: {threats: {file: threats}}
groups:
  staff: {networks: [10.0.0.0/8]}
  managed: {groups: [rooms]}
  rooms: {devices: [room-1]}
rules:
  - {name: device, who: {devices: [kiosk]}, what: {domains: [d.example]}, action: block}
  - {name: managed, who: {groups: [managed]}, what: {domains: [d.example]}, action: block}
  - {name: others, who: {groups: [staff], except: {networks: [10.9.0.0/16]}}, what: {domains: [o.example]}, action: block}
  - {name: not-lab, who: {except: {networks: [10.0.0.0/8]}}, what: {domains: [o.example]}, action: block}
  - {name: later, what: {domains: [l.example]}, when: {from: 2030-01-01}, action: block}
  - {name: ended, what: {domains: [l.example]}, when: {until: 2019-01-01}, action: block}
  - {name: lunch, what: {domains: [l.example]}, when: {hours: ["Mon-Fri 12:00-13:00"]}, action: block}
  - {name: proxied, what: {domains: [l.example]}, doors: [proxy], action: block}
  - {name: ported, what: {domains: [l.example], ports: [25]}, action: block}
  - {name: but-one, what: {domains: [l.example], except: {domains: [l.example]}}, action: block}
  - {name: exact, what: {domains: ["=x.example", "*.b.example", '/^r[0-9]\.example$/']}, action: block}
  - {name: net, what: {networks: [203.0.113.0/24]}, action: block}
  - {name: listed, what: {lists: [threats]}, action: block}
  - {name: mail, what: {ports: [25]}, action: block}
  - {name: app, what: {apps: [zoom]}, action: block, enforcement: report-only}
`)}}, map[string][]byte{"threats": []byte("bad.example\n")})
	because := func(host string, door policy.Door, port uint16, ip, rule string) string {
		t.Helper()
		x := p.Explain(&policy.Request{
			Subject: p.Subject(policy.Identity{Addr: netip.MustParseAddr(ip)}),
			Door:    door, At: benchTime(), Port: port, Host: mustHost(t, host),
		})
		for _, step := range x.Trace {
			if step.Rule == rule {
				return step.Because
			}
		}
		t.Fatalf("%s: %s was not read", host, rule)
		return ""
	}
	for _, test := range []struct {
		host string
		door policy.Door
		port uint16
		ip   string
		rule string
		want string
	}{
		{"d.example", policy.DoorDNS, 0, "10.1.1.1", "device", "client 10.1.1.1 not in who; its device is not known, which it would have to prove over DoT, DoH or DoQ"},
		{"d.example", policy.DoorDNS, 0, "10.1.1.1", "managed", "client 10.1.1.1 not in who; its device is not known, which it would have to prove over DoT, DoH or DoQ"},
		{"d.example", policy.DoorProxy, 443, "10.1.1.1", "device", "client 10.1.1.1 not in who; the proxy door does not see devices"},
		{"d.example", policy.DoorProxy, 443, "10.1.1.1", "managed", "client 10.1.1.1 not in who; the proxy door does not see devices"},
		{"o.example", policy.DoorDNS, 0, "10.9.1.1", "others", "client 10.9.1.1 not in who, or in who.except"},
		{"o.example", policy.DoorDNS, 0, "10.9.1.1", "not-lab", "client 10.9.1.1 is in who.except"},
		{"l.example", policy.DoorDNS, 0, "10.1.1.1", "later", "not yet: from 2030-01-01T00:00:00+01:00"},
		{"l.example", policy.DoorDNS, 0, "10.1.1.1", "ended", "ended: until 2019-01-01T00:00:00+01:00"},
		{"l.example", policy.DoorDNS, 0, "10.1.1.1", "lunch", "outside hours Mon-Fri 12:00-13:00"},
		{"l.example", policy.DoorDNS, 0, "10.1.1.1", "proxied", "the rule is not enforced at the dns door"},
		{"z.example", policy.DoorDNS, 0, "10.1.1.1", "later", "z.example not in what"},
		{"l.example", policy.DoorDNS, 0, "10.1.1.1", "ported", "the dns door does not see the port"},
		{"l.example", policy.DoorDNS, 0, "10.1.1.1", "but-one", "l.example is in what.except"},
		{"x.example", policy.DoorDNS, 0, "10.1.1.1", "exact", "x.example fits =x.example"},
		{"a.b.example", policy.DoorDNS, 0, "10.1.1.1", "exact", "a.b.example fits *.b.example"},
		{"r7.example", policy.DoorDNS, 0, "10.1.1.1", "exact", `r7.example fits /^r[0-9]\.example$/`},
		{"203.0.113.9", policy.DoorDNS, 0, "10.1.1.1", "net", "203.0.113.9 is in 203.0.113.0/24"},
		{"x.bad.example", policy.DoorDNS, 0, "10.1.1.1", "listed", "x.bad.example is in list threats"},
		{"z.example", policy.DoorProxy, 25, "10.1.1.1", "mail", "z.example: port tcp/25 is in what.ports"},
		{"z.example", policy.DoorProxy, 443, "10.1.1.1", "mail", "port tcp/443 not in what.ports"},
		{"zoom.us", policy.DoorProxy, 443, "10.1.1.1", "app", "zoom.us belongs to zoom; recorded only, matching goes on"},
	} {
		if got := because(test.host, test.door, test.port, test.ip, test.rule); got != test.want {
			t.Errorf("%s, %s: %q, want %q", test.host, test.rule, got, test.want)
		}
	}
}

// TestTraceDefers: a selector is deferred where the door has seen nothing of it,
// and not where what it has seen is something else.
func TestTraceDefers(t *testing.T) {
	p := compileFiles(t, []policy.File{{Name: "p.yaml", Data: []byte(`
version: 1
default: allow
groups:
  rooms: {devices: [room-1]}
  staff: {networks: [10.0.0.0/8]}
rules:
  - {name: rooms, who: {groups: [rooms]}, what: {domains: [d.example]}, action: block}
  - {name: staff, who: {groups: [staff]}, what: {domains: [d.example]}, action: block}
`)}}, nil)
	for _, test := range []struct {
		name    string
		door    policy.Door
		devices []string
		want    [2]string // rooms, staff
	}{
		{"no device at the DNS door", policy.DoorDNS, nil, [2]string{"devices", ""}},
		{"no device at the proxy door", policy.DoorProxy, nil, [2]string{"devices", ""}},
		{"another device", policy.DoorDNS, []string{"room-2"}, [2]string{"", ""}},
	} {
		x := p.Explain(&policy.Request{
			Subject: p.Subject(policy.Identity{Addr: netip.MustParseAddr("192.0.2.1"), Devices: test.devices}),
			Door:    test.door, At: benchTime(), Host: mustHost(t, "d.example"),
		})
		for i, want := range test.want {
			if step := x.Trace[i]; step.Matched || step.Deferred != want {
				t.Errorf("%s: %s: deferred %q, want %q (%s)", test.name, step.Rule, step.Deferred, want, step.Because)
			}
		}
	}
}
