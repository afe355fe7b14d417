package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/netip"
)

// What a pseudonym stands for, by which it begins.
const (
	kindClient = 'c'
	kindUser   = 'u'
	kindDevice = 'd'
)

// tagSize is how many bytes of the hash a pseudonym shows: with 100,000 people
// two of them share one in a period once in four thousand million periods.
const tagSize = 8

// text is a pseudonym: kind, hyphen, digits.
type text [2 + 2*tagSize]byte

// named is a user or a device.
type named struct {
	kind byte
	name string
}

// period makes the pseudonyms of one period. It is the pseudonyms' own, who
// hold a lock over it.
type period struct {
	number  int64
	mac     hash.Hash // keyed for this period
	sum     [sha256.Size]byte
	clients map[netip.Addr]text
	names   map[named]text
}

func newPeriod(key []byte, number int64) *period {
	return &period{
		number:  number,
		mac:     hmac.New(sha256.New, key),
		clients: map[netip.Addr]text{},
		names:   map[named]text{},
	}
}

// make computes a pseudonym. The kind is hashed too, so that a user who is
// called like a device shares no digits with it.
func (p *period) make(kind byte, of []byte) text {
	p.mac.Reset()
	p.mac.Write([]byte{kind})
	p.mac.Write(of)
	sum := p.mac.Sum(p.sum[:0])
	made := text{kind, '-'}
	hex.Encode(made[2:], sum[:tagSize])
	return made
}
