package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	pageca "github.com/sallyport/sallyport/authority"
)

// refusedPage is a port at which a name is refused with a page over TLS, as the
// proxy door does it. Who gets there is no matter here: see the door's own
// tests.
type refusedPage struct {
	name     string
	port     int
	registry *prometheus.Registry
	files    pageca.Files
}

// startRefusedPage makes an authority with the binary, for zoom.us and
// localhost, and answers for one name with it.
func startRefusedPage(t *testing.T, name string) *refusedPage {
	t.Helper()
	dir := t.TempDir()
	p := &refusedPage{
		name:     name,
		registry: prometheus.NewRegistry(),
		files:    pageca.Files{Certificate: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key")},
	}
	made := run(t, dir, sallyport(t), "ca", "init", "--certificate", p.files.Certificate, "--key", p.files.Key,
		"--organisation", "Example Rockets", "--permit", "zoom.us", "--permit", "localhost")
	if made.code != 0 {
		t.Fatalf("ca init: %d\n%s", made.code, made.stderr)
	}
	a, err := pageca.Load(p.files, pageca.Dependencies{Registerer: p.registry})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	p.port = listener.Addr().(*net.TCPAddr).Port
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.answer(ctx, a, conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		stop()
		serving.Wait()
	})
	return p
}

func (p *refusedPage) answer(ctx context.Context, a *pageca.Authority, conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(programTimeout))
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	hello := make([]byte, 5)
	if _, err := io.ReadFull(conn, hello); err != nil {
		_ = conn.Close()
		return
	}
	rest := make([]byte, int(hello[3])<<8|int(hello[4]))
	if _, err := io.ReadFull(conn, rest); err != nil {
		_ = conn.Close()
		return
	}
	a.Serve(ctx, conn, append(hello, rest...), p.name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<!doctype html><title>Blocked</title><p>Zoom is off since 28 March: %s", r.URL.Path)
	}))
}

func (p *refusedPage) url(path string) string {
	return "https://" + net.JoinHostPort(p.name, strconv.Itoa(p.port)) + path
}

// counted is how often something came of a connection.
func (p *refusedPage) counted(t *testing.T, result string) int {
	t.Helper()
	families, err := p.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "sallyport_proxy_intercepted_total" && m.GetLabel()[0].GetValue() == result {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	t.Fatalf("no series for %s", result)
	return 0
}

// wantCounted waits for a result to be counted: a client may be done before we are.
func (p *refusedPage) wantCounted(t *testing.T, result string) {
	t.Helper()
	eventually(t, result+" to be counted", func() error {
		if p.counted(t, result) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
}

// prefer gives the path of a program that CI need not have.
func prefer(t *testing.T, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: it is in Debian's %s", program, debian)
	}
	return path
}

// pageClients fetch a page, and trust the file of an authority besides what
// the machine trusts; without one they trust no more than that.
func pageClients() []struct {
	name  string
	fetch func(t *testing.T, p *refusedPage, ca string) string
} {
	curl := func(flags ...string) func(t *testing.T, p *refusedPage, ca string) string {
		return func(t *testing.T, p *refusedPage, ca string) string {
			t.Helper()
			args := append(flags, "-sS", "--noproxy", "*", "--resolve", fmt.Sprintf("%s:%d:127.0.0.1", p.name, p.port))
			if ca != "" {
				args = append(args, "--cacert", ca)
			}
			return run(t, t.TempDir(), need(t, "curl"), append(args, p.url("/j/1"))...).stdout
		}
	}
	return []struct {
		name  string
		fetch func(t *testing.T, p *refusedPage, ca string) string
	}{
		{"curl, TLS 1.2", curl("--tls-max", "1.2")},
		{"curl, TLS 1.3", curl("--tlsv1.3")},
		{"curl, HTTP/1.0", curl("--http1.0")},
		{"Chromium", chromiumPage},
	}
}

func chromiumPage(t *testing.T, p *refusedPage, ca string) string {
	t.Helper()
	chromium, home := need(t, "chromium"), t.TempDir()
	if ca != "" {
		store := filepath.Join(home, ".pki", "nssdb")
		if err := os.MkdirAll(store, 0o700); err != nil {
			t.Fatal(err)
		}
		certutil := prefer(t, "certutil", "libnss3-tools")
		for _, args := range [][]string{{"-N", "--empty-password"}, {"-A", "-t", "C,,", "-n", "block pages", "-i", ca}} {
			if r := run(t, home, certutil, append([]string{"-d", "sql:" + store}, args...)...); r.code != 0 {
				t.Fatalf("certutil %v: %s", args, r.stderr)
			}
		}
	}
	return run(t, home, chromium,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-extensions", "--user-data-dir="+filepath.Join(home, "chromium"), "--no-proxy-server",
		"--host-resolver-rules=MAP "+p.name+" 127.0.0.1", "--dump-dom", p.url("/j/1")).stdout
}

// TestAuthorityTrusted has clients that trust the authority: they see the page.
func TestAuthorityTrusted(t *testing.T) {
	for _, client := range pageClients() {
		t.Run(client.name, func(t *testing.T) {
			p := startRefusedPage(t, "us04web.zoom.us")
			if page := client.fetch(t, p, p.files.Certificate); !strings.Contains(page, "Zoom is off since 28 March: /j/1") {
				t.Errorf("it shows %q", lastLines(page, 20))
			}
			p.wantCounted(t, "shown")
		})
	}
}

// TestAuthorityUntrusted has clients that do not: they see no page, and we know
// why.
func TestAuthorityUntrusted(t *testing.T) {
	for _, client := range pageClients() {
		t.Run(client.name, func(t *testing.T) {
			p := startRefusedPage(t, "us04web.zoom.us")
			if page := client.fetch(t, p, ""); strings.Contains(page, "28 March") {
				t.Errorf("it shows the page: %q", page)
			}
			p.wantCounted(t, "untrusted")
			if n := p.counted(t, "shown") + p.counted(t, "failed"); n > 0 {
				t.Errorf("%d connections were counted otherwise", n)
			}
		})
	}
}

// TestAuthorityWithOpenSSL has another implementation judge what was signed.
func TestAuthorityWithOpenSSL(t *testing.T) {
	openssl := need(t, "openssl")
	p := startRefusedPage(t, "us04web.zoom.us")
	a, err := pageca.Load(p.files, pageca.Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(der []byte, kind, name string) result {
		t.Helper()
		path := filepath.Join(t.TempDir(), "leaf.crt")
		writeFile(t, path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		return run(t, t.TempDir(), openssl, "verify", "-x509_strict", "-purpose", "sslserver", kind, name, "-CAfile", p.files.Certificate, path)
	}
	leaf, err := a.Leaf("us04web.zoom.us")
	if err != nil {
		t.Fatal(err)
	}
	if r := verify(leaf.Certificate[0], "-verify_hostname", "us04web.zoom.us"); r.code != 0 {
		t.Errorf("a leaf is refused: %s%s", r.stdout, r.stderr)
	}
	if r := verify(leaf.Certificate[0], "-verify_hostname", "zoom.us"); r.code == 0 {
		t.Error("a leaf is good for another name")
	}
	// What somebody could do who has stolen the key.
	for _, forged := range []struct {
		kind, name string
		template   x509.Certificate
	}{
		{"-verify_hostname", "www.bank.example", x509.Certificate{DNSNames: []string{"www.bank.example"}}},
		{"-verify_ip", "192.0.2.7", x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7)}}},
	} {
		if r := verify(stolen(t, p.files, &forged.template), forged.kind, forged.name); r.code == 0 || !strings.Contains(r.stderr, "subtree violation") {
			t.Errorf("with the key one can pass for %s: %s%s", forged.name, r.stdout, r.stderr)
		}
	}
	if r := run(t, t.TempDir(), openssl, "x509", "-in", p.files.Certificate, "-noout", "-text"); !strings.Contains(r.stdout, "Name Constraints: critical") {
		t.Errorf("no critical name constraints:\n%s", r.stdout)
	}
}

// stolen signs whatever it is told, with the authority's key.
func stolen(t *testing.T, f pageca.Files, template *x509.Certificate) []byte {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, pair.Leaf, &key.PublicKey, pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
