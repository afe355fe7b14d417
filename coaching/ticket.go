package coaching

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// Bounds of a ticket, and of the token that it becomes.
const (
	ticketVersion = 1
	maxUser       = 255 // bytes
	maxName       = 128 // of a rule and of an app: more than the policy language takes
	maxHost       = 255
	maxDecision   = 64
	tagSize       = 16 // bytes: 128 bits of the HMAC, as RFC 2104 §5 allows

	// MaxToken bounds the length of a token: a longer one is none of ours.
	MaxToken = 1536
)

// ticketContext stands before what is signed, so that a key that is used for
// something else as well cannot be made to sign a ticket.
const ticketContext = "sallyport coaching ticket 1\x00"

// ErrTicket says that a token is not one that this key has signed: it was cut
// short or changed on its way, or another gateway made it.
var ErrTicket = errors.New("the link is damaged, or another gateway made it")

// ErrExpired says that a ticket's time is over.
var ErrExpired = errors.New("the link has expired")

// errTicketSize says that a ticket does not fit a token.
var errTicketSize = errors.New("the ticket holds more than a link can carry")

// Ticket is a warning that somebody may continue past: everything that is
// needed to ask the policy again.
type Ticket struct {
	User     string      // who was warned; empty where only the address is known
	Client   netip.Addr  // from where
	Rule     string      // by which rule
	App      string      // of which app; empty where the destination is no app's
	Door     policy.Door // where
	Host     policy.Host // what was asked for
	Port     uint16      // 0 where the door sees none
	Fact     policy.Host // what Host leads to, where that is what decided; zero: Host itself
	Decision string      // id of the refusal in the decision log; empty where there is none
	Issued   time.Time   // to the second
	Expires  time.Time   // to the second; exclusive
}

// IsFor reports whether a client may use the ticket: one at the address that
// was warned, or the user that was.
func (t *Ticket) IsFor(client netip.Addr, user string) bool {
	return client.IsValid() && client == t.Client || user != "" && user == t.User
}

// Seal signs a ticket and makes a token of it: letters, digits, hyphens and
// underscores. It fails for a ticket that is longer than any real one.
func (k *Key) Seal(t *Ticket) (token string, err error) {
	texts := t.texts()
	for i, text := range texts {
		if len(*text) > textLimits[i] {
			return "", errTicketSize
		}
	}
	b := make([]byte, 0, 256)
	b = append(b, ticketVersion, byte(t.Door))
	b = binary.BigEndian.AppendUint16(b, t.Port)
	b = binary.AppendVarint(b, t.Issued.Unix())
	b = binary.AppendVarint(b, t.Expires.Unix())
	client := t.Client.AsSlice()
	b = append(append(b, byte(len(client))), client...)
	for _, text := range texts {
		b = append(append(b, byte(len(*text))), *text...)
	}
	for _, host := range []policy.Host{t.Host, t.Fact} {
		text := ""
		if !host.IsZero() {
			text = host.String()
		}
		if len(text) > maxHost {
			return "", errTicketSize
		}
		b = append(append(b, byte(len(text))), text...)
	}
	b = append(b, k.tag(b)...)
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// texts are the ticket's texts in the order in which they are signed.
func (t *Ticket) texts() [4]*string {
	return [4]*string{&t.User, &t.Rule, &t.App, &t.Decision}
}

// textLimits are the bounds of texts, in the same order. Each fits a byte.
var textLimits = [4]int{maxUser, maxName, maxName, maxDecision}

// Open gives the ticket that a token stands for. The error is [ErrTicket], or
// [ErrExpired] together with the ticket.
func (k *Key) Open(token string, now time.Time) (*Ticket, error) {
	if len(token) > MaxToken {
		return nil, ErrTicket
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < tagSize {
		return nil, ErrTicket
	}
	b, tag := b[:len(b)-tagSize], b[len(b)-tagSize:]
	if subtle.ConstantTimeCompare(k.tag(b), tag) != 1 {
		return nil, ErrTicket
	}
	t, ok := parseTicket(b)
	if !ok {
		return nil, ErrTicket
	}
	if !now.Before(t.Expires) {
		return t, ErrExpired
	}
	return t, nil
}

// tag is what the key says to a ticket's bytes.
func (k *Key) tag(b []byte) []byte {
	mac := hmac.New(sha256.New, k.secret[:])
	mac.Write([]byte(ticketContext))
	mac.Write(b)
	return mac.Sum(nil)[:tagSize]
}

// parseTicket reads what Seal wrote. The bytes are signed: what does not fit
// comes from another version.
func parseTicket(b []byte) (*Ticket, bool) {
	r := reader{rest: b}
	if r.byte() != ticketVersion {
		return nil, false
	}
	t := &Ticket{Door: policy.Door(r.byte())}
	t.Port = binary.BigEndian.Uint16(r.take(2))
	t.Issued, t.Expires = r.instant(), r.instant()
	if client := r.text(); client != "" {
		addr, ok := netip.AddrFromSlice([]byte(client))
		r.short = r.short || !ok
		t.Client = addr
	}
	for _, text := range t.texts() {
		*text = r.text()
	}
	for _, host := range []*policy.Host{&t.Host, &t.Fact} {
		text := r.text()
		if text == "" {
			continue
		}
		h, err := policy.ParseHost(text)
		r.short = r.short || err != nil
		*host = h
	}
	return t, !r.short && len(r.rest) == 0
}

// reader takes a ticket apart. Once something is missing everything reads as
// nothing.
type reader struct {
	rest  []byte
	short bool
}

// take gives the next n bytes; zeros where there are fewer.
func (r *reader) take(n int) []byte {
	if r.short || len(r.rest) < n {
		r.short = true
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) text() string { return string(r.take(int(r.byte()))) }

func (r *reader) instant() time.Time {
	seconds, n := binary.Varint(r.rest)
	if n <= 0 {
		r.short = true
		return time.Time{}
	}
	r.take(n)
	return time.Unix(seconds, 0)
}
