package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// tunnel is an open CONNECT with nothing inside: what a meeting looks like to
// the gateway.
type tunnel struct {
	conn   net.Conn
	closed chan struct{} // closed when the gateway ends the tunnel
	at     time.Time     // when that was; valid once closed is
}

func openTunnel(t *testing.T, g *gateway, host string, port int) *tunnel {
	t.Helper()
	tn := tryTunnel(t, g, host, port)
	if tn == nil {
		t.Fatalf("CONNECT %s:%d was refused", host, port)
	}
	return tn
}

// tryTunnel gives nil where the gateway refuses.
func tryTunnel(t *testing.T, g *gateway, host string, port int) *tunnel {
	t.Helper()
	conn := dial(t, g.proxy)
	target := fmt.Sprintf("%s:%d", host, port)
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatalf("CONNECT %s: %v", target, err)
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		conn.Close()
		return nil
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	tn := &tunnel{conn: conn, closed: make(chan struct{})}
	go func() {
		_, _ = io.Copy(io.Discard, reader) // ends when either side closes
		tn.at = time.Now()
		close(tn.closed)
	}()
	t.Cleanup(func() { tn.close() })
	return tn
}

func (tn *tunnel) close() {
	tn.conn.Close()
	<-tn.closed
}

func (tn *tunnel) open() bool {
	select {
	case <-tn.closed:
		return false
	default:
		return true
	}
}

func (tn *tunnel) wantClosed(t *testing.T) {
	t.Helper()
	select {
	case <-tn.closed:
	case <-time.After(patience):
		t.Errorf("a tunnel was still open after %v", patience)
	}
}
