package policy

import (
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/strictyaml"
)

func (p *parser) readTests(v strictyaml.Value) {
	v.Items(func(item strictyaml.Value) {
		p.doc.Tests = append(p.doc.Tests, p.readTest(item))
	})
}

// readTest reads one of the policy's own tests.
func (p *parser) readTest(v strictyaml.Value) Test {
	t := Test{Position: v.Position()}
	var who, what string
	var port strictyaml.Value
	v.Mapping(strictyaml.Shape{
		Noun: "test",
		Fields: map[string]func(strictyaml.Value){
			"who": func(v strictyaml.Value) { t.Who, who = readIdentity(v) },
			"what": func(v strictyaml.Value) {
				what, _ = v.Line()
				t.Host, t.Port = readTarget(v, what)
				port = v
			},
			"door": func(v strictyaml.Value) {
				if text, ok := v.OneOf("dns", "proxy"); ok {
					t.Door, _ = ParseDoor(text)
				}
			},
			"at": func(v strictyaml.Value) { t.At, _ = instant(v, p.doc.Location) },
			"want": func(v strictyaml.Value) {
				if text, ok := v.As("verdict").OneOf("allow", "block", "warn", "monitor"); ok {
					t.Want, _ = ParseAction(text)
				}
			},
			"by": intoLine(&t.By),
		},
		Required: []string{"what", "want"},
		Hints: map[string]string{
			"what": "name the destination, as in zoom.us or zoom.us:443",
			"want": "say allow, block, warn or monitor",
			"user": `write it under "who"`,
			"ip":   `write it under "who"`,
			"host": `write it under "what"`,
			"rule": `write "by"`,
		},
	})
	if t.Port != 0 && t.Door == DoorDNS {
		port.Errorf("%q names a port, which the dns door cannot see: remove the port, or test the proxy door", what)
	}
	if who == "" {
		who = "anyone"
	}
	t.Text = who + " -> " + what
	return t
}

// readIdentity reads who a test asks for, and how that was written.
func readIdentity(v strictyaml.Value) (Identity, string) {
	var id Identity
	var text []string
	one := func(take func(string)) func(strictyaml.Value) {
		return func(v strictyaml.Value) {
			if line, ok := v.Line(); ok {
				text = append(text, v.Name()+" "+line)
				take(line)
			}
		}
	}
	several := func(take func(string)) func(strictyaml.Value) {
		return func(v strictyaml.Value) { items(v, one(take)) }
	}
	group := func(s string) { id.Groups = append(id.Groups, s) }
	device := func(s string) { id.Devices = append(id.Devices, CanonicalDevice(s)) }
	v.Mapping(strictyaml.Shape{
		Noun: "who of a test",
		Fields: map[string]func(strictyaml.Value){
			"ip": func(v strictyaml.Value) {
				one(func(s string) { id.Addr = readAddress(v, s) })(v)
			},
			"user":      one(func(s string) { id.User = CanonicalUser(s) }),
			"group":     one(group),
			"groups":    several(group),
			"device":    one(device),
			"devices":   several(device),
			"directory": several(func(s string) { id.Directory = append(id.Directory, s) }),
		},
		Hints: map[string]string{
			"users":    `a test asks for one client: write "user"`,
			"networks": `a test asks for one client: write "ip"`,
		},
	})
	return id, strings.Join(text, ", ")
}

func readAddress(v strictyaml.Value, s string) netip.Addr {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		v.Errorf("%q is not a client address: write one such as 10.4.7.7", s)
		return netip.Addr{}
	}
	return addr.Unmap()
}

// readTarget reads a host, or a host and a port. An IPv6 address with a port
// stands in brackets.
func readTarget(v strictyaml.Value, text string) (Host, uint16) {
	if text == "" {
		return Host{}, 0
	}
	name, port := text, uint16(0)
	_, err := netip.ParseAddr(text)
	if at := strings.LastIndexByte(text, ':'); err != nil && at >= 0 && !strings.HasSuffix(text, "]") {
		var ok bool
		if port, ok = parsePort(text[at+1:]); !ok {
			v.Errorf("%q is not a destination: write a host, or a host and a port from 1 to 65535 as in zoom.us:443", text)
			return Host{}, 0
		}
		name = text[:at]
	}
	host, err := ParseHost(name)
	if err != nil {
		v.Errorf("%q is not a destination: %v", text, err)
	}
	return host, port
}
