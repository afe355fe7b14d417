//go:build unix

package authority

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// BenchmarkLeaf is what a certificate costs for a name that is new and for one
// that is kept. The ratio is to the signature that a new one cannot do without.
func BenchmarkLeaf(b *testing.B) {
	a, _ := loaded(b, "zoom.us")
	var digest [32]byte
	signature := func() {
		if _, err := ecdsa.SignASN1(rand.Reader, a.leafKey, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
	const signatures = 400
	began := processorTime(b)
	for range signatures {
		signature()
	}
	unit := (processorTime(b) - began) / signatures
	report := func(b *testing.B, took time.Duration) {
		each := took / time.Duration(b.N)
		b.ReportMetric(float64(each)/1000, "cpu-us/op")
		b.ReportMetric(float64(each)/float64(unit), "signatures/op")
	}
	b.Run("new", func(b *testing.B) {
		a.current.Load().shelf = newShelf(maxLeaves, bucket{rate: 1, burst: 1e12})
		b.ReportAllocs()
		n, began := 0, processorTime(b)
		for b.Loop() {
			n++
			if _, err := a.Leaf(fmt.Sprintf("n%d.zoom.us", n)); err != nil {
				b.Fatal(err)
			}
		}
		report(b, processorTime(b)-began)
	})
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		began := processorTime(b)
		for b.Loop() {
			if _, err := a.Leaf("us04web.zoom.us"); err != nil {
				b.Fatal(err)
			}
		}
		report(b, processorTime(b)-began)
	})
}

// BenchmarkServe is a whole visit, client included: a handshake, a page, the
// end. "bare" is the same with crypto/tls alone and one fixed answer: what is
// beyond it is the price of Serve.
func BenchmarkServe(b *testing.B) {
	a, _ := loaded(b, "zoom.us")
	fixed := []byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no\n")
	})
	bare := func(conn net.Conn) {
		defer conn.Close()
		hello, err := readHello(conn)
		if err != nil {
			return
		}
		certificate, err := a.Leaf("zoom.us")
		if err != nil {
			return
		}
		secured := tls.Server(&visitor{Conn: conn, hello: hello, leaf: certificate}, a.TLSConfig())
		if _, err := secured.Read(make([]byte, 4<<10)); err != nil {
			return
		}
		_, _ = secured.Write(fixed)
		_ = secured.CloseWrite()
	}
	serve := func(conn net.Conn) {
		hello, err := readHello(conn)
		if err != nil {
			return
		}
		a.Serve(b.Context(), conn, hello, "zoom.us", page)
	}
	for _, way := range []struct {
		name string
		take func(net.Conn)
	}{{"bare", bare}, {"page", serve}} {
		b.Run(way.name, func(b *testing.B) { visits(b, a, way.take) })
	}
}

// visits has one client after the other come to a listener.
func visits(b *testing.B, a *Authority, take func(net.Conn)) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			take(conn)
		}
	}()
	config := &tls.Config{RootCAs: trusting(a), ServerName: "zoom.us"}
	b.ReportAllocs()
	began := processorTime(b)
	for b.Loop() {
		conn, err := tls.Dial("tcp", listener.Addr().String(), config)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: zoom.us\r\nConnection: close\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadAll(response.Body); err != nil {
			b.Fatal(err)
		}
		_ = conn.Close()
	}
	_ = listener.Close()
	<-ended
	b.ReportMetric(float64((processorTime(b)-began)/time.Duration(b.N))/1000, "cpu-us/op")
}

// processorTime is what the process has used so far: other processes on the
// machine do not count, as they would by the clock on the wall.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
