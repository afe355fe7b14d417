package upstream

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// likeness says how far a packet is the response to a query.
type likeness uint8

const (
	stray     likeness = iota // the response to something else, or none
	otherCase                 // the same question in other letters
	ours
)

// compare reports whether a packet, whose id is right, is the response to q
// that was asked with name: direction, opcode and question. A bare error
// header without a question, which old servers send when they do not
// understand, is one too; unpack refuses it.
func compare(packet []byte, q Query, name []byte) likeness {
	if len(packet) < dnswire.HeaderBytes {
		return stray
	}
	flags := binary.BigEndian.Uint16(packet[2:])
	if flags&dnswire.FlagQR == 0 || flags&dnswire.MaskOpcode != 0 {
		return stray
	}
	questions := binary.BigEndian.Uint16(packet[4:])
	if questions == 0 {
		code := int(flags & dnswire.MaskRcode)
		if code == dnswire.RcodeNoError || code == dnswire.RcodeNXDomain {
			return stray
		}
		return ours
	}
	end := dnswire.HeaderBytes + len(name)
	if questions != 1 || len(packet) < end+4 ||
		binary.BigEndian.Uint16(packet[end:]) != q.Type ||
		binary.BigEndian.Uint16(packet[end+2:]) != dnswire.ClassIN {
		return stray
	}
	answered := packet[dnswire.HeaderBytes:end]
	switch {
	case string(answered) == string(name):
		return ours
	case !dnswire.SameName(answered, q.Name):
		return stray
	case string(name) == q.Name: // letters were not mixed: they prove nothing
		return ours
	default:
		return otherCase
	}
}

func truncated(packet []byte) bool {
	return binary.BigEndian.Uint16(packet[2:])&dnswire.FlagTC != 0
}

// unpack reads a response that compare found to be q's, and puts the question
// into lower case on the way: packet is changed. Only NOERROR and NXDOMAIN are
// answers: every other code means that this upstream could not or would not
// say.
func unpack(packet []byte, q Query) (*dns.Msg, error) {
	if binary.BigEndian.Uint16(packet[4:]) == 1 {
		copy(packet[dnswire.HeaderBytes:], q.Name) // what is compressed follows
	}
	response := new(dns.Msg)
	if err := response.Unpack(packet); err != nil {
		return nil, garbled("an upstream resolver sent a malformed answer", err)
	}
	// The library reads as many records as there are, whatever the header says.
	if response.Truncated || len(response.Answer) != count(packet, 6) || len(response.Ns) != count(packet, 8) {
		return nil, garbled("an upstream resolver sent half an answer", nil)
	}
	if response.Rcode != dnswire.RcodeNoError && response.Rcode != dnswire.RcodeNXDomain {
		return nil, refusedWith(response)
	}
	if len(response.Question) != 1 {
		return nil, garbled("an upstream resolver sent an answer without its question", nil)
	}
	asked := response.Question[0].Name
	for _, record := range response.Answer {
		if h := record.Header(); h.Name != asked && strings.EqualFold(h.Name, asked) {
			h.Name = asked
		}
	}
	return response, nil
}

func count(packet []byte, at int) int { return int(binary.BigEndian.Uint16(packet[at:])) }

// keepaliveIn is how long a server lets a connection idle (RFC 7828 §3.1).
func keepaliveIn(response *dns.Msg) (idle time.Duration, said bool) {
	opt := response.IsEdns0()
	if opt == nil {
		return 0, false
	}
	for _, o := range opt.Option {
		if k, ok := o.(*dns.EDNS0_TCP_KEEPALIVE); ok {
			return time.Duration(k.Timeout) * 100 * time.Millisecond, true
		}
	}
	return 0, false
}
