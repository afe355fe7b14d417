package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// origin is a TLS server for every name on the stage. It says each line that
// it hears back, so that one exchange stands for a visit, and an open
// connection for a meeting.
type origin struct {
	listener net.Listener
	trust    *x509.CertPool // what its certificate is signed by

	mu      sync.Mutex
	open    map[net.Conn]bool // nil once closed
	serving sync.WaitGroup
}

// openOrigin binds a free port on loopback and serves until close.
func openOrigin(names []string) (*origin, error) {
	certificate, err := selfSigned(names)
	if err != nil {
		return nil, fmt.Errorf("make the origin's certificate: %w", err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		return nil, fmt.Errorf("open the TLS origin: %w", err)
	}
	o := &origin{listener: listener, trust: x509.NewCertPool(), open: map[net.Conn]bool{}}
	o.trust.AddCert(certificate.Leaf)
	o.serving.Go(o.serve)
	return o, nil
}

func (o *origin) port() int { return o.listener.Addr().(*net.TCPAddr).Port }

// close ends every connection, and returns when all are gone.
func (o *origin) close() error {
	err := o.listener.Close()
	o.mu.Lock()
	for conn := range o.open {
		conn.Close()
	}
	o.open = nil
	o.mu.Unlock()
	o.serving.Wait()
	return err
}

func (o *origin) serve() {
	for {
		conn, err := o.listener.Accept()
		if err != nil {
			return // closed
		}
		if !o.admit(conn) {
			conn.Close()
			return
		}
		o.serving.Go(func() {
			defer o.dismiss(conn)
			echo(conn)
		})
	}
}

func (o *origin) admit(conn net.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		return false
	}
	o.open[conn] = true
	return true
}

func (o *origin) dismiss(conn net.Conn) {
	o.mu.Lock()
	delete(o.open, conn)
	o.mu.Unlock()
	conn.Close()
}

func echo(conn net.Conn) {
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return // the client has gone, or was cut off
		}
		if _, err := io.WriteString(conn, line); err != nil {
			return
		}
	}
}

func selfSigned(names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "sallyport demo"},
		DNSNames:              names,
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
