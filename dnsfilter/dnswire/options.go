package dnswire

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// ExtendedError says why an answer is what it is (RFC 8914 §2). The zero value
// says nothing.
type ExtendedError struct {
	Set  bool
	Code uint16
	Text string // EXTRA-TEXT: one line of at most MaxExtraText bytes
}

// Extended makes an ExtendedError whose text is one line of valid UTF-8 (RFC
// 8914 §2), cut between characters. It does not allocate for text that is that
// already.
func Extended(code uint16, text string) ExtendedError {
	if len(text) > MaxExtraText || !printable(text) {
		text = oneLine(text)
	}
	return ExtendedError{Set: true, Code: code, Text: text}
}

// printable reports whether text is of printable ASCII, as it nearly always is.
func printable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func oneLine(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, text)
	if len(text) <= MaxExtraText {
		return text
	}
	cut := MaxExtraText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// ReplyOptions is what goes into a reply's OPT record. The zero value is no
// option at all.
type ReplyOptions struct {
	Error     [2]ExtendedError // the second where two things are to be said
	HasCookie bool
	Cookie    [24]byte      // client cookie and server cookie (RFC 9018 §3)
	Keepalive time.Duration // idle timeout of the connection; 0: not said
	Subnet    netip.Prefix  // the client subnet that the answer was made for, said with a scope as long; invalid: none
	Pad       bool          // to the next multiple of padBlock (RFC 8467 §4.1)
}

const (
	optFixedBytes = 11  // owner, type, class, TTL and length of an OPT record
	optionHead    = 4   // code and length of an option
	padBlock      = 468 // RFC 8467 §4.1
)

// dropText takes EXTRA-TEXT out, which is the first to go where space is short.
func (o *ReplyOptions) dropText() { o.Error[0].Text, o.Error[1].Text = "", "" }

// size is how many bytes the options take, padding apart.
func (o *ReplyOptions) size() int {
	n := 0
	for i := range o.Error {
		if o.Error[i].Set {
			n += optionHead + 2 + len(o.Error[i].Text)
		}
	}
	if o.HasCookie {
		n += optionHead + len(o.Cookie)
	}
	if o.Keepalive > 0 {
		n += optionHead + 2
	}
	if o.Subnet.IsValid() {
		n += optionHead + 4 + (o.Subnet.Bits()+7)/8
	}
	return n
}

// appendOPT appends an OPT record with the upper bits of rcode and options. A
// padded message does not grow beyond limit.
func appendOPT(msg []byte, do bool, rcode int, o *ReplyOptions, limit int) []byte {
	msg = append(msg, 0) // owner: the root
	msg = binary.BigEndian.AppendUint16(msg, TypeOPT)
	msg = binary.BigEndian.AppendUint16(msg, UDPPayload)
	ttl := uint32(rcode>>4) << 24
	if do {
		ttl |= flagDO
	}
	msg = binary.BigEndian.AppendUint32(msg, ttl)
	length := len(msg)
	msg = append(msg, 0, 0)
	for i := range o.Error {
		if e := &o.Error[i]; e.Set {
			msg = appendOption(msg, OptionEDE, 2+len(e.Text))
			msg = binary.BigEndian.AppendUint16(msg, e.Code)
			msg = append(msg, e.Text...)
		}
	}
	if o.HasCookie {
		msg = append(appendOption(msg, OptionCookie, len(o.Cookie)), o.Cookie[:]...)
	}
	if o.Keepalive > 0 {
		units := min(o.Keepalive/(100*time.Millisecond), 0xFFFF) // RFC 7828 §3.1
		msg = binary.BigEndian.AppendUint16(appendOption(msg, OptionKeepalive, 2), uint16(units))
	}
	if o.Subnet.IsValid() {
		msg = appendSubnet(msg, o.Subnet)
	}
	if o.Pad {
		msg = appendPadding(msg, limit)
	}
	binary.BigEndian.PutUint16(msg[length:], uint16(len(msg)-length-2))
	return msg
}

func appendOption(msg []byte, code uint16, length int) []byte {
	msg = binary.BigEndian.AppendUint16(msg, code)
	return binary.BigEndian.AppendUint16(msg, uint16(length))
}

// appendSubnet says that the answer is for this subnet and no wider one.
func appendSubnet(msg []byte, p netip.Prefix) []byte {
	whole := (p.Bits() + 7) / 8
	msg = appendOption(msg, OptionSubnet, 4+whole)
	family := uint16(2)
	if p.Addr().Is4() {
		family = 1
	}
	msg = binary.BigEndian.AppendUint16(msg, family)
	msg = append(msg, byte(p.Bits()), byte(p.Bits()))
	if p.Addr().Is4() {
		bytes := p.Addr().As4()
		return append(msg, bytes[:whole]...)
	}
	bytes := p.Addr().As16()
	return append(msg, bytes[:whole]...)
}

func appendPadding(msg []byte, limit int) []byte {
	with := len(msg) + optionHead
	padding := min((padBlock-with%padBlock)%padBlock, limit-with)
	if padding < 0 {
		return msg
	}
	msg = appendOption(msg, OptionPadding, padding)
	for range padding {
		msg = append(msg, 0)
	}
	return msg
}
