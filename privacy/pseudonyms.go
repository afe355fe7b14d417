package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/policy"
)

const (
	usualRotate = 24 * time.Hour

	// periodContext keeps keys of periods apart from whatever else somebody
	// might use the same secret for.
	periodContext = "sallyport pseudonyms of a period, 1\x00"

	// maxKnown bounds the pseudonyms that are remembered of one kind and
	// period; with more people than that some are computed again.
	maxKnown = 1 << 16

	// maxKnownName is the longest name that is remembered. A longer one is an
	// attacker's, and is computed each time.
	maxKnownName = 256
)

// pseudonyms makes pseudonyms and remembers them for the present period and one
// more: near an edge entries of both come mixed, and a tunnel's closing entry
// belongs to the period in which it was opened.
type pseudonyms struct {
	key    *Key
	rotate time.Duration

	mu     sync.Mutex
	recent [2]*period
}

func newPseudonyms(key *Key, rotate time.Duration) *pseudonyms {
	if rotate <= 0 {
		rotate = usualRotate
	}
	return &pseudonyms{key: key, rotate: rotate}
}

// period is the number of the period that an instant is in. It is rounded down
// before 1970 too.
func (p *pseudonyms) period(at time.Time) int64 {
	nanos := at.UnixNano()
	number := nanos / int64(p.rotate)
	if nanos < 0 && nanos%int64(p.rotate) != 0 {
		number--
	}
	return number
}

// client is the pseudonym of an address.
func (p *pseudonyms) client(address netip.Addr, at time.Time) text {
	address = address.Unmap().WithZone("")
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.of(p.period(at))
	if known, ok := of.clients[address]; ok {
		return known
	}
	made := of.make(kindClient, address.AsSlice())
	if len(of.clients) >= maxKnown {
		clear(of.clients)
	}
	of.clients[address] = made
	return made
}

// name is the pseudonym of a user or a device.
func (p *pseudonyms) name(kind byte, name string, at time.Time) text {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.of(p.period(at))
	known, ok := of.names[named{kind, name}]
	if ok {
		return known
	}
	canonical := policy.CanonicalUser(name)
	if kind == kindDevice {
		canonical = policy.CanonicalDevice(name)
	}
	made := of.make(kind, []byte(canonical))
	if len(name) > maxKnownName {
		return made
	}
	if len(of.names) >= maxKnown {
		clear(of.names)
	}
	of.names[named{kind, strings.Clone(name)}] = made // name may be a piece of something large
	return made
}

// of is the period of a number. The older one of two makes room for a third.
func (p *pseudonyms) of(number int64) *period {
	for _, one := range p.recent {
		if one != nil && one.number == number {
			return one
		}
	}
	made := newPeriod(p.periodKey(number), number)
	if p.recent[0] == nil || p.recent[1] != nil && p.recent[0].number < p.recent[1].number {
		p.recent[0] = made
	} else {
		p.recent[1] = made
	}
	return made
}

// periodKey is the key of one period.
func (p *pseudonyms) periodKey(number int64) []byte {
	mac := hmac.New(sha256.New, p.key.secret[:])
	mac.Write([]byte(periodContext))
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(p.rotate))
	binary.BigEndian.PutUint64(b[8:], uint64(number))
	mac.Write(b[:])
	return mac.Sum(nil)
}
