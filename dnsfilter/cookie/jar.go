package cookie

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/dchest/siphash"
)

// Sizes of the halves of a COOKIE option, in bytes.
const (
	ClientSize = 8                       // RFC 7873 §4.1
	ServerSize = 16                      // RFC 9018 §4
	Size       = ClientSize + ServerSize // the option's data as Make builds it
)

// Ages of a server cookie (RFC 9018 §4.3), in seconds.
const (
	oldest   = 60 * 60 // older ones are refused
	youngest = -5 * 60 // clocks of servers that share a secret differ by this much at most
)

// version is the only version of server cookies that there is (RFC 9018 §4.1).
const version = 1

// Verdict is what a server cookie is worth.
type Verdict struct {
	Valid bool // made by a holder of the secret, for this client and address, within the hour
}

// Jar makes and checks server cookies. Use New. A Jar does not change and is
// safe for concurrent use; nothing it does allocates.
type Jar struct {
	keys []key // never empty; the first one signs
}

type key struct{ k0, k1 uint64 }

// New makes a Jar. The first secret signs and all of them verify, so that a
// secret can be replaced without a moment at which good cookies are refused:
// add the new one behind the old on every server, then put it first, and take
// the old one away an hour later (RFC 9018 §5). Servers that share an
// address share their secrets. Without a secret a random one is made, which
// lasts as long as the process.
func New(secrets ...[16]byte) *Jar {
	if len(secrets) == 0 {
		var random [16]byte
		rand.Read(random[:]) // never fails: crypto/rand ends the process instead
		secrets = [][16]byte{random}
	}
	jar := &Jar{keys: make([]key, len(secrets))}
	for i, s := range secrets {
		jar.keys[i] = key{binary.LittleEndian.Uint64(s[:8]), binary.LittleEndian.Uint64(s[8:])}
	}
	return jar
}

// Check tells what a server cookie is worth that came with this client cookie
// from addr. An empty, foreign or malformed one is worth nothing; it is no
// reason for an error reply (RFC 7873 §5.2.3 and §5.2.4).
func (j *Jar) Check(client [ClientSize]byte, server []byte, addr netip.Addr, now time.Time) Verdict {
	if len(server) != ServerSize || server[0] != version {
		return Verdict{}
	}
	// Serial number arithmetic (RFC 1982): the 32 bits of the time stamp wrap
	// around in 2106, and a difference does not mind.
	age := int32(uint32(now.Unix()) - binary.BigEndian.Uint32(server[4:8]))
	if age > oldest || age < youngest {
		return Verdict{}
	}
	var in input
	n := in.fill(client, server[:8], addr)
	got := binary.LittleEndian.Uint64(server[8:])
	for _, k := range j.keys {
		// One comparison of two words takes the same time whichever bytes differ.
		if siphash.Hash(k.k0, k.k1, in[:n]) == got {
			return Verdict{Valid: true}
		}
	}
	return Verdict{}
}

// Make gives the data of a COOKIE option for a reply: the client cookie as it
// came, and a server cookie for it and addr that is good for an hour.
func (j *Jar) Make(client [ClientSize]byte, addr netip.Addr, now time.Time) (option [Size]byte) {
	copy(option[:], client[:])
	server := option[ClientSize:]
	server[0] = version // and three reserved bytes, zero
	binary.BigEndian.PutUint32(server[4:8], uint32(now.Unix()))
	var in input
	n := in.fill(client, server[:8], addr)
	k := j.keys[0]
	binary.LittleEndian.PutUint64(server[8:], siphash.Hash(k.k0, k.k1, in[:n]))
	return option
}

// input is what is hashed (RFC 9018 §4.4): client cookie, version, reserved
// bytes and time stamp as they are in the server cookie, client address.
type input [ClientSize + 8 + 16]byte

func (in *input) fill(client [ClientSize]byte, head []byte, addr netip.Addr) int {
	copy(in[:], client[:])
	copy(in[ClientSize:], head)
	// A client of a dual-stack socket is the same client on an IPv4 one.
	if addr = addr.Unmap(); addr.Is4() {
		four := addr.As4()
		return ClientSize + 8 + copy(in[ClientSize+8:], four[:])
	}
	sixteen := addr.As16()
	return ClientSize + 8 + copy(in[ClientSize+8:], sixteen[:])
}
