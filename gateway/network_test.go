package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// connectThrough sends a CONNECT from a client address ("" for any).
func connectThrough(proxy, from, target string) (net.Conn, *http.Response, error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial("tcp", proxy)
	if err != nil {
		return nil, nil, err
	}
	response, err := sendConnect(conn, target, "")
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, response, nil
}

// sendConnect sends a CONNECT with more header lines, and reads the answer's
// head. Nothing of a tunnel is read ahead, since no server here speaks first.
func sendConnect(conn net.Conn, target, header string) (*http.Response, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, target, header); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
}

// queryA asks for the IPv4 addresses of a name over UDP.
func queryA(server, name string) (addrs []netip.Addr, ttl uint32, err error) {
	return queryFrom(server, "", name)
}

// queryFrom is queryA from a client address ("" for any).
func queryFrom(server, from, name string) (addrs []netip.Addr, ttl uint32, err error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial("udp", server)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	return queryOn(conn, 7, name)
}

// queryOn asks on a connection that is there, and wants its own answer.
func queryOn(conn net.Conn, id uint16, name string) (addrs []netip.Addr, ttl uint32, err error) {
	question := dnsmessage.Question{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	query := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{question}}
	packed, err := query.Pack()
	if err != nil {
		return nil, 0, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, 0, err
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, 0, err
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		return nil, 0, err
	}
	var reply dnsmessage.Message
	if err := reply.Unpack(buf[:n]); err != nil {
		return nil, 0, err
	}
	if reply.ID != id || reply.RCode != dnsmessage.RCodeSuccess {
		return nil, 0, fmt.Errorf("%s: id %d, rcode %v", name, reply.ID, reply.RCode)
	}
	for _, answer := range reply.Answers {
		ttl = answer.Header.TTL
		if a, ok := answer.Body.(*dnsmessage.AResource); ok {
			addrs = append(addrs, netip.AddrFrom4(a.A))
		}
	}
	return addrs, ttl, nil
}

// stubUpstream answers every A question with 127.0.0.1 and a TTL of an hour,
// and every other with nothing. Names that begin with vanity are aliases of one
// of Zoom's, and the HTTPS record of those that begin with service leads there.
func stubUpstream(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = conn.Close()
		serving.Wait()
	})
	serving.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := stubReply(buf[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from) // a client that has gone asks no more
			}
		}
	})
	return conn.LocalAddr().String()
}

// typeHTTPS is the record type of RFC 9460 §9.
const typeHTTPS = dnsmessage.Type(65)

func stubReply(packet []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.RecursionAvailable = true, true
	m.Additionals = nil
	q := m.Questions[0]
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 3600}
	const led = "us04web.zoom.us."
	name := strings.ToLower(q.Name.String()) // whoever asks may mix letters
	if strings.HasPrefix(name, "vanity.") {
		alias := header
		alias.Type = dnsmessage.TypeCNAME
		header.Name = dnsmessage.MustNewName(led)
		m.Answers = []dnsmessage.Resource{{Header: alias, Body: &dnsmessage.CNAMEResource{CNAME: header.Name}}}
	}
	switch {
	case q.Type == typeHTTPS && strings.HasPrefix(name, "service."):
		header.Type = typeHTTPS
		record := append([]byte{0, 1}, "\x07us04web\x04zoom\x02us\x00"...) // RFC 9460 §2.2: priority, target
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.UnknownResource{Type: typeHTTPS, Data: record}}}
	case q.Type == dnsmessage.TypeA:
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}})
	default:
		header.Type = dnsmessage.TypeSOA
		m.Authorities = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.SOAResource{
			NS: q.Name, MBox: q.Name, Refresh: 3600, Retry: 600, Expire: 86400, MinTTL: 3600,
		}}}
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// echoServer sends back what it is sent. It returns its port.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			serving.Go(func() {
				_, _ = io.Copy(c, c) // ends when either side does
				_ = c.Close()
			})
		}
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// echo sends one byte through a tunnel and wants it back.
func echo(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{'x'}); err != nil {
		return err
	}
	var b [1]byte
	_, err := io.ReadFull(conn, b[:])
	return err
}

// closedSoon waits for a tunnel to be closed by the proxy.
func closedSoon(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var b [64]byte
	for {
		_, err := conn.Read(b[:])
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return errors.New("the tunnel is still open")
		case err != nil:
			return nil
		}
	}
}
