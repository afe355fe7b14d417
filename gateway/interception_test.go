package gateway

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// year is a long life for an authority of a test.
const year = 365 * 24 * time.Hour

const browserHeader = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/153.0\r\n"

// startIntercepting runs a gateway with an authority for zoom.us, and gives the
// certificates that the portal hands out, for a client to trust.
func startIntercepting(t *testing.T, clients string) (*running, *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	writeAuthority(t, dir, year, "zoom.us")
	g := start(t, memo, func(c *Config, _ *Dependencies) {
		c.Proxy.Interception = InterceptionConfig{CA: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key"), Clients: clients}
	})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get("http://" + g.addr("portal http") + "/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	der, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the portal's certificate: %s, %v", response.Status, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return g, roots
}

// secured opens a tunnel and does a TLS handshake in it.
func (r *running) secured(header, target string, roots *x509.CertPool) (*tls.Conn, int, error) {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr("proxy http"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	response, err := sendConnect(conn, target, header)
	if err != nil {
		r.t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, response.StatusCode, nil
	}
	host, _, _ := net.SplitHostPort(target)
	tunnel := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: host})
	return tunnel, response.StatusCode, tunnel.Handshake()
}

// TestRefusalOverHTTPS has a browser see why, and leaves everything else as it
// is without an authority.
func TestRefusalOverHTTPS(t *testing.T) {
	g, roots := startIntercepting(t, "browsers")
	conn, _, err := g.secured(browserHeader, "us04web.zoom.us:443", roots)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(conn, "GET /j/1 HTTP/1.1\r\nHost: us04web.zoom.us\r\nAccept: text/html\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusForbidden || !strings.Contains(string(page), "zoom") || response.Header.Get("X-Sallyport-Rule") == "" {
		t.Errorf("%s %v %q, %v", response.Status, response.Header, page, err)
	}
	g.wantMetric(`sallyport_proxy_intercepted_total{result="shown"}`, "1")

	// A program that is no browser reads the 403.
	if _, status, _ := g.secured("User-Agent: git/2.39\r\n", "us04web.zoom.us:443", roots); status != http.StatusForbidden {
		t.Errorf("no browser: %d", status)
	}
	// Names that the authority may not sign for: none here, so refused by address.
	if _, status, _ := g.secured(browserHeader, "3.7.35.1:443", roots); status != http.StatusForbidden {
		t.Errorf("an address: %d", status)
	}
	// A client that does not trust the authority.
	if _, _, err := g.secured(browserHeader, "zoom.us:443", x509.NewCertPool()); err == nil {
		t.Error("a client that trusts nobody was satisfied")
	}
	g.wantMetric(`sallyport_proxy_intercepted_total{result="untrusted"}`, "1")
}

// TestAllowedIsNeverDecrypted goes to a server of its own: it is the server's
// certificate that arrives, and no leaf is signed.
func TestAllowedIsNeverDecrypted(t *testing.T) {
	g, roots := startIntercepting(t, "all")
	files := newDeviceFiles(t)
	endpoint := files.endpoint("")
	pair, err := tls.LoadX509KeyPair(endpoint.Certificate, endpoint.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_ = conn.(*tls.Conn).Handshake() // the client breaks off
			err = conn.Close()
		}
		served <- err
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	_, status, err := g.secured(browserHeader, "www.corp.example:"+port, roots)
	var unknown *tls.CertificateVerificationError
	if status != http.StatusOK || err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("status %d, %v", status, err)
	}
	if ok := errors.As(err, &unknown); !ok || len(unknown.UnverifiedCertificates) == 0 || !unknown.UnverifiedCertificates[0].Equal(pair.Leaf) {
		t.Errorf("it was not the server's certificate that arrived: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := g.metric("sallyport_proxy_interception_leaves_signed_total"); n != "0" {
		t.Errorf("%s leaves were signed", n)
	}
}

// TestEveryClient shows the page to programs, too.
func TestEveryClient(t *testing.T) {
	g, roots := startIntercepting(t, "all")
	if _, status, err := g.secured("User-Agent: git/2.39\r\n", "zoom.us:443", roots); status != http.StatusOK || err != nil {
		t.Errorf("%d, %v", status, err)
	}
}

// TestNoAuthority keeps the gateway shut where the authority is no good, and
// the portal from giving out what there is not.
func TestNoAuthority(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.yaml")
	writeFile(t, policy, memo)
	c := testConfig(t, policy)
	c.Proxy.Interception = InterceptionConfig{CA: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key")}
	if g, err := New(c, Dependencies{}); err == nil || !strings.Contains(err.Error(), "proxy.interception: ") {
		t.Errorf("a gateway without its authority: %v, %v", g, err)
	}
	g := start(t, memo, nil)
	response, err := http.Get("http://" + g.addr("portal http") + "/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if _ = response.Body.Close(); response.StatusCode != http.StatusNotFound {
		t.Errorf("a certificate without an authority: %s", response.Status)
	}
}
