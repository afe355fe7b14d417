package ingress

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/internal/testpki"
)

// besiegers is how many connections may be there of clients that could yet
// prove who they are. Some that come while a device is in its handshake do not
// push it out: there are others that have been silent for longer.
const besiegers = 16

// roamingSet is a Set that no client may ask by its address: only those with a
// certificate, where asks says so, or an id behind the path.
func roamingSet(t *testing.T, asks bool) (s *setServer, certificate *tls.Certificate) {
	t.Helper()
	clients := testpki.New(t, "clients")
	s = openSet(t, func(c *Config, d *Dependencies) {
		c.MaxConns, c.HTTP3 = 16*besiegers, true
		d.Known = nobodyFrom("127.")
		d.PathPeer = func(id string) (*Peer, bool) { return &Peer{Devices: []string{id}, Source: "path"}, id == "laptop" }
		if asks {
			path := c.TLS.Certificate + ".clients"
			testpki.Put(t, path, clients.PEM())
			c.TLS.ClientCA, c.HTTPS.ClientCA, c.QUIC.ClientCA = path, path, path
		}
	})
	own := clients.Client(t, x509.Certificate{DNSNames: []string{"laptop"}})
	return s, &own
}

// besiege opens silent connections, more than such clients may hold; oneMore
// opens another two.
func besiege(t *testing.T, s *setServer) (oneMore func()) {
	t.Helper()
	oneMore = func() {
		for _, name := range []string{"dns tls", "dns https"} {
			conn, err := net.Dial("tcp", s.address(t, name))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
		}
	}
	for range besiegers {
		oneMore()
	}
	eventually(t, "all have come, and half have gone for others", func() bool {
		return s.shared.crowd.standing(unproven) == besiegers && s.shed.of(ShedConnections) == besiegers
	})
	return oneMore
}

// A device that proves who it is may ask as often as it likes, wherever it is,
// and however many others begin a handshake and say no more.
func TestRoamingCertificates(t *testing.T) {
	s, certificate := roamingSet(t, true)
	oneMore := besiege(t, s)

	config := s.tls("dot")
	config.Certificates = []tls.Certificate{*certificate}
	conn, err := dialTLS(t, s.address(t, "dns tls"), config)
	if err != nil {
		t.Fatal(err)
	}
	sendAll(t, conn, framesOf(packQuestion(t, 1, "later.example"), packQuestion(t, 2, "later.example")))
	got := map[uint16]bool{replyID(receiveFrame(t, conn)): true, replyID(receiveFrame(t, conn)): true}
	if !got[1] || !got[2] {
		t.Errorf("over TLS: replies %v", got)
	}
	for range besiegers { // it is not one of those who go for others
		oneMore()
		sendAll(t, conn, framesOf(packQuestion(t, 3, "now.example")))
		receiveFrame(t, conn)
	}

	for _, h2 := range []bool{false, true} {
		s.checkWeb(t, s.webClient(h2, certificate), "", oneMore)
	}
	client := s.web3Client(t)
	transportOf3(client).TLSClientConfig.Certificates = []tls.Certificate{*certificate}
	s.checkWeb(t, client, "", oneMore)

	doq := s.dialDoQ(t, certificate) // has asked once
	oneMore()
	if _, err := askDoQ(t, doq, framesOf(packQuestion(t, 0, "later.example"))); err != nil {
		t.Errorf("over QUIC: %v", err)
	}
}

// So may one that has an id behind the path.
func TestRoamingPaths(t *testing.T) {
	s, _ := roamingSet(t, false)
	oneMore := besiege(t, s)
	for _, h2 := range []bool{false, true} {
		s.checkWeb(t, s.webClient(h2, nil), "/laptop", oneMore)
	}
	s.checkWeb(t, s.web3Client(t), "/laptop", oneMore)

	// An id that is no good proves nothing.
	client := s.webClient(true, nil)
	response, err := client.Get(s.pathURL(t, "/desktop"))
	if err != nil {
		t.Fatal(err)
	}
	body(t, response)
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("status %s", response.Status)
	}
	eventually(t, "the connection is closed", func() bool { return s.shared.crowd.standing(stranger) == 0 })
}

func (s *setServer) pathURL(t *testing.T, id string) string {
	return strings.Replace(s.url(t, packQuestion(t, 0, "later.example")), "?", id+"?", 1)
}

// checkWeb asks several times, and sees to it that the connection stays.
func (s *setServer) checkWeb(t *testing.T, client *http.Client, id string, between func()) {
	t.Helper()
	var port uint16
	for range 4 {
		response, err := client.Get(s.pathURL(t, id))
		if err != nil {
			t.Fatalf("over HTTPS: %v", err)
		}
		if body(t, response); response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", response.Proto, response.Status)
		}
		q := s.door.last(t)
		if q.Peer == nil || q.Peer.Devices[0] != "laptop" {
			t.Errorf("%s: the door saw %+v", response.Proto, q.Peer)
		}
		if port != 0 && q.Client.Port() != port {
			t.Errorf("%s: asked over another connection", response.Proto)
		}
		port = q.Client.Port()
		between()
	}
	client.CloseIdleConnections()
}

// Handshakes that do not end: those who may ask do not wait for the others, and
// of these each has its share.
func TestHandshakes(t *testing.T) {
	var h handshakes
	begin := func(address string, known bool) bool { return h.begin(netip.MustParseAddr(address), known) }
	n := 0
	for begin("2001:db8::1", false) {
		n++
	}
	if n != maxEachHandshakes || begin("2001:db8::2", false) || !begin("2001:db8:1::1", false) {
		t.Errorf("a network began %d", n)
	}
	for i := range maxHandshakes - n - 1 {
		if !h.begin(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i)}), false) {
			t.Fatalf("the %d. other is refused", i)
		}
	}
	if begin("192.0.2.1", false) {
		t.Error("there is no bound for others")
	}
	if h.many() {
		t.Error("because of others, those who may ask must prove their address")
	}
	for i := range maxHandshakes {
		if !begin("192.0.2.2", true) {
			t.Fatalf("the %d. that may ask is refused", i)
		}
	}
	if begin("192.0.2.2", true) || !h.many() {
		t.Error("there is no bound")
	}
	h.end(netip.MustParseAddr("2001:db8::3"), false) // of the same network
	h.end(netip.MustParseAddr("192.0.2.2"), true)
	if !begin("2001:db8::1", false) || !begin("192.0.2.2", true) {
		t.Error("what has ended still counts")
	}
}

// A handshake over QUIC that fails gives its place back, from outside too.
func TestFailedHandshakeFromOutside(t *testing.T) {
	s, _ := roamingSet(t, true)
	if _, err := s.tryDoQ(t, nil); err == nil {
		t.Fatal("answered without a certificate")
	}
	var in *doq
	for _, e := range s.endpoints {
		if d, ok := e.(*doq); ok {
			in = d
		}
	}
	eventually(t, "its place is free", func() bool {
		in.handshakes.mu.Lock()
		defer in.handshakes.mu.Unlock()
		return in.handshakes.others == 0 && len(in.handshakes.clients) == 0
	})
}

// Who says nothing over HTTP/3 goes for who comes later.
func TestHTTP3SilentStrangers(t *testing.T) {
	s, _ := roamingSet(t, false)
	var silent []*quic.Conn
	for range besiegers + 2 {
		conn, err := dialQUIC(t.Context(), t, s.address(t, "dns https"), s.tls("h3"))
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
		eventually(t, "it is inside, or has been", func() bool {
			return s.shared.crowd.standing(unproven) == min(len(silent), besiegers)
		})
	}
	for _, conn := range silent[:2] {
		<-conn.Context().Done()
	}
	s.checkWeb(t, s.web3Client(t), "/laptop", func() {})
}
