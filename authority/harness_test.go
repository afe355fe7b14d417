package authority

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waitLimit is how long a test waits for what should take milliseconds. It is
// spent only where the test fails anyway.
const waitLimit = 15 * time.Second

func options(permit ...string) Options {
	return Options{
		Organisation:  "Example Rockets",
		Permit:        permit,
		Unconstrained: len(permit) == 0,
		NotBefore:     time.Now().Add(-2 * time.Hour),
		NotAfter:      time.Now().Add(365 * 24 * time.Hour),
	}
}

func mustCreate(t testing.TB, o Options) Pair {
	t.Helper()
	p, err := Create(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// put writes a file as a careful administrator would: whole, then renamed.
func put(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".tmp", data, mode), os.Chmod(path+".tmp", mode), os.Rename(path+".tmp", path)); err != nil {
		t.Fatal(err)
	}
}

// filesOf writes a pair into a folder of its own.
func filesOf(t testing.TB, p Pair) Files {
	t.Helper()
	dir := t.TempDir()
	f := Files{Certificate: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key")}
	put(t, f.Certificate, p.Certificate, 0o644)
	put(t, f.Key, p.Key, 0o600)
	return f
}

// loaded makes an authority for names and loads it; without names it is
// unconstrained.
func loaded(t testing.TB, permit ...string) (*Authority, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	a, err := Load(filesOf(t, mustCreate(t, options(permit...))), Dependencies{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	return a, registry
}

// trusting are the roots of a client that trusts an authority.
func trusting(a *Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	return pool
}

// metric is the value of one series, written as name{label}.
func metric(t testing.TB, registry *prometheus.Registry, series string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, pair := range m.GetLabel() {
				name += "{" + pair.GetValue() + "}"
			}
			if name == series {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no series %s", series)
	return 0
}

func wantResult(t testing.TB, registry *prometheus.Registry, want result) {
	t.Helper()
	for _, r := range []result{resultShown, resultUnused, resultUntrusted, resultNoLeaf, resultFailed} {
		got, expected := metric(t, registry, "sallyport_proxy_intercepted_total{"+string(r)+"}"), 0.0
		if r == want {
			expected = 1
		}
		if got != expected {
			t.Errorf("%s is counted %v times, want %v", r, got, expected)
		}
	}
}

// connected are both ends of a TCP connection over loopback.
func connected(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client, server = dialled.(*net.TCPConn), accepted.(*net.TCPConn)
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// serving runs Serve at the server's end of a connection, as the proxy does it:
// with the ClientHello read already. The channel gives what Serve returned.
func serving(t testing.TB, a *Authority, server *net.TCPConn, name string, page http.Handler) <-chan bool {
	t.Helper()
	done := make(chan bool, 1)
	go func() {
		hello, err := readHello(server)
		if err != nil && len(hello) == 0 {
			_ = server.Close()
			done <- false
			return
		}
		done <- a.Serve(t.Context(), server, hello, name, page)
	}()
	return done
}

// readHello reads the first record of a connection.
func readHello(conn net.Conn) ([]byte, error) {
	hello := make([]byte, 5)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return nil, err
	}
	body := make([]byte, int(hello[3])<<8|int(hello[4]))
	n, err := io.ReadFull(conn, body)
	return append(hello, body[:n]...), err
}

// wait is what comes out of a channel in time.
func wait[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(waitLimit):
		t.Fatal("waited in vain")
		panic("not reached")
	}
}

// memo is a page that says what it was asked.
func memo() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "no: %s %s%s", r.Method, r.Host, r.URL.Path)
	})
}

// realHellos are ClientHellos as programs send them.
func realHellos(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/hello/*.hex")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no hellos: %v", err)
	}
	hellos := map[string][]byte{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		hello, err := hex.DecodeString(string(bytes.ReplaceAll(bytes.TrimSpace(text), []byte("\n"), nil)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		hellos[strings.TrimSuffix(filepath.Base(path), ".hex")] = hello
	}
	return hellos
}

// client is a TLS client at its end of a connection.
func client(conn net.Conn, roots *x509.CertPool, name string) *tls.Conn {
	return tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"h2", "http/1.1"}})
}
