package ingress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testpki"
)

// dialTLS opens a TLS connection whose handshake has been accepted.
func dialTLS(t testing.TB, address string, config *tls.Config) (*tls.Conn, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, config)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func TestDoTAnswersBothWays(t *testing.T) {
	a := testpki.New(t, "root")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := serveStreams(t, streamSetup{tls: loadCertificates(t, serverFiles(t, a)).ServerConfig("dot")})
		conn, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.Pool(), NextProtos: []string{"dot"}, MaxVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != "dot" {
			t.Errorf("protocol %q", got)
		}
		// Many in one record, one in two records, and one that is late.
		sendAll(t, conn, framesOf(packQuestion(t, 1, "held.example"), packQuestion(t, 2, "now.example"), packQuestion(t, 3, "later.example")))
		whole := framesOf(packQuestion(t, 4, "now.example"))
		sendAll(t, conn, whole[:1])
		sendAll(t, conn, whole[1:9])
		sendAll(t, conn, whole[9:])
		got := map[uint16]bool{}
		for range 3 {
			got[replyID(receiveFrame(t, conn))] = true
		}
		if !got[2] || !got[3] || !got[4] {
			t.Errorf("got %v before the query that is held", got)
		}
		close(s.door.hold)
		if id := replyID(receiveFrame(t, conn)); id != 1 {
			t.Errorf("reply to %d", id)
		}
		if q := s.door.last(t); q.Transport != TLS || q.Client.String() != conn.LocalAddr().String() {
			t.Errorf("the door saw %+v", q)
		}
		if n := s.crowd.count(TLS); n != 1 {
			t.Errorf("%d connections", n)
		}
	}
}

func TestDoTRefuses(t *testing.T) {
	a := testpki.New(t, "root")
	s := serveStreams(t, streamSetup{tls: loadCertificates(t, serverFiles(t, a)).ServerConfig("dot")})
	if _, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.Pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	if _, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.Pool(), NextProtos: []string{"h2"}}); err == nil {
		t.Error("another protocol is accepted")
	}
	plain := s.dial(t)
	sendAll(t, plain, framesOf(packQuestion(t, 1, "now.example")))
	_ = plain.CloseWrite()
	_, _ = io.Copy(io.Discard, plain)
	eventually(t, "three handshakes are counted", func() bool { return s.shed.of(ShedHandshake) == 3 })
}

// A session is resumed, and over a reload of the certificate too.
func TestDoTResumes(t *testing.T) {
	a := testpki.New(t, "root")
	files := serverFiles(t, a)
	certificates := loadCertificates(t, files)
	s := serveStreams(t, streamSetup{tls: certificates.ServerConfig("dot")})
	config := &tls.Config{RootCAs: a.Pool(), ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	resumed := func() bool {
		conn, err := dialTLS(t, s.Address().Addr, config)
		if err != nil {
			t.Fatal(err)
		}
		sendAll(t, conn, framesOf(packQuestion(t, 1, "now.example")))
		receiveFrame(t, conn) // and the ticket before it
		return conn.ConnectionState().DidResume
	}
	if resumed() {
		t.Error("resumed what there was not")
	}
	if !resumed() {
		t.Error("not resumed")
	}
	a.Renew(t, files.Certificate, files.Key, time.Now().Add(2*time.Hour))
	if err := certificates.Reload(); err != nil {
		t.Fatal(err)
	}
	if !resumed() {
		t.Error("not resumed after a reload")
	}
}

func TestDoTClientCertificates(t *testing.T) {
	servers, first, second := testpki.New(t, "servers"), testpki.New(t, "first"), testpki.New(t, "second")
	files := serverFiles(t, servers)
	files.ClientCA = filepath.Join(filepath.Dir(files.Key), "clients.pem")
	testpki.Put(t, files.ClientCA, first.PEM())
	certificates := loadCertificates(t, files)
	s := serveStreams(t, streamSetup{tls: certificates.ServerConfig("dot")})

	session := tls.NewLRUClientSessionCache(4)
	ask := func(who *testpki.Authority, cache tls.ClientSessionCache) (Query, error) {
		config := &tls.Config{RootCAs: servers.Pool(), ClientSessionCache: cache}
		if who != nil {
			subject := x509.Certificate{EmailAddresses: []string{"Alice@corp.example"}, DNSNames: []string{"laptop.corp.example"}}
			config.Certificates = []tls.Certificate{who.Client(t, subject)}
		}
		conn, err := dialTLS(t, s.Address().Addr, config)
		if err != nil {
			return Query{}, err
		}
		if _, err := conn.Write(framesOf(packQuestion(t, 1, "now.example"))); err != nil {
			return Query{}, err
		}
		if _, err := readFrame(conn); err != nil {
			return Query{}, err
		}
		return s.door.last(t), nil
	}

	want := &Peer{User: "alice@corp.example", Devices: []string{"laptop.corp.example"}, Source: "certificate"}
	for range 2 { // the second time resumed
		q, err := ask(first, session)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(q.Peer, want) {
			t.Errorf("the door saw %+v", q.Peer)
		}
	}
	if _, err := ask(nil, nil); err == nil {
		t.Error("answered without a certificate")
	}
	if _, err := ask(second, nil); err == nil {
		t.Error("answered with a certificate that nobody here knows")
	}

	// The authority is replaced: sessions made with the old one end too.
	testpki.Put(t, files.ClientCA, second.PEM())
	if err := certificates.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(second, nil); err != nil {
		t.Errorf("the new authority is not believed: %v", err)
	}
	if _, err := ask(first, nil); err == nil {
		t.Error("the old authority is still believed")
	}
	if _, err := ask(nil, session); err == nil {
		t.Error("a session of the old authority is resumed")
	}
}

// The certificate is replaced while clients ask: none of them is disturbed, new
// ones see the new one.
func TestDoTReloadUnderLoad(t *testing.T) {
	a := testpki.New(t, "root")
	files := serverFiles(t, a)
	certificates := loadCertificates(t, files)
	s := serveStreams(t, streamSetup{tls: certificates.ServerConfig("dot")})
	stop := make(chan struct{})
	failures := make(chan error, 4)
	for range 4 {
		conn, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		query := framesOf(packQuestion(t, 1, "now.example"), packQuestion(t, 2, "later.example"))
		go func() {
			for {
				select {
				case <-stop:
					failures <- nil
					return
				default:
				}
				_, err := conn.Write(query)
				for range 2 {
					_, replyErr := readFrame(conn)
					err = errors.Join(err, replyErr)
				}
				if err != nil {
					failures <- err
					return
				}
			}
		}()
	}
	for i := range 10 {
		expiry := time.Now().Add(time.Duration(i+2) * time.Hour)
		a.Renew(t, files.Certificate, files.Key, expiry)
		if err := certificates.Reload(); err != nil {
			t.Fatal(err)
		}
		conn, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().PeerCertificates[0].NotAfter; got.Unix() != expiry.Unix() {
			t.Errorf("a new client sees %v, want %v", got, expiry)
		}
	}
	close(stop)
	for range 4 {
		if err := <-failures; err != nil {
			t.Errorf("a client was disturbed: %v", err)
		}
	}
}
