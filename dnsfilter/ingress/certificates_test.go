package ingress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// authority signs certificates of tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate: certificate, key: key}
}

// sign makes a certificate for 127.0.0.1 and returns it and its key as PEM.
func (a *authority) sign(t testing.TB, subject x509.Certificate) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	subject.SerialNumber = big.NewInt(time.Now().UnixNano())
	subject.NotBefore = time.Now().Add(-time.Hour)
	if subject.NotAfter.IsZero() {
		subject.NotAfter = time.Now().Add(time.Hour)
	}
	subject.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	subject.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, &subject, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// client is the certificate of a client.
func (a *authority) client(t testing.TB, subject x509.Certificate) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.sign(t, subject))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// put writes a file as a careful administrator would: whole, then renamed.
func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// serverFiles writes a server's certificate and key.
func (a *authority) serverFiles(t testing.TB) CertificateFiles {
	t.Helper()
	dir := t.TempDir()
	files := CertificateFiles{Certificate: filepath.Join(dir, "dns.pem"), Key: filepath.Join(dir, "dns.key")}
	a.renew(t, files, time.Now().Add(time.Hour))
	return files
}

// renew replaces a server's certificate and key.
func (a *authority) renew(t testing.TB, files CertificateFiles, notAfter time.Time) {
	t.Helper()
	certificate, key := a.sign(t, x509.Certificate{NotAfter: notAfter, DNSNames: []string{"dns.example"}})
	put(t, files.Certificate, certificate)
	put(t, files.Key, key)
}

func loadCertificates(t testing.TB, files CertificateFiles) *Certificates {
	t.Helper()
	c, err := LoadCertificates(files, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificatesRefused(t *testing.T) {
	a := newAuthority(t, "root")
	other := a.serverFiles(t)
	tests := []struct {
		name  string
		spoil func(t *testing.T, files *CertificateFiles)
		want  string
	}{
		{"no file", func(t *testing.T, f *CertificateFiles) { f.Certificate += ".missing" }, "no such file"},
		{"no certificate named", func(t *testing.T, f *CertificateFiles) { f.Certificate = "" }, "no such file"},
		{"another key", func(t *testing.T, f *CertificateFiles) { f.Key = other.Key }, "does not match"},
		{"no PEM", func(t *testing.T, f *CertificateFiles) { put(t, f.Certificate, []byte("none")) }, "failed to find any PEM"},
		{"a folder", func(t *testing.T, f *CertificateFiles) { f.Certificate = filepath.Dir(f.Key) }, "not a regular file"},
		{"too large", func(t *testing.T, f *CertificateFiles) { put(t, f.Certificate, make([]byte, maxCertificateFile+1)) }, "larger than"},
		{"no authority", func(t *testing.T, f *CertificateFiles) { f.ClientCA = f.Key }, "no certificate in it"},
		{"key that all can read", func(t *testing.T, f *CertificateFiles) {
			if runtime.GOOS == "windows" {
				t.Skip("no such bits")
			}
			if err := os.Chmod(f.Key, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "run chmod 600"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := a.serverFiles(t)
			test.spoil(t, &files)
			_, err := LoadCertificates(files, zap.NewNop())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestCertificatesReload(t *testing.T) {
	a := newAuthority(t, "root")
	files := a.serverFiles(t)
	core, logs := observer.New(zapcore.InfoLevel)
	c, err := LoadCertificates(files, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	c.every = 0
	first := c.NotAfter()

	c.look(time.Now())
	if !c.NotAfter().Equal(first) || logs.Len() != 0 {
		t.Fatalf("files that have not changed were read: %v", logs.All())
	}

	// Half of a new pair is no pair; it is said once, however often it is seen.
	later := first.Add(time.Hour).Truncate(time.Second)
	certificate, key := a.sign(t, x509.Certificate{NotAfter: later})
	put(t, files.Certificate, certificate)
	for range 3 {
		c.look(time.Now())
	}
	if !c.NotAfter().Equal(first) {
		t.Error("half a pair was taken")
	}
	if n := logs.FilterMessageSnippet("not reloaded").Len(); n != 1 {
		t.Errorf("%d complaints", n)
	}
	if err := c.Reload(); err == nil {
		t.Error("Reload takes half a pair")
	}

	put(t, files.Key, key)
	c.look(time.Now())
	if !c.NotAfter().Equal(later) {
		t.Errorf("expiry %v, want %v", c.NotAfter(), later)
	}
	if n := logs.FilterMessage("certificate reloaded").Len(); n != 1 {
		t.Errorf("%d reloads in the log", n)
	}

	// Looks are rare: another pair is not seen before its time, but by Reload.
	c.every = time.Hour
	a.renew(t, files, first.Add(2*time.Hour))
	c.look(time.Now())
	if !c.NotAfter().Equal(later) {
		t.Error("looked too soon")
	}
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	if c.NotAfter().Equal(later) {
		t.Error("Reload changed nothing")
	}
}

func TestCertificatesExpired(t *testing.T) {
	a := newAuthority(t, "root")
	files := a.serverFiles(t)
	a.renew(t, files, time.Now().Add(-time.Minute))
	core, logs := observer.New(zapcore.WarnLevel)
	if _, err := LoadCertificates(files, zap.New(core)); err != nil {
		t.Fatalf("an expired certificate keeps the door shut: %v", err)
	}
	if logs.FilterMessageSnippet("expired").Len() != 1 {
		t.Error("nobody was warned")
	}
}

func TestCertificatePeer(t *testing.T) {
	tests := []struct {
		name        string
		certificate x509.Certificate
		want        *Peer
	}{
		{"user", x509.Certificate{EmailAddresses: []string{"Alice@Corp.Example", "bob@corp.example"}},
			&Peer{User: "alice@corp.example", Source: "certificate"}},
		{"devices", x509.Certificate{DNSNames: []string{"Laptop-7.Corp.Example", "laptop-7"}, Subject: pkix.Name{CommonName: "ignored"}},
			&Peer{Devices: []string{"laptop-7.corp.example", "laptop-7"}, Source: "certificate"}},
		{"common name", x509.Certificate{Subject: pkix.Name{CommonName: "Kiosk"}},
			&Peer{Devices: []string{"kiosk"}, Source: "certificate"}},
		{"both", x509.Certificate{EmailAddresses: []string{"a@b.example"}, Subject: pkix.Name{CommonName: "Kiosk"}},
			&Peer{User: "a@b.example", Devices: []string{"kiosk"}, Source: "certificate"}},
		{"nobody", x509.Certificate{}, nil},
		{"a name with a space", x509.Certificate{Subject: pkix.Name{CommonName: "Alice Smith"}}, nil},
		{"a name with a line break", x509.Certificate{EmailAddresses: []string{"a@b\nadmin"}, DNSNames: []string{"x\x00y"}}, nil},
		{"bad DNS names are not made up for", x509.Certificate{DNSNames: []string{"x y"}, Subject: pkix.Name{CommonName: "kiosk"}}, nil},
		{"a long name", x509.Certificate{DNSNames: []string{strings.Repeat("x", 254), "y"}}, &Peer{Devices: []string{"y"}, Source: "certificate"}},
		{"many names", x509.Certificate{DNSNames: strings.Split(strings.Repeat("x ", 40)+"x", " ")},
			&Peer{Devices: strings.Split(strings.Repeat("x ", 15)+"x", " "), Source: "certificate"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := CertificatePeer(&test.certificate); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

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
	a := newAuthority(t, "root")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := serveStreams(t, streamSetup{tls: loadCertificates(t, a.serverFiles(t)).serverConfig("dot")})
		conn, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.pool(), NextProtos: []string{"dot"}, MaxVersion: version})
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
	a := newAuthority(t, "root")
	s := serveStreams(t, streamSetup{tls: loadCertificates(t, a.serverFiles(t)).serverConfig("dot")})
	if _, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	if _, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.pool(), NextProtos: []string{"h2"}}); err == nil {
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
	a := newAuthority(t, "root")
	files := a.serverFiles(t)
	certificates := loadCertificates(t, files)
	s := serveStreams(t, streamSetup{tls: certificates.serverConfig("dot")})
	config := &tls.Config{RootCAs: a.pool(), ClientSessionCache: tls.NewLRUClientSessionCache(4)}
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
	a.renew(t, files, time.Now().Add(2*time.Hour))
	if err := certificates.Reload(); err != nil {
		t.Fatal(err)
	}
	if !resumed() {
		t.Error("not resumed after a reload")
	}
}

func TestDoTClientCertificates(t *testing.T) {
	servers, first, second := newAuthority(t, "servers"), newAuthority(t, "first"), newAuthority(t, "second")
	files := servers.serverFiles(t)
	files.ClientCA = filepath.Join(filepath.Dir(files.Key), "clients.pem")
	put(t, files.ClientCA, first.pem())
	certificates := loadCertificates(t, files)
	s := serveStreams(t, streamSetup{tls: certificates.serverConfig("dot")})

	session := tls.NewLRUClientSessionCache(4)
	ask := func(who *authority, cache tls.ClientSessionCache) (Query, error) {
		config := &tls.Config{RootCAs: servers.pool(), ClientSessionCache: cache}
		if who != nil {
			subject := x509.Certificate{EmailAddresses: []string{"Alice@corp.example"}, DNSNames: []string{"laptop.corp.example"}}
			config.Certificates = []tls.Certificate{who.client(t, subject)}
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
	put(t, files.ClientCA, second.pem())
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
	a := newAuthority(t, "root")
	files := a.serverFiles(t)
	certificates := loadCertificates(t, files)
	certificates.every = 0
	s := serveStreams(t, streamSetup{tls: certificates.serverConfig("dot")})
	stop := make(chan struct{})
	failures := make(chan error, 4)
	for range 4 {
		conn, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.pool()})
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
		a.renew(t, files, expiry)
		conn, err := dialTLS(t, s.Address().Addr, &tls.Config{RootCAs: a.pool()})
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
