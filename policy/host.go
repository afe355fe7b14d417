package policy

import "net/netip"

// Host is a destination in canonical form: a DNS name (lower case, A-labels,
// no trailing dot) or an address (unmapped, no zone). The zero Host is
// neither, and matches only rules for everything. Hosts compare with ==.
type Host struct {
	name string
	addr netip.Addr
}

// Name is the canonical DNS name, or "" for an address.
func (h Host) Name() string { return h.name }

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
