package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// earlyData speaks to the proxy door as clients do that do not wait for its
// reply to CONNECT. No packaged client does it on command, so this one does.
func (tn town) earlyData(t *testing.T) {
	for _, size := range []int{0, 600, 20 << 10, 1 << 20} {
		t.Run(fmt.Sprintf("Refused%d", size), func(t *testing.T) { tn.earlyRefused(t, size) })
	}
	t.Run("Allowed", tn.earlyAllowed)
	t.Run("Addresses", tn.rawAddresses)
}

// earlyRefused has size bytes under way behind a CONNECT that is refused: the
// memo must come through whole, and no reset may cut it.
func (tn town) earlyRefused(t *testing.T, size int) {
	conn := dial(t, tn.proxy)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		head := "CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\nAccept: text/html\r\n\r\n"
		_, _ = conn.Write(append([]byte(head), bytes.Repeat([]byte{0x16}, size)...)) // may be refused half-way
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodGet})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("the refusal was cut after %d bytes of page: %v", len(body), err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "Privacy and security concerns") {
		t.Errorf("status %d, page:\n%s", response.StatusCode, body)
	}
	checkRefusalHeaders(t, response.Header.Get, "zoom-memo")
	conn.Close()
	<-sent
}

// earlyAllowed sends the CONNECT and the ClientHello in one write.
func (tn town) earlyAllowed(t *testing.T) {
	conn := dial(t, tn.proxy)
	defer conn.Close()
	target := fmt.Sprintf("www.rockets.example:%d", tn.origin.https)
	eager := &eagerConn{Conn: conn, connect: "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n"}
	client := tls.Client(eager, &tls.Config{ServerName: "www.rockets.example", RootCAs: tn.origin.pool})
	if _, err := io.WriteString(client, "GET / HTTP/1.0\r\nHost: www.rockets.example\r\n\r\n"); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	page, err := io.ReadAll(client)
	if err != nil || !strings.Contains(string(page), "Launch calendar") {
		t.Errorf("page %q: %v", page, err)
	}
}

// eagerConn puts a CONNECT in front of the first bytes that are written, and
// takes the reply to it away from the first that are read.
type eagerConn struct {
	net.Conn
	connect string
	reader  *bufio.Reader
}

func (c *eagerConn) Write(p []byte) (int, error) {
	head := c.connect
	c.connect = ""
	n, err := c.Conn.Write(append([]byte(head), p...))
	return max(0, n-len(head)), err
}

func (c *eagerConn) Read(p []byte) (int, error) {
	if c.reader == nil {
		c.reader = bufio.NewReader(c.Conn)
		response, err := http.ReadResponse(c.reader, &http.Request{Method: http.MethodConnect})
		if err != nil {
			return 0, err
		}
		if response.StatusCode != http.StatusOK {
			return 0, errors.New("CONNECT answered " + response.Status)
		}
	}
	return c.reader.Read(p)
}

// rawAddresses writes addresses of Zoom's in forms that curl would tidy up.
func (tn town) rawAddresses(t *testing.T) {
	for _, host := range []string{
		"3.7.35.1", "3.7.35.1.", "[::ffff:3.7.35.1]", "[::ffff:0307:2301]", "50799361", "0x03072301", "0x3.0x7.0x23.0x1",
		"03.07.043.01", "3.7.8961", "0x0307.8961", "zoom.us.", "ZOOM.US", "ｚｏｏｍ.us", "zoom。us",
	} {
		conn := dial(t, tn.proxy)
		fmt.Fprintf(conn, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", host, host)
		response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodGet})
		if err != nil {
			t.Fatalf("CONNECT %s: %v", host, err)
		}
		response.Body.Close()
		conn.Close()
		// What is no host at all may be a bad request; what is one is Zoom's.
		if response.StatusCode != http.StatusForbidden && response.StatusCode != http.StatusBadRequest {
			t.Errorf("CONNECT %s: %s, want 403 or 400", host, response.Status)
		}
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
