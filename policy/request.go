package policy

import (
	"net/netip"
	"time"
)

// Identity is what is known of the client that asks. It is plain data, made
// by package identity or by a tool; [Engine.Subject] turns it into a Subject.
type Identity struct {
	Addr      netip.Addr // the client's address, unmapped; invalid where there is none
	User      string     // user name, lower case; empty where nobody has signed in
	Groups    []string   // names of policy groups asserted by a tool (explain, tests)
	Directory []string   // group names from a directory, matched by a group's directory list
	Devices   []string   // device identities: MAC, DNS client id, certificate name; lower case
	Source    string     // which identity source named the client: network, basic, address, none
}

// Subject is an Identity resolved against one Program: the rules whose who it
// satisfies are already known. The zero Subject is an unknown client, which
// only rules for everyone match. A Subject may outlive its Program: Decide
// resolves it again when the policy has changed, and a kept Subject does not keep
// the old Program alive. It is a small value, safe to
// copy, and its slices must not be changed.
type Subject struct {
	Identity
	program *programID // that resolved it; nil where none did
	who     *whoSet
}

// Protocol is the transport protocol that a port belongs to.
type Protocol uint8

// The protocols that a rule's ports can name.
const (
	ProtocolTCP Protocol = 0
	ProtocolUDP Protocol = 1
)

// String is the protocol's name in policies.
func (p Protocol) String() string {
	if p == ProtocolUDP {
		return "udp"
	}
	return "tcp"
}

// Request is one question to the policy: may this subject, at this door and
// time, reach this host?
//
// Host is what the request is for: the query name, or the CONNECT host.
// Derived holds what the owner of that name chose (CNAME and HTTPS/SVCB
// targets, resolved addresses): judged together with Host, and the earliest
// rule that matches any of them decides. Claimed holds what else the client
// says of the destination (TLS SNI, Host header): each is judged alone, and
// the strictest verdict holds.
type Request struct {
	Subject  Subject
	Door     Door
	At       time.Time
	Protocol Protocol
	Port     uint16 // 0 where the door cannot see a port
	Host     Host
	Derived  []Host
	Claimed  []Host
}

// Decider answers requests. *Engine and *Program are Deciders; both doors
// depend on this one method and on nothing else of the policy's machinery.
// Implementations are safe for concurrent use.
type Decider interface {
	Decide(*Request) Verdict
}
