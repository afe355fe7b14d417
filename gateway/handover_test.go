package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestLeave leaves with clients connected that have said nothing: each is
// answered, and told that it was the last answer. Nobody else is let in.
func TestLeave(t *testing.T) {
	g := start(t, "version: 1\ndefault: allow\nrules: [{name: memo, what: {domains: [zoom.us]}, action: block}]\n", nil)
	for name, path := range map[string]string{"admin http": "/healthz", "portal http": "/"} {
		kept := dialTCP(t, g.addr(name))
		if response := getOn(t, kept, path); response.Close {
			t.Errorf("%s: the connection ends before anybody leaves", name)
		}
		defer func() { _ = kept.Close() }()
		silent := dialTCP(t, g.addr(name))
		defer func() {
			for what, conn := range map[string]net.Conn{"had said nothing": silent, "had asked before": kept} {
				if response := getOn(t, conn, path); response.StatusCode != http.StatusOK || !response.Close {
					t.Errorf("%s: who %s got %s, and the connection ends: %v", name, what, response.Status, response.Close)
				}
			}
		}()
	}
	eventually(t, func() error {
		for _, s := range []*webServer{g.admin, g.portal} {
			s.clients.mu.Lock()
			silent := len(s.clients.silent)
			s.clients.mu.Unlock()
			if silent != 1 {
				return fmt.Errorf("%s knows of %d silent clients", s.name, silent)
			}
		}
		return nil
	})
	admin, portal := g.addr("admin http"), g.addr("portal http")
	left := make(chan error, 1)
	go func() { left <- g.Leave(context.Background(), nil) }()
	for _, address := range []string{admin, portal, g.addr("proxy http"), g.addr("dns tcp")} {
		eventually(t, func() error {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return nil
			}
			_ = conn.Close()
			return fmt.Errorf("%s lets clients in", address)
		})
	}
	t.Cleanup(func() { // after what is deferred above
		if err := <-left; err != nil {
			t.Error(err)
		}
	})
}

// TestStopDoesNotWaitForSilentClients stops with connections to the console open
// that browsers keep for later.
func TestStopDoesNotWaitForSilentClients(t *testing.T) {
	g := start(t, "version: 1\ndefault: allow\nrules: [{name: memo, what: {domains: [zoom.us]}, action: block}]\n", nil)
	for _, s := range []*webServer{g.admin, g.portal} {
		dialTCP(t, g.addr(s.name))
		eventually(t, func() error {
			s.clients.mu.Lock()
			defer s.clients.mu.Unlock()
			if len(s.clients.silent) != 1 {
				return fmt.Errorf("%s does not know the client", s.name)
			}
			return nil
		})
	}
	began := time.Now()
	g.admin.shutdown(context.Background())
	g.portal.shutdown(context.Background())
	if took := time.Since(began); took > 4*time.Second { // net/http alone waits 5 s for each
		t.Errorf("took %v", took)
	}
}

// TestProbe probes a gateway, which leaves no trace of it.
func TestProbe(t *testing.T) {
	g := start(t, "version: 1\ndefault: block\nrules: [{name: memo, what: {domains: [zoom.us]}, action: allow}]\n", nil)
	before := g.metric("sallyport_dns_cache_misses_total")
	for range 3 {
		if err := g.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if entries := g.entries(); len(entries) != 0 {
		t.Errorf("the decision log has %v", entries)
	}
	if after := g.metric("sallyport_dns_cache_misses_total"); after != before {
		t.Errorf("the cache counts %s misses, and %s before", after, before)
	}
	g.stopping.Store(true)
	if err := g.Probe(t.Context()); err != nil {
		t.Errorf("while it stops: %v", err)
	}
}

func dialTCP(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// getOn asks on a connection and reads the answer to its end.
func getOn(t *testing.T, conn net.Conn, path string) *http.Response {
	t.Helper()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, conn.RemoteAddr())
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return response
}
