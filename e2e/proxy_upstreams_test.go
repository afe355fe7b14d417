package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// badSite is an origin that reads a request and then does its one bad thing.
func badSite(t *testing.T, then func(*net.TCPConn)) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					request.Body.Close()
					then(conn.(*net.TCPConn))
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return listener.Addr().(*net.TCPAddr).Port
}

// TestBadUpstreams has origins die, reset and say nothing, behind a request and
// inside a tunnel. A client must learn of it, and never take half a page for a
// whole one.
func TestBadUpstreams(t *testing.T) {
	sallyport(t)
	g := startGateway(t, setting{Upstream: startUnbound(t)}, "version: 1\ndefault: allow\n")
	reached, left := make(chan struct{}, 2), make(chan struct{}, 2)
	dies := badSite(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf a page")
	})
	resets := badSite(t, func(c *net.TCPConn) { _ = c.SetLinger(0) })
	silent := badSite(t, func(c *net.TCPConn) {
		reached <- struct{}{}
		if _, err := c.Read(make([]byte, 1)); !timedOut(err) {
			left <- struct{}{}
		}
	})
	for _, tunnel := range []bool{false, true} {
		name := map[bool]string{false: "a request", true: "a tunnel"}[tunnel]
		conn := askBad(t, g, dies, tunnel)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s, origin that dies: %v", name, err)
		}
		if body, err := io.ReadAll(response.Body); string(body) != "half a page" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s, origin that dies: %q, %v, want what there was, and an early end", name, body, err)
		}
		response.Body.Close()
		conn.Close() // half of a tunnel may stay open otherwise

		response, err = http.ReadResponse(bufio.NewReader(askBad(t, g, resets, tunnel)), nil)
		switch {
		case tunnel && (err == nil || timedOut(err)):
			t.Errorf("%s, origin that resets: %v, want the end of the connection", name, err)
		case !tunnel && (err != nil || response.StatusCode != http.StatusBadGateway):
			t.Errorf("%s, origin that resets: %v, %v, want 502", name, response, err)
		}

		conn = askBad(t, g, silent, tunnel)
		select {
		case <-reached: // a client that left before would be no matter of the origin's
		case <-time.After(patience):
			t.Fatalf("%s does not reach the origin", name)
		}
		conn.Close()
		select {
		case <-left:
		case <-time.After(patience):
			t.Errorf("%s, origin that says nothing: the client has gone, and the origin is not told", name)
		}
	}
	eventually(t, "nothing is left of it", func() error { return g.wantTunnels(t, 0) })
}

// askBad sends a request, as a whole or inside a tunnel.
func askBad(t *testing.T, g *gateway, port int, tunnel bool) net.Conn {
	t.Helper()
	target := net.JoinHostPort("www.rockets.example", strconv.Itoa(port))
	conn := dial(t, g.proxy)
	if !tunnel {
		fmt.Fprintf(conn, "GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
		return conn
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), &http.Request{Method: http.MethodConnect})
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT %s: %v, %v", target, response, err)
	}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", target)
	return conn
}

// TestPrivateInDisguise asks for one private address in all its forms, and for
// names that lead to it.
func TestPrivateInDisguise(t *testing.T) {
	sallyport(t)
	g := startGateway(t, setting{Upstream: startUnbound(t)}, "version: 1\ndefault: allow\n")
	for _, host := range []string{
		"10.20.30.40", "10.20.30.40.", "169090600", "0x0a141e28", "012.024.036.050", "0xa.0x14.0x1e.0x28", "10.20.7720", "10.1318440",
		"[::ffff:10.20.30.40]", "[::ffff:a14:1e28]", "[::10.20.30.40]", "[64:ff9b::10.20.30.40]", "[2002:a14:1e28::1]",
		"intranet.rockets.example", "INTRANET.rockets.example.",
	} {
		for _, head := range []string{"CONNECT %[1]s:443 HTTP/1.1\r\nHost: %[1]s:443\r\n\r\n", "GET http://%[1]s/ HTTP/1.1\r\nHost: %[1]s\r\n\r\n"} {
			conn := dial(t, g.proxy)
			fmt.Fprintf(conn, head, host)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s: %v", host, err)
			}
			response.Body.Close()
			conn.Close()
			if response.StatusCode != http.StatusForbidden && response.StatusCode != http.StatusBadRequest {
				t.Errorf("%.7s %s: %s, want 403 or 400", head, host, response.Status)
			}
		}
	}
}
