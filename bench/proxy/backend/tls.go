//go:build linux

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"
)

// pages serves the small page over TLS 1.3.
type pages struct {
	listener net.Listener
	config   *tls.Config
}

func listenTLS(at netip.AddrPort) (*pages, error) {
	certificate, err := certify()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", at.String())
	if err != nil {
		return nil, err
	}
	return &pages{listener: listener, config: &tls.Config{
		Certificates:           []tls.Certificate{certificate},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true, // every tunnel is a new client
	}}, nil
}

// certify makes a certificate that nobody is asked to believe.
func certify() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"backend.example"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, nil
}

func (p *pages) serve() error {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return err
		}
		go p.answer(conn) // ends with its client, or after the deadline
	}
}

// answer serves one request, and closes.
func (p *pages) answer(raw net.Conn) {
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Server(raw, p.config)
	var request []byte
	piece := make([]byte, 1<<10)
	for !bytes.HasSuffix(request, endOfHead) {
		n, err := conn.Read(piece)
		request = append(request, piece[:n]...)
		if err != nil || len(request) > 16<<10 {
			return
		}
	}
	_, _ = conn.Write(whole) // a client that is gone is not waiting
}
