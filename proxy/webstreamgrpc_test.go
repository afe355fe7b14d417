package proxy

//lint:file-ignore SA1019 net/http has no client that speaks HTTP/2 to its proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/net/http2"
)

// A call in both directions at once, as gRPC has them, over HTTP/2 to its server
// inside a tunnel, which is a connection or itself a stream of HTTP/2.
func TestTunnelsCarryCalls(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			fmt.Fprintf(w, "echo %s\n", lines.Text())
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("Grpc-Status", "0")
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	where := server.Listener.Addr().String()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	d := openSecure(t, nil)
	ways := map[string]func() net.Conn{
		"a connection": func() net.Conn { return d.tunnel(where).TCPConn },
		"TLS": func() net.Conn {
			c := d.secure()
			c.send(connectTo(where))
			c.answer(http.MethodConnect)
			return c.Conn
		},
		"a stream": func() net.Conn {
			s := d.session(nil)
			return tunnelConn{s.conn, s.open(where)}
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			transport := &http2.Transport{DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
				conn := tls.Client(way(), &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"h2"}})
				return conn, conn.HandshakeContext(ctx)
			}}
			defer transport.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			up, body := io.Pipe()
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+where+"/calls.Echo/Talk", up)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			answers := bufio.NewReader(response.Body)
			for i := range 20 {
				if _, err := fmt.Fprintf(body, "call %d\n", i); err != nil {
					t.Fatal(err)
				}
				if line, err := answers.ReadString('\n'); line != fmt.Sprintf("echo call %d\n", i) {
					t.Fatalf("%q, %v", line, err)
				}
			}
			_ = body.Close()
			if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 || response.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("%q, %v, trailer %v", rest, err, response.Trailer)
			}
		})
	}
}
