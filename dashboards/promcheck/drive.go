package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// drive sends one of everything through the gateway: refused, rehearsed, allowed
// and warned of, at both doors, straight and by way of a parent, and past a warning.
func (g *gateway) drive() error {
	for _, name := range []string{"zoom.us", "rehearsed.example", "plain.example"} {
		if err := g.ask(name); err != nil {
			return err
		}
	}
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer origin.Close()
	for _, target := range []string{"zoom.us:443", origin.Addr().String(), "rehearsed.example:1", "parent.example:443"} {
		response, err := g.through("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
	}
	return g.goOn()
}

// ask asks the DNS door for the address of a name.
func (g *gateway) ask(name string) error {
	conn, err := net.Dial("udp", g.addresses["dns udp"])
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write(question(name)); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 4096)); err != nil {
		return fmt.Errorf("ask for %q: %w", name, err)
	}
	return nil
}

// question is a query for the address of a name (RFC 1035 §4).
func question(name string) []byte {
	query := []byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0} // recursion desired, one question
	for label := range strings.SplitSeq(name, ".") {
		query = append(append(query, byte(len(label))), label...)
	}
	return append(query, 0, 0, 1, 0, 1) // A, IN
}

// replyTo answers a query for an address with 127.0.0.1, and others with nothing.
func replyTo(query []byte) (reply []byte, ok bool) {
	const header = 12
	end := header
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	if end += 5; end > len(query) {
		return nil, false
	}
	reply = append([]byte(nil), query[:end]...)
	reply[2], reply[3] = 0x81, 0x80                       // a reply, recursion available
	copy(reply[4:header], []byte{0, 1, 0, 0, 0, 0, 0, 0}) // one question
	if wanted := query[end-4 : end-2]; wanted[1] == 1 {   // A
		reply[7] = 1
		reply = append(reply, 0xC0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	return reply, true
}

// through sends a request to the proxy door, and gives the head of its answer.
func (g *gateway) through(request string) (*http.Response, error) {
	conn, err := net.Dial("tcp", g.addresses["proxy http"])
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	method, _, _ := strings.Cut(request, " ")
	return http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
}

// goOn continues past a warning, as somebody who presses the button. Who has
// done so before is not warned again.
func (g *gateway) goOn() error {
	warned, err := g.through("GET http://coached.example/ HTTP/1.1\r\nHost: coached.example\r\n\r\n")
	if err != nil {
		return err
	}
	_ = warned.Body.Close()
	link := warned.Header.Get("X-Sallyport-Continue")
	if link == "" {
		return nil
	}
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Post(link, "application/x-www-form-urlencoded", nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// writeCertificate makes a certificate for a server that has signed itself.
func writeCertificate(certificate, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	sheet := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"gate.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, sheet, sheet, private.Public(), private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
	)
}
