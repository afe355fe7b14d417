package ingress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// dialQUIC opens a connection from a socket of its own. Both are closed with the
// test, and by then nobody reads it any more.
func dialQUIC(ctx context.Context, t testing.TB, address string, config *tls.Config) (*quic.Conn, error) {
	t.Helper()
	socket, err := net.ListenPacket("udp4", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	t.Cleanup(func() {
		_ = transport.Close()
		_ = socket.Close()
	})
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address))
	conn, err := transport.Dial(ctx, to, config, nil)
	if err == nil {
		t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	}
	return conn, err
}

// tryDoQ opens a connection and asks one query, which shows whether the server
// has taken the client's certificate.
func (s *setServer) tryDoQ(t testing.TB, certificate *tls.Certificate) (*quic.Conn, error) {
	t.Helper()
	config := s.tls("doq")
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := dialQUIC(ctx, t, s.address(t, "dns quic"), config)
	if err != nil {
		return nil, err
	}
	_, err = askDoQ(t, conn, framesOf(packQuestion(t, 0, "now.example")))
	return conn, err
}

func (s *setServer) dialDoQ(t testing.TB, certificate *tls.Certificate) *quic.Conn {
	t.Helper()
	conn, err := s.tryDoQ(t, certificate)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// askDoQ sends bytes on a stream of its own, ends it, and reads one reply.
func askDoQ(t testing.TB, conn *quic.Conn, b []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := stream.Write(b); err != nil {
		return nil, err
	}
	if err := stream.Close(); err != nil {
		return nil, err
	}
	reply, err := readFrame(stream)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("behind the reply comes %v", err)
	}
	return reply, nil
}

func onlyQUIC(c *Config, _ *Dependencies) { c.Listen, c.TLS, c.HTTPS = nil, Endpoint{}, Endpoint{} }

func TestDoQAnswersBothWays(t *testing.T) {
	s := openSet(t, onlyQUIC)
	conn := s.dialDoQ(t, nil)
	held := make(chan error, 1)
	go func() {
		_, err := askDoQ(t, conn, framesOf(packQuestion(t, 0, "held.example")))
		held <- err
	}()
	eventually(t, "it is held", func() bool { return s.door.held.Load() == 1 })
	for _, name := range []string{"now.example", "later.example"} {
		reply, err := askDoQ(t, conn, framesOf(packQuestion(t, 0, name)))
		if err != nil || reply[2]&0x80 == 0 {
			t.Errorf("%s: %x, %v", name, reply, err)
		}
	}
	if q := s.door.last(t); q.Transport != QUIC || q.Client.Port() == 0 || q.Client.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("the door saw %+v", q)
	}
	close(s.door.hold)
	if err := <-held; err != nil {
		t.Error(err)
	}
	if n := s.Conns(QUIC); n != 1 {
		t.Errorf("%d connections", n)
	}
	_ = conn.CloseWithError(doqNoError, "")
	eventually(t, "it is counted out", func() bool { return s.Conns(QUIC) == 0 })
}

func TestDoQLongReply(t *testing.T) {
	s := openSet(t, onlyQUIC)
	conn := s.dialDoQ(t, nil)
	s.door.answerWith(func(*Query) []byte { return make([]byte, 65535) })
	for _, name := range []string{"now.example", "later.example"} {
		if reply, err := askDoQ(t, conn, framesOf(packQuestion(t, 0, name))); len(reply) != 65535 {
			t.Errorf("%s: %d bytes, %v", name, len(reply), err)
		}
	}
}

func TestDoQBadQueries(t *testing.T) {
	query := packQuestion(t, 0, "now.example")
	withID := packQuestion(t, 7, "now.example")
	response := packQuestion(t, 0, "now.example")
	response[2] |= 0x80
	keepalive := new(dns.Msg).SetQuestion("now.example.", dns.TypeA)
	keepalive.Id = 0
	keepalive.SetEdns0(1232, false)
	keepalive.IsEdns0().Option = append(keepalive.IsEdns0().Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
	kept, err := keepalive.Pack()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		sent   []byte
		fatal  bool // of the connection, else of the stream
		code   uint64
		counts bool
	}{
		{"an id", framesOf(withID), true, doqProtocolError, true},
		{"a response", framesOf(response), true, doqProtocolError, true},
		{"edns-tcp-keepalive", framesOf(kept), true, doqProtocolError, true},
		{"two queries", framesOf(query, query), true, doqProtocolError, true},
		{"one byte more", append(framesOf(query), 0), true, doqProtocolError, true},
		{"cut short", framesOf(query)[:20], true, doqProtocolError, true},
		{"no length", framesOf(query)[:1], true, doqProtocolError, true},
		{"nothing", nil, true, doqProtocolError, true},
		{"no header", framesOf(query[:11]), true, doqProtocolError, true},
		{"too long", framesOf(make([]byte, 4097)), false, doqExcessiveLoad, true},
		{"silence", framesOf(packQuestion(t, 0, "silent.example")), false, doqUnspecified, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := openSet(t, onlyQUIC)
			conn := s.dialDoQ(t, nil)
			reply, err := askDoQ(t, conn, test.sent)
			var ended *quic.ApplicationError
			var cut *quic.StreamError
			switch {
			case err == nil:
				t.Fatalf("reply %x", reply)
			case test.fatal:
				if !errors.As(err, &ended) || uint64(ended.ErrorCode) != test.code {
					t.Errorf("error %v", err)
				}
			default:
				if !errors.As(err, &cut) || uint64(cut.ErrorCode) != test.code {
					t.Errorf("error %v", err)
				}
				if _, err := askDoQ(t, conn, framesOf(query)); err != nil {
					t.Errorf("the connection is of no more use: %v", err)
				}
			}
			if n := s.shed.of(ShedMalformed); n != 0 != test.counts {
				t.Errorf("%d are counted", n)
			}
		})
	}
}

func TestDoQBusy(t *testing.T) {
	s := openSet(t, func(c *Config, d *Dependencies) {
		onlyQUIC(c, d)
		c.MaxQueries = 1
	})
	conn := s.dialDoQ(t, nil)
	held := make(chan error, 1)
	go func() {
		_, err := askDoQ(t, conn, framesOf(packQuestion(t, 0, "held.example")))
		held <- err
	}()
	eventually(t, "the place is taken", func() bool { return s.door.held.Load() == 1 })
	_, err := askDoQ(t, conn, framesOf(packQuestion(t, 0, "later.example")))
	var cut *quic.StreamError
	if !errors.As(err, &cut) || cut.ErrorCode != doqExcessiveLoad {
		t.Errorf("error %v", err)
	}
	close(s.door.hold)
	if err := <-held; err != nil {
		t.Error(err)
	}
}

// A client that takes its query back ends what is done for it.
func TestDoQTakenBack(t *testing.T) {
	s := openSet(t, onlyQUIC)
	conn := s.dialDoQ(t, nil)
	stream, err := conn.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write(framesOf(packQuestion(t, 0, "held.example"))); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is held", func() bool { return s.Busy() == 1 })
	stream.CancelRead(doqCancelled)
	eventually(t, "the place is free", func() bool { return s.Busy() == 0 })
	if _, err := askDoQ(t, conn, framesOf(packQuestion(t, 0, "now.example"))); err != nil {
		t.Errorf("the connection is of no more use: %v", err)
	}
}

func TestDoQStrangersAreToldOnce(t *testing.T) {
	s := openSet(t, func(c *Config, d *Dependencies) {
		onlyQUIC(c, d)
		d.Known = nobodyFrom("127.")
	})
	conn := s.dialDoQ(t, nil)
	if _, err := askDoQ(t, conn, framesOf(packQuestion(t, 0, "now.example"))); err == nil {
		t.Error("told twice")
	}
}

func TestDoQPerClientBound(t *testing.T) {
	s := openSet(t, func(c *Config, d *Dependencies) {
		onlyQUIC(c, d)
		c.MaxClientConns = 1
	})
	s.dialDoQ(t, nil)
	_, err := s.tryDoQ(t, nil)
	var ended *quic.ApplicationError
	if !errors.As(err, &ended) || ended.ErrorCode != doqExcessiveLoad {
		t.Errorf("error %v", err)
	}
	if s.shed.of(ShedClientConnections) != 1 {
		t.Error("nothing was counted")
	}
}

// Handshakes that come to nothing are counted, and not for ever.
func TestDoQFailedHandshakes(t *testing.T) {
	s := openSet(t, onlyQUIC)
	if _, err := dialQUIC(t.Context(), t, s.address(t, "dns quic"), s.tls("h3")); err == nil {
		t.Fatal("another protocol is accepted")
	}
	eventually(t, "it is counted", func() bool { return s.shed.of(ShedHandshake) == 1 })
	in := s.endpoints[0].(*doq)
	underWay := func() int {
		in.handshakes.mu.Lock()
		defer in.handshakes.mu.Unlock()
		return in.handshakes.known
	}
	if n := underWay(); n != 0 {
		t.Errorf("%d handshakes are under way", n)
	}
	begin := func(n int) {
		for range n {
			if !in.handshakes.begin(netip.Addr{}, true) {
				t.Fatal("refused")
			}
		}
	}
	begin(proveFrom)  // as many as make it wary
	s.dialDoQ(t, nil) // who proves his address is served
	if n := underWay(); n != proveFrom {
		t.Errorf("%d handshakes are under way", n)
	}
	begin(maxHandshakes - proveFrom)
	if _, err := s.tryDoQ(t, nil); err == nil {
		t.Error("there is no bound")
	}
}
