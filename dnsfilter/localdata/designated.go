package localdata

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// designatedTTL is how long clients may go without asking again which
// encrypted listeners there are (RFC 9462 §4).
const designatedTTL = 300

// discoveryName is what clients ask that know only our address (RFC 9462 §4).
const discoveryName = "_dns.resolver.arpa."

// designated reports whether there is anything to tell.
func (d *Designated) designated() bool { return d.Name != "" && len(d.Endpoints) > 0 }

// addDesignated puts in the SVCB records of our encrypted listeners: by which
// those are found who know our address (RFC 9462 §4), and those who know our
// name (§5).
func (t *tree) addDesignated(d *Designated) error {
	if !d.designated() {
		return nil
	}
	target, err := d.check()
	if err != nil {
		return fmt.Errorf("designated resolver: %w", err)
	}
	for _, owner := range []string{discoveryName, "_dns." + target} {
		name, err := wireOf(owner)
		if err != nil {
			return fmt.Errorf("designated resolver: %w", err)
		}
		if n, ok := t.nodes[name]; ok && len(n.sets) > 0 {
			continue // a record of the configuration says it already
		}
		for i, e := range d.Endpoints {
			t.add(name, e.record(owner, target, uint16(i+1), d.Addrs))
		}
	}
	return nil
}

// check returns the name as records write it.
func (d *Designated) check() (target string, err error) {
	wire, err := wireOf(d.Name)
	if err != nil {
		return "", err
	}
	if wire == "\x00" {
		return "", errors.New("its name is the root: use the name in the listeners' certificates")
	}
	if special, why := alwaysSpecial(wire); special {
		return "", fmt.Errorf("name %q %s: use the name in the listeners' certificates", d.Name, why)
	}
	if _, err := netip.ParseAddr(d.Name); err == nil {
		return "", fmt.Errorf("name %q is an address: use a name, and put addresses in addresses", d.Name)
	}
	for _, a := range d.Addrs {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
			return "", fmt.Errorf("address %q is none that a client can reach", a)
		}
	}
	for _, e := range d.Endpoints {
		if err := e.check(); err != nil {
			return "", err
		}
	}
	return presentationOf(wire), nil
}

func (e *Endpoint) check() error {
	if e.Port == 0 {
		return fmt.Errorf("%s endpoint: the port is missing", e.Transport)
	}
	switch e.Transport {
	case TransportTLS, TransportQUIC:
		return nil
	case TransportHTTPS:
		if !strings.HasPrefix(e.Path, "/") || strings.ContainsAny(e.Path, "{}?# \"\\") || len(e.Path) > 200 {
			return fmt.Errorf("path %q: write a plain path that begins with /, such as /dns-query", e.Path)
		}
		return nil
	case "":
		return errors.New("an endpoint has no transport: tls, https or quic")
	default:
		return fmt.Errorf("transport %q: one of tls, https, quic", e.Transport)
	}
}

// record describes the endpoint as RFC 9461 §4 to §6 say.
func (e *Endpoint) record(owner, target string, priority uint16, addrs []netip.Addr) *dns.SVCB {
	r := &dns.SVCB{
		Hdr:      dns.RR_Header{Name: owner, Rrtype: dns.TypeSVCB, Class: dns.ClassINET, Ttl: designatedTTL},
		Priority: priority,
		Target:   target,
		Value:    []dns.SVCBKeyValue{&dns.SVCBAlpn{Alpn: e.protocols()}, &dns.SVCBPort{Port: e.Port}},
	}
	var v4 dns.SVCBIPv4Hint
	var v6 dns.SVCBIPv6Hint
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			v4.Hint = append(v4.Hint, a.AsSlice())
		} else {
			v6.Hint = append(v6.Hint, a.AsSlice())
		}
	}
	if len(v4.Hint) > 0 {
		r.Value = append(r.Value, &v4)
	}
	if len(v6.Hint) > 0 {
		r.Value = append(r.Value, &v6)
	}
	if e.Transport == TransportHTTPS {
		r.Value = append(r.Value, &dns.SVCBDoHPath{Template: e.Path + "{?dns}"})
	}
	return r
}

func (e *Endpoint) protocols() []string {
	switch {
	case e.Transport == TransportTLS:
		return []string{"dot"}
	case e.Transport == TransportQUIC:
		return []string{"doq"}
	case e.HTTP3:
		return []string{"h2", "h3"}
	default:
		return []string{"h2"}
	}
}
