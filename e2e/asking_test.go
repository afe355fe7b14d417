package e2e

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// ask sends one query over UDP. The dig tests look at answers closely; this is
// for probes and for load.
func ask(server, name string, kind dnsmessage.Type, within time.Duration) (*dnsmessage.Message, error) {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	return askOn(conn, 0x5a17, name, kind)
}

func askOn(conn net.Conn, id uint16, name string, kind dnsmessage.Type) (*dnsmessage.Message, error) {
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		var reply dnsmessage.Message
		if err := reply.Unpack(buf[:n]); err != nil {
			return nil, err
		}
		if reply.ID == id {
			return &reply, nil
		}
	}
}

func addressOf(server, name string) ([4]byte, error) {
	reply, err := ask(server, name, dnsmessage.TypeA, 5*time.Second)
	if err != nil {
		return [4]byte{}, err
	}
	for _, record := range reply.Answers {
		if a, ok := record.Body.(*dnsmessage.AResource); ok {
			return a.A, nil
		}
	}
	return [4]byte{}, fmt.Errorf("%s: %v, no address", name, reply.RCode)
}
