package upstream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// reply is what a fake resolver does about a query: it sends packets, framed on
// streams, and then may hang up. In between it may send bytes as they are.
type reply struct {
	packets [][]byte
	raw     []byte
	cut     bool
}

// script says how a fake resolver answers. transport is udp, tcp, https or
// quic; tcp also inside TLS.
type script func(q *dns.Msg, transport string) reply

// fake is a resolver that does what a test wants, on 127.0.0.1.
type fake struct {
	t       *testing.T
	addr    string
	queries sync.Map // transport -> *atomic.Int64
	conns   atomic.Int64

	mu     sync.Mutex
	script script
	seen   []*dns.Msg
	wire   [][]byte
	from   map[string]bool // client addresses, UDP
	live   map[net.Conn]bool
	ca     string
	hangUp func() // QUIC: ends all connections
}

func (f *fake) set(s script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = s
}

func (f *fake) count(transport string) int64 {
	n, _ := f.queries.LoadOrStore(transport, new(atomic.Int64))
	return n.(*atomic.Int64).Load()
}

func (f *fake) packets() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.wire)
}

func (f *fake) ports() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.from)
}

// cutAll ends every connection that is open.
func (f *fake) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.live {
		c.Close()
	}
	if f.hangUp != nil {
		f.hangUp()
	}
}

func (f *fake) answer(wire []byte, transport string) reply {
	q := new(dns.Msg)
	if err := q.Unpack(wire); err != nil {
		f.t.Errorf("a malformed query: %v", err)
		return reply{}
	}
	f.mu.Lock()
	s := f.script
	f.seen = append(f.seen, q)
	f.wire = append(f.wire, bytes.Clone(wire))
	f.mu.Unlock()
	n, _ := f.queries.LoadOrStore(transport, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	return s(q, transport)
}

// zone answers from records in presentation form: NXDOMAIN with an SOA for
// names that it does not have.
func zone(t testing.TB, records ...string) script {
	var all []dns.RR
	for _, text := range records {
		r, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return func(q *dns.Msg, _ string) reply {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		known := false
		name := q.Question[0].Name
		for range len(all) {
			alias := ""
			for _, r := range all {
				if !strings.EqualFold(r.Header().Name, name) {
					continue
				}
				known = true
				c, isAlias := r.(*dns.CNAME)
				if isAlias {
					alias = c.Target
				}
				if isAlias || r.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, dns.Copy(r))
				}
			}
			if alias == "" {
				break
			}
			name = alias
		}
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		if len(m.Answer) == 0 {
			soa, _ := dns.NewRR(". 600 IN SOA ns.example. host.example. 1 2 3 4 300")
			m.Ns = append(m.Ns, soa)
		}
		m.Compress = true
		return reply{packets: [][]byte{pack(t, m)}}
	}
}

func readQuery(t testing.TB, wire []byte) *dns.Msg {
	q := new(dns.Msg)
	if err := q.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	return q
}

func pack(t testing.TB, m *dns.Msg) []byte {
	wire, err := m.Pack()
	if err != nil {
		t.Errorf("pack: %v", err)
	}
	return wire
}

func silent(*dns.Msg, string) reply { return reply{} }

// lie changes what a good resolver would answer.
type lie func(good []byte, q *dns.Msg, transport string) reply

func lying(t testing.TB, l lie) script {
	good := zone(t, "a.example. 600 IN A 192.0.2.1")
	return func(q *dns.Msg, transport string) reply {
		return l(good(q, transport).packets[0], q, transport)
	}
}

func one(packet []byte) reply { return reply{packets: [][]byte{packet}} }

func patched(good []byte, change func([]byte)) []byte {
	bad := bytes.Clone(good)
	change(bad)
	return bad
}

// questionEnd is where the question of a packet ends.
func questionEnd(packet []byte) int {
	_, end, _ := dnswire.ReadName(packet, dnswire.HeaderBytes)
	return end + 4
}

func withRcode(rcode int) lie {
	return func(good []byte, _ *dns.Msg, _ string) reply {
		return one(patched(good[:questionEnd(good)], func(b []byte) {
			b[3] = b[3]&^0xF | byte(rcode)
			clear(b[6:12])
		}))
	}
}

func newFake(t *testing.T, s script) *fake {
	return &fake{t: t, script: s, from: make(map[string]bool), live: make(map[net.Conn]bool)}
}

// newPlain is a fake on UDP and TCP, on one port.
func newPlain(t *testing.T, s script) *fake {
	t.Helper()
	f := newFake(t, s)
	var packets net.PacketConn
	var listener net.Listener
	for listener == nil {
		var err error
		if packets, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if listener, err = net.Listen("tcp4", packets.LocalAddr().String()); err != nil {
			packets.Close()
		}
	}
	f.addr = packets.LocalAddr().String()
	var running sync.WaitGroup
	running.Go(func() { f.serveUDP(packets) })
	running.Go(func() { f.serveStreams(listener) })
	t.Cleanup(func() {
		packets.Close()
		listener.Close()
		f.cutAll()
		running.Wait()
	})
	return f
}

// newTLS is a fake on TLS, with a certificate for the names.
func newTLS(t *testing.T, a *issuer, s script, names ...string) *fake {
	t.Helper()
	f := newFake(t, s)
	listener, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.issue(t, names...)}})
	if err != nil {
		t.Fatal(err)
	}
	f.addr = listener.Addr().String()
	var running sync.WaitGroup
	running.Go(func() { f.serveStreams(listener) })
	t.Cleanup(func() {
		listener.Close()
		f.cutAll()
		running.Wait()
	})
	return f
}

func (f *fake) serveUDP(conn net.PacketConn) {
	buffer := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		f.mu.Lock()
		f.from[from.String()] = true
		f.mu.Unlock()
		for _, packet := range f.answer(buffer[:n], "udp").packets {
			conn.WriteTo(packet, from)
		}
	}
}

func (f *fake) serveStreams(listener net.Listener) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		f.conns.Add(1)
		f.mu.Lock()
		f.live[conn] = true
		f.mu.Unlock()
		running.Go(func() {
			f.serveStream(conn)
			conn.Close()
			f.mu.Lock()
			delete(f.live, conn)
			f.mu.Unlock()
		})
	}
}

func (f *fake) serveStream(conn net.Conn) {
	for {
		wire, err := readMessage(conn, nil)
		if err != nil {
			return
		}
		r := f.answer(wire, "tcp")
		for _, packet := range r.packets {
			if _, err := conn.Write(frame(packet)); err != nil {
				return
			}
		}
		conn.Write(r.raw)
		if r.cut {
			return
		}
	}
}

func frame(packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
}

// newHTTPS is a fake on HTTPS; handle nil answers as RFC 8484 has it.
func newHTTPS(t *testing.T, a *issuer, s script, handle func(http.ResponseWriter, *http.Request, []byte)) *fake {
	t.Helper()
	f := newFake(t, s)
	if handle == nil {
		handle = func(w http.ResponseWriter, _ *http.Request, packet []byte) {
			w.Header().Set("Content-Type", "application/dns-message")
			w.Write(packet)
		}
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		answer := f.answer(body, "https")
		if answer.cut {
			panic(http.ErrAbortHandler)
		}
		if len(answer.packets) == 0 {
			<-r.Context().Done()
			return
		}
		handle(w, r, answer.packets[0])
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = zap.NewStdLog(zap.NewNop()) // handshakes that are meant to fail
	server.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, "dns.example", "127.0.0.1")}}
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch state {
		case http.StateNew:
			f.conns.Add(1)
			f.live[c] = true
		case http.StateClosed:
			delete(f.live, c)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	f.addr = server.Listener.Addr().String()
	return f
}

// newQUIC is a fake on QUIC.
func newQUIC(t *testing.T, a *issuer, s script, names ...string) *fake {
	t.Helper()
	f := newFake(t, s)
	secure := &tls.Config{Certificates: []tls.Certificate{a.issue(t, names...)}, NextProtos: []string{"doq"}, MinVersion: tls.VersionTLS13}
	listener, err := quic.ListenAddr("127.0.0.1:0", secure, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.addr = listener.Addr().String()
	var mu sync.Mutex
	var open []*quic.Conn
	f.hangUp = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			c.CloseWithError(0, "")
		}
		open = nil
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			f.conns.Add(1)
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			running.Go(func() { f.serveQUIC(conn) })
		}
	})
	t.Cleanup(func() {
		f.cutAll()
		listener.Close()
		f.cutAll()
		running.Wait()
	})
	return f
}

func (f *fake) serveQUIC(conn *quic.Conn) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		running.Go(func() {
			wire, err := readMessage(stream, nil)
			if err != nil {
				return
			}
			if rest, err := io.ReadAll(stream); err != nil || len(rest) > 0 {
				f.t.Errorf("%d bytes behind the query, %v", len(rest), err)
			}
			r := f.answer(wire, "quic")
			for _, packet := range r.packets {
				stream.Write(frame(packet))
			}
			stream.Write(r.raw)
			if len(r.packets) == 0 && len(r.raw) == 0 && !r.cut { // silent
				<-conn.Context().Done()
			}
			stream.Close()
		})
	}
}

// issuer issues certificates for tests.
type issuer struct {
	file string // PEM
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &issuer{file: filepath.Join(t.TempDir(), "ca.pem"), cert: cert, key: key}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(a.file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *issuer) issue(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test resolver"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
