package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// roleVariable makes the test binary a process that takes over.
const roleVariable = "SALLYPORT_HANDOVER_TEST_ROLE"

// Where the processes of a test listen, as they are told.
const (
	tcpVariable   = "SALLYPORT_HANDOVER_TEST_TCP"
	udpVariable   = "SALLYPORT_HANDOVER_TEST_UDP"
	aloneVariable = "SALLYPORT_HANDOVER_TEST_ALONE"
)

// playRole is what such a process does; the result is its exit status.
func playRole(role string) int {
	switch role {
	case "die":
		return 3
	case "hang":
		time.Sleep(time.Minute)
		return 0
	}
	s, err := Inherit()
	if err != nil {
		return 4
	}
	defer s.Close()
	switch role {
	case "fail":
		s.Failed(errors.New("the policy is no good"))
		return 1
	case "mumble":
		_ = s.predecessor.tell(word{Word: "perhaps"})
		return 0
	case "reserve":
		err := s.Reserve(context.Background(), &net.ListenConfig{}, os.Getenv(tcpVariable))
		s.Failed(fmt.Errorf("reserved: %w", err))
		return 1
	case "wait":
		return waitRole(s)
	}
	return serveRole(s)
}

// waitRole tells whoever connects what it has for itself, as it gets it.
func waitRole(s *Sockets) int {
	tcp, err := s.Listen(context.Background(), &net.ListenConfig{}, "proxy http", os.Getenv(tcpVariable))
	if err != nil {
		s.Failed(err)
		return 1
	}
	if _, err := s.Settle(); err != nil || s.Ready() != nil {
		return 1
	}
	conn, err := tcp.Accept()
	if err != nil {
		return 1
	}
	for _, what := range []string{"early", "late"} {
		<-s.Left(what)
		fmt.Fprintln(conn, what)
	}
	time.Sleep(time.Minute) // until it is ended
	return 0
}

// serveRole serves with what it inherits: each connection is told whether the
// process before has left, and each datagram is echoed.
func serveRole(s *Sockets) int {
	ctx := context.Background()
	tcp, err := s.Listen(ctx, &net.ListenConfig{}, "proxy http", os.Getenv(tcpVariable))
	if err != nil {
		s.Failed(err)
		return 1
	}
	udp, inherited, err := s.ListenPackets(ctx, &net.ListenConfig{}, "dns udp", "udp", os.Getenv(udpVariable))
	if err != nil || !inherited {
		s.Failed(fmt.Errorf("udp, inherited %v: %w", inherited, err))
		return 1
	}
	alone, err := s.ListenAlone(ctx, &net.ListenConfig{}, "dns quic", os.Getenv(aloneVariable))
	if err != nil {
		s.Failed(err)
		return 1
	}
	unused, err := s.Settle()
	if err != nil {
		s.Failed(err)
		return 1
	}
	for _, packets := range append(udp, alone) {
		go echoPackets(packets)
	}
	if err := s.Ready(); err != nil {
		return 1
	}
	for {
		conn, err := tcp.Accept()
		if err != nil {
			return 0
		}
		left := false
		select {
		case <-s.Left(socketsAlone):
			left = true
		default:
		}
		succeeded, failed := s.Upgrades()
		fmt.Fprintf(conn, "sockets %d, before %d, left %v, upgrades %d and %d, unused %d\n", len(udp), s.Predecessor(), left, succeeded, failed, len(unused))
		_ = conn.Close()
	}
}

func echoPackets(conn net.PacketConn) {
	var b [512]byte
	for {
		n, from, err := conn.ReadFrom(b[:])
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(b[:n], from)
	}
}
