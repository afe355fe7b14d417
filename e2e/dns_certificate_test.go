package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// doorName is the name in the certificates of the encrypted listeners.
const doorName = "dns.rockets.example"

// authority signs certificates for the encrypted listeners.
type authority struct {
	file string // PEM, to be trusted
	pool *x509.CertPool
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(dir, "authority.crt"), key: newKey(t), pool: x509.NewCertPool()}
	a.cert = &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "sallyport DNS scenarios"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der := sign(t, a.cert, a.cert, a.key, a.key)
	writePEM(t, a.file, "CERTIFICATE", der)
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(signed)
	return a
}

// serverCertificate writes server.crt and server.key into dir, as an admin's
// tool does: whole, and renamed over what was there. It gives the public key's
// hash, for Chromium.
func (a *authority) serverCertificate(t *testing.T, dir string, serial int64) (spki string) {
	t.Helper()
	key := newKey(t)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: doorName},
		DNSNames:     []string{doorName},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    a.cert.NotBefore,
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der := sign(t, leaf, a.cert, key, a.key)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	crt, private := filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	writePEM(t, crt+".new", "CERTIFICATE", der)
	writePEM(t, private+".new", "PRIVATE KEY", keyDER)
	for _, path := range []string{private, crt} {
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(public)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// dialDoT opens a verified DoT connection and gives the serial number of the
// certificate that came.
func dialDoT(server string, pool *x509.CertPool) (*tls.Conn, int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: doorName, NextProtos: []string{"dot"}, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, 0, err
	}
	c := conn.(*tls.Conn)
	return c, c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// askStream asks once over a connection on which messages have their length
// before them (RFC 1035 §4.2.2).
func askStream(conn net.Conn, id uint16, name string) (*dnsmessage.Message, error) {
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, message); err != nil {
		return nil, err
	}
	var reply dnsmessage.Message
	if err := reply.Unpack(message); err != nil {
		return nil, err
	}
	if reply.ID != id || reply.RCode != dnsmessage.RCodeSuccess || len(reply.Answers) != 1 {
		return nil, fmt.Errorf("id %#x for %#x, %v, %d answers", reply.ID, id, reply.RCode, len(reply.Answers))
	}
	return &reply, nil
}

// TestCertificateReplacedUnderLoad gives the DoT listener a new certificate
// while clients keep connections and others open new ones: nobody notices.
func TestCertificateReplacedUnderLoad(t *testing.T) {
	sallyport(t)
	upstream := startUnbound(t)
	dir := t.TempDir()
	a := newAuthority(t, dir)
	a.serverCertificate(t, dir, 100)
	g := startDoor(t, dir, upstreamLine(upstream)+encryptedLines)
	server := g.printed()["dns tls"]

	var asked, opened atomic.Int64
	var newest atomic.Int64
	quit := make(chan struct{})
	failures := make(chan error, 8)
	var clients sync.WaitGroup
	over := func() bool {
		select {
		case <-quit:
			return true
		default:
			return false
		}
	}
	for range 4 { // connections that are kept
		conn, _, err := dialDoT(server, a.pool)
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer conn.Close()
			for id := uint16(1); !over(); id++ {
				if _, err := askStream(conn, id, "www.rockets.example."); err != nil {
					failures <- fmt.Errorf("on a kept connection: %w", err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for range 2 { // and new ones all the time
		clients.Go(func() {
			for id := uint16(1); !over(); id++ {
				conn, serial, err := dialDoT(server, a.pool)
				if err == nil {
					_, err = askStream(conn, id, "zoom.us.")
					conn.Close()
				}
				if err != nil {
					failures <- fmt.Errorf("on a new connection: %w", err)
					return
				}
				opened.Add(1)
				newest.Store(serial)
			}
		})
	}
	for serial := int64(101); serial <= 105; serial++ {
		a.serverCertificate(t, dir, serial)
		eventually(t, fmt.Sprintf("certificate %d is shown", serial), func() error {
			if got := newest.Load(); got != serial {
				return fmt.Errorf("the newest seen is %d", got)
			}
			return nil
		})
	}

	// A broken pair leaves the last good one in place, and is told.
	writeFile(t, filepath.Join(dir, "server.crt"), []byte("no certificate"))
	eventually(t, "the log tells of the broken certificate", func() error {
		if text := g.stderr.String(); !strings.Contains(text, "server.crt") {
			return errors.New("nothing yet")
		}
		return nil
	})
	before := opened.Load()
	eventually(t, "connections are still opened", func() error {
		if opened.Load() < before+5 {
			return fmt.Errorf("%d", opened.Load())
		}
		return nil
	})
	if got := newest.Load(); got != 105 {
		t.Errorf("after a broken certificate %d is shown, want the last good one, 105", got)
	}
	close(quit)
	clients.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	t.Logf("%d queries on kept connections, %d new connections", asked.Load(), opened.Load())
}
