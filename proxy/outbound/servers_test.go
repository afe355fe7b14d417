package outbound

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// The parents of the tests. They know the names that nobody else can resolve,
// and write down what they are asked.

// notes is what a parent was asked. Safe for concurrent use.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

func (n *notes) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lines)
}

// network is what a parent reaches: names and addresses, to where they really are.
type network map[string]netip.AddrPort

func (n network) dial(host string, port uint16) (net.Conn, error) {
	at, known := n[net.JoinHostPort(host, strconv.Itoa(int(port)))]
	if !known {
		return nil, errors.New("unknown destination")
	}
	return net.Dial("tcp", at.String())
}

// join carries bytes both ways until both sides have ended.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	one := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
			return
		}
		_ = to.Close()
	}
	both.Go(func() { one(a, b) })
	both.Go(func() { one(b, a) })
	both.Wait()
	_ = b.Close()
}

// httpParent is an HTTP proxy.
type httpParent struct {
	notes
	network network
	answer  string // to everything, in place of doing it
	user    string // user:password; empty: anybody
}

func (p *httpParent) talk(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		p.add(r.Method + " " + r.RequestURI)
		switch {
		case p.answer != "":
			_, _ = io.WriteString(conn, p.answer)
			return
		case p.user != "" && r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(p.user)):
			_, _ = io.WriteString(conn, "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")
		case r.Method == http.MethodConnect:
			p.tunnel(conn, reader, r)
			return
		default:
			if !p.forward(conn, r) {
				return
			}
		}
	}
}

// tunnel says 200 together with what the destination says first, in one piece.
func (p *httpParent) tunnel(conn net.Conn, early io.Reader, r *http.Request) {
	host, port := splitHostPort(r.RequestURI)
	origin, err := p.network.dial(host, port)
	if err != nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry")
		return
	}
	greeting := make([]byte, 64)
	_ = origin.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	n, _ := origin.Read(greeting)
	_ = origin.SetReadDeadline(time.Time{})
	_, _ = conn.Write(append([]byte("HTTP/1.1 200 Connection established\r\nX-Parent: yes\r\n\r\n"), greeting[:n]...))
	join(conn, origin)
}

// forward answers a plain request by itself, with what it was asked.
func (p *httpParent) forward(conn net.Conn, r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	text := r.Method + " " + r.RequestURI + " " + r.Host + " " + string(body)
	_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(text))+"\r\n\r\n"+text)
	return err == nil
}

func splitHostPort(authority string) (string, uint16) {
	host, text, err := net.SplitHostPort(authority)
	if err != nil {
		return "", 0
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0
	}
	return host, uint16(port)
}

// socksParent is a SOCKS 5 proxy.
type socksParent struct {
	notes
	network network
	reply   byte   // to every request
	user    string // user:password; empty: anybody
	raw     []byte // to the greeting, in place of everything
}

func (p *socksParent) talk(conn net.Conn) {
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(conn, methods); err != nil {
		return
	}
	if p.raw != nil {
		_, _ = conn.Write(p.raw)
		return
	}
	if !p.admit(conn, methods) {
		return
	}
	var request [4]byte
	if _, err := io.ReadFull(conn, request[:]); err != nil {
		return
	}
	host, port := readSOCKSAddress(conn, request[3])
	p.add(strconv.Itoa(int(request[3])) + " " + net.JoinHostPort(host, strconv.Itoa(int(port))))
	origin, err := p.network.dial(host, port)
	switch {
	case p.reply != 0:
		_, _ = conn.Write([]byte{5, p.reply})
		return
	case err != nil:
		_, _ = conn.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	greeting := make([]byte, 64)
	_ = origin.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	n, _ := origin.Read(greeting)
	_ = origin.SetReadDeadline(time.Time{})
	_, _ = conn.Write(append([]byte{5, 0, 0, 3, 3, 'a', '.', 'b', 1, 1}, greeting[:n]...))
	join(conn, origin)
}

func (p *socksParent) admit(conn net.Conn, methods []byte) bool {
	if p.user == "" {
		_, err := conn.Write([]byte{5, 0})
		return err == nil
	}
	if !bytes.Contains(methods, []byte{2}) {
		_, _ = conn.Write([]byte{5, 0xff})
		return false
	}
	_, _ = conn.Write([]byte{5, 2})
	var version [1]byte
	_, _ = io.ReadFull(conn, version[:])
	user, password := readCounted(conn), readCounted(conn)
	if user+":"+password != p.user {
		_, _ = conn.Write([]byte{1, 1})
		return false
	}
	_, err := conn.Write([]byte{1, 0})
	return err == nil
}

func readCounted(r io.Reader) string {
	var n [1]byte
	_, _ = io.ReadFull(r, n[:])
	text := make([]byte, n[0])
	_, _ = io.ReadFull(r, text)
	return string(text)
}

func readSOCKSAddress(r io.Reader, kind byte) (string, uint16) {
	host := ""
	switch kind {
	case 1:
		var a [4]byte
		_, _ = io.ReadFull(r, a[:])
		host = netip.AddrFrom4(a).String()
	case 4:
		var a [16]byte
		_, _ = io.ReadFull(r, a[:])
		host = netip.AddrFrom16(a).String()
	case 3:
		host = readCounted(r)
	}
	var port [2]byte
	_, _ = io.ReadFull(r, port[:])
	return host, binary.BigEndian.Uint16(port[:])
}

// inTLS wraps a parent's conversation into TLS, with a certificate for
// localhost; the file is that of its authority.
func inTLS(t testing.TB, talk func(net.Conn)) (wrapped func(net.Conn), caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "parent"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"parent.corp.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}}
	return func(conn net.Conn) {
		secure := tls.Server(conn, config)
		talk(secure)
		_ = secure.Close()
	}, caFile
}

// secretFile is a file of credentials.
func secretFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parent.secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func endpoint(scheme string, at netip.AddrPort) Endpoint {
	return Endpoint{Scheme: scheme, Host: at.Addr().String(), Port: at.Port()}
}

// echo says hello first, and then everything that it hears; it half-closes when
// the other side does.
func echo(conn net.Conn) {
	_, _ = io.WriteString(conn, "hello ")
	_, _ = io.Copy(conn, conn)
	_ = conn.(*net.TCPConn).CloseWrite()
}

// wantEcho talks to echo, and fails where a byte is missing.
func wantEcho(t *testing.T, conn Conn) {
	t.Helper()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "world"); err != nil {
		t.Error(err)
	}
	if err := conn.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello world" {
		t.Errorf("read %q, %v, want everything that the destination said", got, err)
	}
}
