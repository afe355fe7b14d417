package dnsfilter

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/policy"
)

// entry is an upstream's answer, made ready: what was kept of it in wire form
// and the facts that the second look judges. Everybody who asked the same
// shares it. What a client can see of it never changes; the rest is marked.
type entry struct {
	place // in the cache

	whole    form
	stored   time.Time
	lifetime time.Duration // how long it may be used again; 0: not at all
	rcode    int
	ad       bool          // the upstream validated it, and is believed
	err      error         // what went wrong, where this remembers a failure; then there is no answer
	facts    []policy.Host // what the owner of the name chose: names, then addresses
	addrs    []netip.Addr  // of A and AAAA records
	stripped *[formCount]form

	renewing atomic.Bool                  // a flight to renew it has been started
	retryAt  atomic.Int64                 // until then it is given stale without asking again; Unix nanoseconds
	prepared atomic.Pointer[policy.Facts] // facts made ready for the policy that was last in force
}

// form is an answer in wire form: whole reply, id 0, question in lower case, no
// OPT.
type form struct {
	wire []byte
	ttls []uint16 // where in wire the records' TTLs are

	stripped bool // something was taken out of it, so that it is not what was validated
}

// The forms of an answer: as it came, and without what would hide the name
// from the proxy door. Where there is nothing to strip there is but the whole.
const (
	formWhole   = 0
	formNoECH   = 1
	formNoH3    = 2
	formCount   = 4
	ageOfFuture = math.MaxInt64 / 2 // of what is stored in the future: a clock was set back
)

// age is how long ago the answer came: no time at all for one that came since
// the reader looked at the clock. One from the future is too old for everything.
func (e *entry) age(now time.Time) time.Duration {
	age := now.Sub(e.stored)
	if age <= -time.Second {
		return ageOfFuture
	}
	return max(age, 0)
}

// patience is how long past its lifetime an answer may still be given, where
// answers may for stale: a failure may not.
func (e *entry) patience(stale time.Duration) time.Duration {
	if e.err != nil {
		return 0
	}
	return stale
}

// failure remembers that a lookup went wrong (RFC 9520).
func failure(err error, now time.Time) *entry {
	return &entry{err: err, stored: now, lifetime: failureTTL}
}

// form returns one of the answer's forms.
func (e *entry) form(which int) *form {
	if which == formWhole || e.stripped == nil {
		return &e.whole
	}
	return &e.stripped[which]
}

// size is the memory that an answer holds, in bytes.
func (e *entry) size() int64 {
	bytes := len(e.whole.wire) + 2*len(e.whole.ttls) + 48*len(e.facts) + 24*len(e.addrs)
	if e.stripped != nil {
		for _, f := range e.stripped {
			bytes += len(f.wire) + 2*len(f.ttls) + 48
		}
	}
	for _, f := range e.facts {
		bytes += len(f.Name())
	}
	return int64(bytes)
}

// settle gives the entry its key, in one piece of memory with the answer that
// is read right after it.
func (e *entry) settle(key string) {
	memory := make([]byte, len(key)+len(e.whole.wire))
	copy(memory[copy(memory, key):], e.whole.wire)
	e.key = unsafe.String(unsafe.SliceData(memory), len(key)) // nothing writes to it again
	e.whole.wire = memory[len(key):]
}

// start writes a form of the answer as the reply to q, its OPT record apart,
// with TTLs that are age seconds shorter, and none longer than limit. A stale
// answer's are at most staleTTL.
func (e *entry) start(dst []byte, q *dnswire.Question, which int, age, limit uint32) []byte {
	f := e.form(which)
	msg := append(dst[:0], f.wire...)
	binary.BigEndian.PutUint16(msg, q.ID)
	flags := dnswire.ReplyFlags(q, e.rcode)
	if e.ad && !f.stripped && (q.Flags&dnswire.FlagAD != 0 || q.EDNS.DO) {
		flags |= dnswire.FlagAD
	}
	binary.BigEndian.PutUint16(msg[2:], flags)
	copy(msg[dnswire.HeaderBytes:], q.Section) // same name, the client's letter case
	for _, off := range f.ttls {
		field := msg[off : off+4]
		ttl := binary.BigEndian.Uint32(field)
		binary.BigEndian.PutUint32(field, min(ttl-min(ttl, age), limit))
	}
	return msg
}
