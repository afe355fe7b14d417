package ingress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/internal/testpki"
)

// setServer is a Set being served.
type setServer struct {
	*Set
	root *testpki.Authority
	door *testDoor
	shed *shedTally
	done chan struct{} // closed when Serve has returned
}

const anyPort = "127.0.0.1:0"

// openSet opens a Set with every transport, unless change says otherwise, and
// serves it.
func openSet(t testing.TB, change func(*Config, *Dependencies)) *setServer {
	t.Helper()
	s := &setServer{root: testpki.New(t, "servers"), door: newTestDoor(), shed: &shedTally{}, done: make(chan struct{})}
	files := serverFiles(t, s.root)
	endpoint := Endpoint{Listen: []string{anyPort}, Certificate: files.Certificate, Key: files.Key}
	config := Config{
		Listen: []string{anyPort}, TLS: endpoint, HTTPS: endpoint, QUIC: endpoint,
		Idle: time.Minute, UDPSockets: 1,
	}
	dependencies := Dependencies{Known: everybody, Shed: s.shed.add}
	if change != nil {
		change(&config, &dependencies)
	}
	set, err := Open(t.Context(), config, dependencies)
	if err != nil {
		t.Fatal(err)
	}
	s.Set = set
	go func() {
		defer close(s.done)
		set.Serve(context.Background(), s.door)
	}()
	t.Cleanup(func() {
		set.Close()
		<-s.done
	})
	return s
}

// address is where the named listener listens.
func (s *setServer) address(t testing.TB, name string) string {
	t.Helper()
	for _, a := range s.Addrs() {
		if a.Name == name {
			return a.Addr
		}
	}
	t.Fatalf("no %q in %v", name, s.Addrs())
	return ""
}

func (s *setServer) tls(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: s.root.Pool(), NextProtos: protocols}
}

func TestSetEveryTransport(t *testing.T) {
	s := openSet(t, nil)
	var names []string
	for _, a := range s.Addrs() {
		names = append(names, a.Name)
	}
	if got := strings.Join(names, ", "); got != "dns udp, dns tcp, dns tls, dns https, dns quic" {
		t.Errorf("addresses %s", got)
	}
	if udp, tcp := s.address(t, "dns udp"), s.address(t, "dns tcp"); udp != tcp {
		t.Errorf("UDP on %s, TCP on %s", udp, tcp)
	}
	begun := time.Now()
	arrived := func(transport Transport, name string) {
		t.Helper()
		q := s.door.last(t)
		if q.Transport != transport || name == "later.example." && q.Arrived.Before(begun) {
			t.Errorf("%s, %s: the door saw it by %s, arrived %v", transport, name, q.Transport, q.Arrived)
		}
	}
	transports := map[string]Transport{"udp": UDP, "tcp": TCP, "tcp-tls": TLS}
	for _, name := range []string{"now.example.", "later.example."} {
		for network, address := range map[string]string{"udp": "dns udp", "tcp": "dns tcp", "tcp-tls": "dns tls"} {
			client := dns.Client{Net: network, TLSConfig: s.tls("dot")}
			query := new(dns.Msg).SetQuestion(name, dns.TypeA)
			reply, _, err := client.Exchange(query, s.address(t, address))
			if err != nil || reply.Id != query.Id || !reply.Response {
				t.Errorf("%s, %s: %v, %v", network, name, reply, err)
			}
			arrived(transports[network], name)
		}
		if _, reply := s.get(t, s.webClient(true, nil), packQuestion(t, 0, name)); len(reply) == 0 {
			t.Errorf("https, %s: no reply", name)
		}
		arrived(HTTPS, name)
		conn := s.dialDoQ(t, nil)
		if reply, err := askDoQ(t, conn, framesOf(packQuestion(t, 0, name))); err != nil || len(reply) == 0 {
			t.Errorf("quic, %s: %v", name, err)
		}
		arrived(QUIC, name)
	}
	for transport := range TransportCount {
		_, has := s.NotAfter(transport)
		if has != transport.Encrypted() {
			t.Errorf("%s has a certificate: %v", transport, has)
		}
	}
	// A worker is free once its reply has gone out.
	eventually(t, "nobody is busy", func() bool { return s.Busy() == 0 && s.Waiting() == 0 })
	if s.Dropped() != 0 || s.Unsent() != 0 {
		t.Errorf("dropped %d, unsent %d", s.Dropped(), s.Unsent())
	}
}

func TestSetStopAnswersWhatIsUnderWay(t *testing.T) {
	s := openSet(t, nil)
	held := packQuestion(t, 0, "held.example")
	replies := make(chan error, 8)
	asked := 0
	ask := func(exchange func() error) {
		asked++
		go func() { replies <- exchange() }()
	}
	for network, address := range map[string]string{"udp": "dns udp", "tcp": "dns tcp", "tcp-tls": "dns tls"} {
		client := dns.Client{Net: network, TLSConfig: s.tls(), Timeout: 20 * time.Second}
		where := s.address(t, address)
		ask(func() error {
			_, _, err := client.Exchange(new(dns.Msg).SetQuestion("held.example.", dns.TypeA), where)
			return err
		})
	}
	for _, h2 := range []bool{false, true} {
		client := s.webClient(h2, nil)
		ask(func() error {
			response, err := client.Get(s.url(t, held))
			if err == nil {
				response.Body.Close()
			}
			return err
		})
	}
	conn := s.dialDoQ(t, nil)
	ask(func() error {
		_, err := askDoQ(t, conn, framesOf(held))
		return err
	})
	eventually(t, "all are held", func() bool { return int(s.door.held.Load()) == asked })
	// And some who say nothing.
	for _, name := range []string{"dns tcp", "dns tls", "dns https"} {
		silent, err := net.Dial("tcp", s.address(t, name))
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	eventually(t, "the silent are inside", func() bool { return s.Conns(TCP) == 2 && s.Conns(TLS) == 2 && s.Conns(HTTPS) == 3 })

	s.Stop()
	eventually(t, "the silent are gone", func() bool { return s.Conns(TCP) == 1 && s.Conns(TLS) == 1 && s.Conns(HTTPS) == 2 })
	select {
	case <-s.done:
		t.Fatal("Serve has returned with queries under way")
	default:
	}
	close(s.door.hold)
	for range asked {
		if err := <-replies; err != nil {
			t.Errorf("what was under way when it stopped: %v", err)
		}
	}
	<-s.done
	for transport := range TransportCount {
		if n := s.Conns(transport); n != 0 {
			t.Errorf("%d connections by %s are counted still", n, transport)
		}
	}
}

func TestSetCloseAbandons(t *testing.T) {
	s := openSet(t, nil)
	conn := s.dialDoQ(t, nil)
	client := dns.Client{Net: "tcp", Timeout: 20 * time.Second}
	replies := make(chan error, 2)
	go func() {
		_, _, err := client.Exchange(new(dns.Msg).SetQuestion("held.example.", dns.TypeA), s.address(t, "dns tcp"))
		replies <- err
	}()
	go func() {
		_, err := askDoQ(t, conn, framesOf(packQuestion(t, 0, "held.example")))
		replies <- err
	}()
	eventually(t, "both are held", func() bool { return s.door.held.Load() == 2 })
	s.Close()
	<-s.done
	for range 2 {
		if err := <-replies; err == nil {
			t.Error("an answer came")
		}
	}
	s.Close() // may be called again
	s.Stop()
}

func TestSetServeEndsWithItsContext(t *testing.T) {
	set, err := Open(t.Context(), Config{Listen: []string{anyPort}}, Dependencies{Known: everybody})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var served atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		set.Serve(ctx, newTestDoor())
		served.Store(true)
	}()
	cancel()
	<-done
	if conn, err := net.Dial("tcp", set.Addrs()[1].Addr); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

// Where something cannot be had, nothing is bound.
func TestOpenBindsAllOrNothing(t *testing.T) {
	taken, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	a := testpki.New(t, "servers")
	files := serverFiles(t, a)
	good := Endpoint{Listen: []string{anyPort}, Certificate: files.Certificate, Key: files.Key}
	bad := Endpoint{Listen: []string{taken.Addr().String()}, Certificate: files.Certificate, Key: files.Key}
	known := Dependencies{Known: everybody}
	tests := []struct {
		name         string
		config       Config
		dependencies Dependencies
		want         string
	}{
		{"a port that is taken", Config{Listen: []string{address, taken.Addr().String()}}, known, "listen for DNS on"},
		{"a port that is taken, TLS", Config{Listen: []string{address}, TLS: bad}, known, "listen for DNS over tls on"},
		{"a port that is taken, HTTPS", Config{Listen: []string{address}, HTTPS: bad}, known, "listen for DNS over https on"},
		{"no certificate", Config{Listen: []string{address}, QUIC: Endpoint{Listen: []string{anyPort}}}, known, "listen for DNS over quic"},
		{"no port", Config{Listen: []string{address, "127.0.0.1"}}, known, "use an address with a port"},
		{"a path that is none", Config{Listen: []string{address}, HTTPS: good, Path: "dns"}, known, "must begin with /"},
		{"HTTP/3 without HTTPS", Config{Listen: []string{address}, HTTP3: true}, known, "HTTPS does not listen"},
		{"nobody to ask", Config{Listen: []string{address}}, Dependencies{}, "who may ask"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set, err := Open(t.Context(), test.config, test.dependencies)
			if err == nil {
				set.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want one with %q", err, test.want)
			}
			again, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatalf("something stayed open: %v", err)
			}
			again.Close()
		})
	}
}

// Every transport asks for a client certificate where there is an authority,
// and tells the door whom it names.
func TestSetClientCertificates(t *testing.T) {
	clients := testpki.New(t, "clients")
	s := openSet(t, func(c *Config, _ *Dependencies) {
		path := c.TLS.Certificate + ".clients"
		testpki.Put(t, path, clients.PEM())
		c.TLS.ClientCA, c.HTTPS.ClientCA, c.QUIC.ClientCA = path, path, path
	})
	certificate := clients.Client(t, x509.Certificate{DNSNames: []string{"Laptop.corp.example"}})
	check := func(transport Transport) {
		t.Helper()
		if q := s.door.last(t); q.Transport != transport || q.Peer == nil || q.Peer.Devices[0] != "laptop.corp.example" {
			t.Errorf("the door saw %+v by %s", q.Peer, q.Transport)
		}
	}
	for _, h2 := range []bool{false, true} {
		s.get(t, s.webClient(h2, &certificate), packQuestion(t, 0, "now.example"))
		check(HTTPS)
		if _, err := s.webClient(h2, nil).Get(s.url(t, packQuestion(t, 0, "now.example"))); err == nil {
			t.Error("HTTPS answers without a certificate")
		}
	}
	if _, err := askDoQ(t, s.dialDoQ(t, &certificate), framesOf(packQuestion(t, 0, "now.example"))); err != nil {
		t.Fatal(err)
	}
	check(QUIC)
	if _, err := s.tryDoQ(t, nil); err == nil {
		t.Error("QUIC answers without a certificate")
	}
}

// MaxConns is shared: those who say nothing on one transport go for those who
// ask on another.
func TestSetSharesConnections(t *testing.T) {
	s := openSet(t, func(c *Config, _ *Dependencies) { c.MaxConns = 4 })
	const silent = 20
	for range silent {
		conn, err := net.Dial("tcp", s.address(t, "dns tcp"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	// Each listener accepts for itself: one that is accepted late would go for
	// who asks.
	eventually(t, "all have come, and all but four have gone for others", func() bool {
		return s.Conns(TCP) == 4 && s.shed.of(ShedConnections) == silent-4 && s.shared.crowd.standing(newcomer) == 0
	})
	if _, reply := s.get(t, s.webClient(true, nil), packQuestion(t, 0, "now.example")); len(reply) == 0 {
		t.Error("no reply over HTTPS")
	}
	if _, err := askDoQ(t, s.dialDoQ(t, nil), framesOf(packQuestion(t, 0, "now.example"))); err != nil {
		t.Error(err)
	}
	if n := s.Conns(TCP) + s.Conns(HTTPS) + s.Conns(QUIC); n > 4 {
		t.Errorf("%d connections", n)
	}
}

func TestSetProxyHeaders(t *testing.T) {
	s := openSet(t, func(c *Config, _ *Dependencies) {
		c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	header := []byte("PROXY TCP4 192.0.2.7 192.0.2.53 40000 53\r\n")
	dial := func(name string) net.Conn {
		conn, err := net.Dial("tcp", s.address(t, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	check := func() {
		t.Helper()
		if got := s.door.last(t).Client.String(); got != "192.0.2.7:40000" {
			t.Errorf("the door saw %s", got)
		}
	}
	conn := dial("dns tls")
	sendAll(t, conn, header)
	secured := tls.Client(conn, &tls.Config{RootCAs: s.root.Pool(), ServerName: "127.0.0.1"})
	sendAll(t, secured, framesOf(packQuestion(t, 1, "now.example")))
	receiveFrame(t, secured)
	check()

	client := s.webClient(false, nil)
	transport := transportOf(client)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn := dial("dns https")
		_, err := conn.Write(header)
		return conn, err
	}
	s.get(t, client, packQuestion(t, 0, "now.example"))
	check()

	// Without one, nobody behind the proxy is believed to be the proxy.
	if _, err := s.webClient(true, nil).Get(s.url(t, packQuestion(t, 0, "now.example"))); err == nil {
		t.Error("HTTPS does without a header")
	}
	if _, err := s.tryDoQ(t, nil); err == nil {
		t.Error("QUIC, which has none, is served to a proxy")
	}
	eventually(t, "both are counted", func() bool { return s.shed.of(ShedProxyHeader) >= 2 })
}
