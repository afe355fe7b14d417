package dnsfilter

import (
	"net/netip"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// localhostTTL is for answers about localhost, which never change.
const localhostTTL = 24 * 60 * 60

// localhost answers for localhost and the names under it, which never leave
// the machine (RFC 6761 §6.3); nil for every other name.
func localhost(key lookupKey, now time.Time) *entry {
	const suffix = "\x09localhost\x00"
	if !strings.HasSuffix(key.name, suffix) || !onLabel(key.name, len(key.name)-len(suffix)) {
		return nil
	}
	q := question{wire: key.name, qtype: key.qtype}
	q.section = append([]byte(key.name), byte(key.qtype>>8), byte(key.qtype), 0, byte(classIN))
	msg := startReply(nil, &q, rcodeNoError)
	e := &entry{stored: now}
	for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		if wants(key.qtype, a) {
			msg = appendAddress(msg, a, localhostTTL)
			e.addrs = append(e.addrs, a)
			e.facts = append(e.facts, policy.HostFromAddr(a))
		}
	}
	if len(e.addrs) == 0 {
		msg = appendSOA(msg, localhostTTL)
	}
	e.wire = msg
	// What was just written can be read: there is no error to expect.
	e.ttls, _ = findTTLs(msg)
	e.lifetime = localhostTTL * time.Second
	return e
}

// onLabel reports whether a label of a wire name starts at offset at.
func onLabel(name string, at int) bool {
	off := 0
	for off < at {
		off += 1 + int(name[off])
	}
	return off == at
}
