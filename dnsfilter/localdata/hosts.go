package localdata

import (
	"bytes"
	"net/netip"
	"slices"
)

// hosts is what one hosts file says, by lower-case wire name. A million
// entries are held in about a hundred bytes each. Immutable once built.
type hosts struct {
	names    map[string]uint32 // to its first entry
	entries  []hostEntry
	pointers []pointer           // by address
	above    map[string]struct{} // names in zones of ours that have hosts below them
}

// hostEntry is one address of a name, in the order of the file.
type hostEntry struct {
	addr [16]byte // IPv4 in mapped form
	next uint32   // entry of the same name; 0 ends: the first entry has none before it
}

// pointer is the name that an address is shown as.
type pointer struct {
	addr [16]byte
	name string // lower wire
}

// add appends an address to a name; false where the name has too many.
func (h *hosts) add(name string, a netip.Addr) bool {
	at, known := h.names[name]
	addr := a.As16()
	if !known {
		h.names[name] = uint32(len(h.entries))
		h.entries = append(h.entries, hostEntry{addr: addr})
		return true
	}
	for count := 1; ; count++ {
		e := &h.entries[at]
		switch {
		case e.addr == addr:
			return true
		case e.next != 0:
			at = e.next
		case count == maxAddrs:
			return false
		default:
			e.next = uint32(len(h.entries))
			h.entries = append(h.entries, hostEntry{addr: addr})
			return true
		}
	}
}

// addrs appends the addresses of a name, unmapped.
func (h *hosts) addrs(dst []netip.Addr, name string) []netip.Addr {
	at, ok := h.names[name]
	for ok {
		e := h.entries[at]
		dst = append(dst, netip.AddrFrom16(e.addr).Unmap())
		at, ok = e.next, e.next != 0
	}
	return dst
}

// addPointer notes what an address is shown as. Addresses that mean this
// machine, or nothing, are shown as nobody's.
func (h *hosts) addPointer(name string, a netip.Addr) {
	if !a.IsLoopback() && !a.IsUnspecified() {
		h.pointers = append(h.pointers, pointer{addr: a.As16(), name: name})
	}
}

// finish sorts pointers, keeping the first of each address, and notes which
// names in zones of ours exist because of what is below them.
func (h *hosts) finish(t *tree) {
	slices.SortStableFunc(h.pointers, comparePointers)
	h.pointers = slices.Clip(slices.CompactFunc(h.pointers, func(a, b pointer) bool { return a.addr == b.addr }))
	h.entries = slices.Clip(h.entries)
	h.above = make(map[string]struct{})
	for name := range h.names {
		z := t.find(name).zone
		if z == nil {
			continue
		}
		for up := parent(name); len(up) >= len(z.name); up = parent(up) {
			if _, known := h.above[up]; known {
				break
			}
			h.above[up] = struct{}{}
		}
	}
}

func comparePointers(a, b pointer) int { return bytes.Compare(a.addr[:], b.addr[:]) }

// pointer returns the name of an address, and whether any address of the block
// has one.
func (h *hosts) pointer(base [16]byte, bits int) (name string, some bool) {
	at, exact := slices.BinarySearchFunc(h.pointers, pointer{addr: base}, comparePointers)
	if at == len(h.pointers) || !covers(base, bits, h.pointers[at].addr) {
		return "", false
	}
	if exact && bits == 128 {
		name = h.pointers[at].name
	}
	return name, true
}
