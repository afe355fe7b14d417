package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Bounds of names: RFC 1035 §2.3.4, in text form without the final dot. What
// is longer than maxWritten before mapping cannot be a name after it.
const (
	maxName    = 253
	maxLabel   = 63
	maxWritten = 2048
)

// Host is a destination in canonical form: a DNS name (lower case, A-labels,
// no trailing dot) or an address (unmapped, no zone). The zero Host is
// neither, and matches only rules for everything. Hosts compare with ==.
type Host struct {
	name string
	addr netip.Addr
}

// Name is the canonical DNS name, or "" for an address.
func (h Host) Name() string { return h.name }

// Clone is h with a name of its own, for whoever keeps a Host whose name shares
// somebody's buffer.
func (h Host) Clone() Host {
	h.name = strings.Clone(h.name)
	return h
}

// Addr is the address; invalid for a name.
func (h Host) Addr() netip.Addr { return h.addr }

// IsAddr reports whether the host is an address.
func (h Host) IsAddr() bool { return h.addr.IsValid() }

// IsZero reports whether the host is neither name nor address.
func (h Host) IsZero() bool { return h.name == "" && !h.addr.IsValid() }

// String is the name, or the address in its canonical text form.
func (h Host) String() string {
	if h.addr.IsValid() {
		return h.addr.String()
	}
	return h.name
}

// HostFromAddr makes a Host of an address: IPv4-mapped addresses are unmapped
// and zones dropped, so that one destination has one form.
func HostFromAddr(a netip.Addr) Host { return Host{addr: a.Unmap().WithZone("")} }

// HostFromCanonicalName makes a Host of a name that the caller guarantees to
// be canonical already: lower case ASCII, no trailing dot, and every byte that
// is not a printable label byte (a dot or backslash inside a label included)
// written as \DDD. The DNS door builds such names from wire form.
func HostFromCanonicalName(name string) Host { return Host{name: name} }

// MarshalText writes what String gives.
func (h Host) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// nameMapping turns names with characters beyond ASCII into A-labels, as a
// browser does before it asks: UTS #46 with nontransitional processing on the
// way to IDNA2008 (RFC 5891 §5). Underscores and hyphens are left alone, since
// names in use have them anywhere (_sip._tcp, r3---sn-x).
var nameMapping = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
)

// ParseHost reads a destination as people and clients write it, and gives the
// one form in which it is compared. It is an error where s is neither a name
// nor an address, or could be taken for either.
//
// A name may have capital letters, characters beyond ASCII, full-width forms,
// ideographic full stops and one dot at its end. Names in ASCII are taken as
// they are on the wire: their A-labels are not decoded, so that what the DNS
// door sees in a packet and what the proxy door sees in a CONNECT are equal.
//
// An address may be written in every form that some resolver takes for one:
// IPv6 with or without brackets, IPv4-mapped IPv6 (which is the IPv4 address),
// and IPv4 as inet_aton(3) reads it, in one to four parts, decimal, octal or
// hexadecimal. A name whose last label is a number but which is no address is
// refused (WHATWG URL, "ends in a number"). Zones (fe80::1%eth0) are refused:
// what they mean depends on the machine. A port does not belong here.
func ParseHost(s string) (Host, error) {
	if s == "" {
		return Host{}, fmt.Errorf("a host cannot be empty")
	}
	if s[0] == '[' || strings.IndexByte(s, ':') >= 0 {
		return parseIPv6(s)
	}
	if !isASCII(s) {
		mapped, err := mapName(s)
		if err != nil {
			return Host{}, err
		}
		s = mapped
	}
	return parseASCIIHost(s)
}

// mapName gives the ASCII form of a name with other characters.
func mapName(s string) (string, error) {
	if len(s) > maxWritten {
		return "", fmt.Errorf("a name of %d bytes: at most %d characters fit in DNS", len(s), maxName)
	}
	mapped, err := nameMapping.ToASCII(s)
	if err != nil {
		return "", fmt.Errorf("%q is not a name that DNS can carry: %w", s, err)
	}
	if mapped == "" {
		return "", fmt.Errorf("%q is not a name that DNS can carry", s)
	}
	return mapped, nil
}

// parseASCIIHost reads a name or an IPv4 address. A name that is canonical
// already costs one pass and no memory.
func parseASCIIHost(s string) (Host, error) {
	written := s
	s = strings.TrimSuffix(s, ".")
	if len(s) > maxName {
		return Host{}, fmt.Errorf("a name of %d bytes: at most %d fit in DNS", len(s), maxName)
	}
	label, capitals := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.' && i == label:
			return Host{}, fmt.Errorf("%q has an empty label", written)
		case c == '.':
			label = i + 1
		case c >= 'A' && c <= 'Z':
			capitals = true
		case !isLabelByte(c):
			return Host{}, fmt.Errorf("%q is not a name: it has the character %q", written, c)
		}
		if i-label >= maxLabel {
			return Host{}, fmt.Errorf("%q has a label of more than %d characters", written, maxLabel)
		}
	}
	if label == len(s) {
		return Host{}, fmt.Errorf("%q has an empty label", written)
	}
	if isNumber(s[label:]) {
		addr, ok := parseIPv4(s)
		if !ok {
			return Host{}, fmt.Errorf("%q ends in a number but is not an address", written)
		}
		return Host{addr: addr}, nil
	}
	if capitals {
		s = strings.ToLower(s)
	}
	return Host{name: s}, nil
}

// isLabelByte reports whether a name may have c, capitals and dots aside.
func isLabelByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
