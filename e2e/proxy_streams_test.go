package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// streamSite is an origin for what stays open and speaks both ways: WebSocket,
// and calls as gRPC makes them. Over TLS it speaks HTTP/2.
type streamSite struct {
	plain, secure int // ports
	certificates
}

func startStreams(t *testing.T) *streamSite {
	t.Helper()
	dir := t.TempDir()
	s := &streamSite{certificates: certify(t, dir, originNames)}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "origin.crt"), filepath.Join(dir, "origin.key"))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/echo", websocket.Handler(func(conn *websocket.Conn) {
		for {
			var text string
			if websocket.Message.Receive(conn, &text) != nil || websocket.Message.Send(conn, "you said "+text) != nil {
				return
			}
		}
	}))
	mux.HandleFunc("/launch.Control/Count", echoCalls)
	plain := httptest.NewServer(mux)
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(mux)
	secure.EnableHTTP2 = true
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	_, s.plain = split(t, plain.Listener.Addr().String())
	_, s.secure = split(t, secure.Listener.Addr().String())
	return s
}

// echoCalls answers each message of a gRPC stream as it comes, and tells in a
// trailer how it went.
func echoCalls(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	_ = flush() // a client that has gone shows below
	for {
		message, err := readMessage(r.Body)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || writeMessage(w, message) != nil || flush() != nil {
			return
		}
	}
	w.Header().Set("Grpc-Status", "0")
}

// readMessage and writeMessage use gRPC's frames: a byte, four of length, and
// the message.
func readMessage(r io.Reader) ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length > 1<<20 {
		return nil, fmt.Errorf("a message of %d bytes", length)
	}
	message := make([]byte, length)
	_, err := io.ReadFull(r, message)
	return message, err
}

func writeMessage(w io.Writer, message []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
	return err
}

// TestStreamsBehindProxy has WebSocket and gRPC talk to and fro through the
// gateway, in the forms in which clients send them to a proxy.
func TestStreamsBehindProxy(t *testing.T) {
	sallyport(t)
	upstream, site := startUnbound(t), startStreams(t)
	policy := readFile(t, "testdata/policy.yaml")
	g := startGateway(t, setting{Upstream: upstream}, policy)
	const allowed, refused = "www.rockets.example", "zoom.us"

	t.Run("WebSocket", func(t *testing.T) {
		for name, c := range map[string]struct {
			port    int
			connect bool
			tls     bool
		}{
			"wss by CONNECT":           {site.secure, true, true},
			"ws by CONNECT":            {site.plain, true, false},
			"ws by a request to proxy": {site.plain, false, false},
		} {
			if conn, err := openSocket(t, g, site, allowed, c.port, c.connect, c.tls); err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				converse(t, name, conn)
			}
			if _, err := openSocket(t, g, site, refused, c.port, c.connect, c.tls); err == nil {
				t.Errorf("%s: opened to %s, which is refused", name, refused)
			}
		}
	})
	t.Run("GRPC", func(t *testing.T) { callThrough(t, g, site, allowed, refused) })
	t.Run("Ban", func(t *testing.T) {
		conn, err := openSocket(t, g, site, allowed, site.plain, false, false)
		if err != nil {
			t.Fatal(err)
		}
		g.rewrite(t, changed(t, policy, "domains: [null.mode.example]", "domains: [null.mode.example, "+allowed+"]"))
		_ = conn.SetDeadline(time.Now().Add(patience))
		var text string
		if err := websocket.Message.Receive(conn, &text); err == nil || timedOut(err) {
			t.Errorf("a WebSocket to a name that is banned meanwhile: %q, %v", text, err)
		}
	})
}

// timedOut says whether a deadline passed.
func timedOut(err error) bool {
	var timed net.Error
	return errors.As(err, &timed) && timed.Timeout()
}

// openSocket opens a WebSocket by way of the proxy.
func openSocket(t *testing.T, g *gateway, site *streamSite, host string, port int, connect, secure bool) (*websocket.Conn, error) {
	t.Helper()
	target := net.JoinHostPort(host, strconv.Itoa(port))
	conn := dial(t, g.proxy)
	config, err := websocket.NewConfig("ws://"+target+"/echo", "http://"+target)
	if err != nil {
		t.Fatal(err)
	}
	if !connect { // the request goes to the proxy, with the whole address
		config.Location = &url.URL{Scheme: "http", Host: target, Opaque: "//" + target + "/echo"}
		return websocket.NewClient(config, conn)
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("CONNECT answered " + response.Status)
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{ServerName: host, RootCAs: site.pool})
	}
	return websocket.NewClient(config, conn)
}

// converse waits for each answer before it says the next, so that nothing may be
// held back on the way.
func converse(t *testing.T, name string, conn *websocket.Conn) {
	t.Helper()
	defer conn.Close()
	for i := range 50 {
		var text string
		said := fmt.Sprintf("%d and counting", i)
		if err := websocket.Message.Send(conn, said); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := websocket.Message.Receive(conn, &text); err != nil || text != "you said "+said {
			t.Fatalf("%s: %q, %v", name, text, err)
		}
	}
}

// callThrough makes a gRPC call that streams both ways, over HTTP/2 inside a
// tunnel.
func callThrough(t *testing.T, g *gateway, site *streamSite, allowed, refused string) {
	t.Helper()
	transport := &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "http", Host: g.proxy}),
		TLSClientConfig:   &tls.Config{RootCAs: site.pool},
		ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	call := func(host string, body io.Reader) (*http.Response, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("https://%s:%d/launch.Control/Count", host, site.secure), body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/grpc")
		request.Header.Set("TE", "trailers")
		return transport.RoundTrip(request)
	}
	reader, writer := io.Pipe()
	response, err := call(allowed, reader)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 {
		t.Errorf("the call was made over %s", response.Proto)
	}
	for i := range 50 {
		said := fmt.Sprintf("T minus %d", 50-i)
		if err := writeMessage(writer, []byte(said)); err != nil {
			t.Fatal(err)
		}
		if back, err := readMessage(response.Body); err != nil || string(back) != said {
			t.Fatalf("message %d: %q, %v", i, back, err)
		}
	}
	writer.Close()
	if _, err := readMessage(response.Body); !errors.Is(err, io.EOF) || response.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("the end of the call: %v, trailer %v", err, response.Trailer)
	}
	if response, err := call(refused, http.NoBody); err == nil {
		response.Body.Close()
		t.Errorf("a call to %s, which is refused: %s", refused, response.Status)
	} else if err.Error() != "Forbidden" {
		t.Errorf("a call to %s: %v, want Forbidden", refused, err)
	}
}
