package localdata

import (
	"fmt"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// maxLabels is how many labels a name of 255 bytes can have, the root aside.
const maxLabels = dnswire.MaxNameBytes / 2

// wireOf turns a name in presentation form into lower-case wire form, by
// miekg/dns's own reading of it, so that both agree on every escape.
func wireOf(presentation string) (string, error) {
	buf := make([]byte, dnswire.MaxNameBytes+1)
	n, err := dns.PackDomainName(dns.Fqdn(presentation), buf, 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("name %q: %w", presentation, err)
	}
	return dnswire.LowerName(buf[:n]), nil
}

// presentationOf is the form of a wire name in records.
func presentationOf(wire string) string {
	name, _, err := dns.UnpackDomainName([]byte(wire), 0)
	if err != nil {
		return "." // no question has such a name
	}
	return name
}

// parent is the name without its first label; the root's is "".
func parent(wire string) string {
	if wire == "" || wire[0] == 0 {
		return ""
	}
	return wire[1+int(wire[0]):]
}

// wildcard returns the name that a wildcard stands for everything below of
// (RFC 4592 §2.1.1), if that is what owner is.
func wildcard(owner string) (below string, ok bool) {
	if len(owner) < 3 || owner[:2] != "\x01*" {
		return "", false
	}
	return owner[2:], true
}

// within reports whether a wire name is zone or lies below it.
func within(name, zone string) bool {
	for ; len(name) >= len(zone); name = parent(name) {
		if name == zone {
			return true
		}
		if name == "\x00" {
			return false
		}
	}
	return false
}
