package main

import (
	"fmt"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// stubTTL is how long the stub's answers hold, in seconds.
const stubTTL = 300

// upstream is a DNS server that knows a handful of names. All of them lead to
// the stage's origin, some of them by a CNAME.
type upstream struct {
	socket  net.PacketConn
	aliases map[string]string // name to the name it is an alias of
	names   map[string]bool   // names that have an address
	serving sync.WaitGroup
}

// openUpstream binds a free port on loopback and answers until close.
func openUpstream(names []string, aliases map[string]string) (*upstream, error) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the stub DNS server: %w", err)
	}
	u := &upstream{socket: socket, aliases: aliases, names: map[string]bool{}}
	for _, name := range names {
		u.names[name] = true
	}
	u.serving.Go(u.serve)
	return u, nil
}

func (u *upstream) address() string { return u.socket.LocalAddr().String() }

func (u *upstream) close() error {
	err := u.socket.Close()
	u.serving.Wait()
	return err
}

func (u *upstream) serve() {
	packet := make([]byte, 4096)
	for {
		n, client, err := u.socket.ReadFrom(packet)
		if err != nil {
			return // closed
		}
		if reply, err := u.answer(packet[:n]); err == nil {
			_, _ = u.socket.WriteTo(reply, client) // UDP: the gateway asks again
		}
	}
}

// answer follows aliases to the end, as a resolver does.
func (u *upstream) answer(packet []byte) ([]byte, error) {
	var query dnsmessage.Message
	if err := query.Unpack(packet); err != nil || len(query.Questions) != 1 {
		return nil, fmt.Errorf("not a query: %w", err)
	}
	question := query.Questions[0]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionDesired: query.RecursionDesired, RecursionAvailable: true},
		Questions: query.Questions,
	}
	name := strings.ToLower(strings.TrimSuffix(question.Name.String(), "."))
	owner := question.Name
	for target, ok := u.aliases[name]; ok; target, ok = u.aliases[name] {
		cname := dnsmessage.MustNewName(target + ".")
		reply.Answers = append(reply.Answers, resource(owner, dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: cname}))
		name, owner = target, cname
	}
	switch {
	case u.names[name] && question.Type == dnsmessage.TypeA:
		reply.Answers = append(reply.Answers, resource(owner, dnsmessage.TypeA, &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}))
	case u.names[name]:
		reply.Authorities = []dnsmessage.Resource{authority()}
	default:
		reply.RCode = dnsmessage.RCodeNameError
		reply.Authorities = []dnsmessage.Resource{authority()}
	}
	return reply.Pack()
}

func resource(owner dnsmessage.Name, kind dnsmessage.Type, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: owner, Type: kind, Class: dnsmessage.ClassINET, TTL: stubTTL},
		Body:   body,
	}
}

// authority lets a "nothing here" be cached (RFC 2308 §5).
func authority() dnsmessage.Resource {
	root := dnsmessage.MustNewName(".")
	return resource(root, dnsmessage.TypeSOA, &dnsmessage.SOAResource{
		NS: root, MBox: root, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, MinTTL: 60,
	})
}
