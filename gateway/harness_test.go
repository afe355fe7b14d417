package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should take milliseconds. It is
// spent only where the test fails anyway.
const patience = 15 * time.Second

// running is a whole gateway on ports of its own, with a stub upstream.
type running struct {
	*Gateway
	t      *testing.T
	policy string // path of the policy file
	stdout *transcript
	log    *observer.ObservedLogs
}

// transcript is a buffer that may be written and read at the same time.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// testConfig listens on free ports of loopback alone, looks names up at a stub
// that sends every name to 127.0.0.1, and may dial it there.
func testConfig(t *testing.T, policyPath string) *Config {
	t.Helper()
	c := DefaultConfig()
	c.Policy = policyPath
	c.DNS.Listen = []string{"127.0.0.1:0"}
	c.DNS.Upstreams = []string{"udp://" + stubUpstream(t)}
	c.Proxy.Listen = []string{"127.0.0.1:0"}
	c.Proxy.DenyNone = true
	c.Proxy.Drain = 0
	c.Admin.Listen = "127.0.0.1:0"
	c.Portal.Listen = "127.0.0.1:0"
	c.Audit.Allows = "all"
	return c
}

// start writes the policy and runs a gateway with it until the test ends.
func start(t *testing.T, policyText string, edit func(*Config, *Dependencies)) *running {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	writeFile(t, path, policyText)
	return startWith(t, path, edit)
}

// startWith runs a gateway with a policy that is on disk already.
func startWith(t *testing.T, path string, edit func(*Config, *Dependencies)) *running {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	r := &running{t: t, policy: path, stdout: &transcript{}, log: logs}
	config := testConfig(t, path)
	deps := Dependencies{Log: zap.New(core), Stdout: r.stdout, Build: Build{Version: "test", Commit: "abc"}}
	if edit != nil {
		edit(config, &deps)
	}
	var err error
	if r.Gateway, err = New(config, deps); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition; the error says what is missing.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v: %v", patience, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// addr is where a listener is bound.
func (r *running) addr(name string) string {
	r.t.Helper()
	for _, a := range r.Addrs() {
		if a.Name == name {
			return a.Addr
		}
	}
	r.t.Fatalf("%s is not bound: %v", name, r.Addrs())
	return ""
}

// get asks the admin listener.
func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	return r.http("GET", path)
}

func (r *running) http(method, path string) (status int, body string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.addr("admin http")+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// metric is the value of one series as /metrics writes it.
func (r *running) metric(series string) string {
	r.t.Helper()
	_, body := r.get("/metrics")
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value
		}
	}
	return ""
}

// wantMetric waits for a series to have a value.
func (r *running) wantMetric(series, want string) {
	r.t.Helper()
	eventually(r.t, func() error {
		if got := r.metric(series); got != want {
			return fmt.Errorf("%s is %q, want %s", series, got, want)
		}
		return nil
	})
}

// wantRevision waits for another revision than before to be in force.
func (r *running) wantNewRevision(before string) {
	r.t.Helper()
	eventually(r.t, func() error {
		if now := r.Engine().Program().Revision(); now == before {
			return fmt.Errorf("revision %s is still in force", now)
		}
		return nil
	})
}

// logged is how often a message was logged.
func (r *running) logged(message string) int { return r.log.FilterMessage(message).Len() }

// blockedByDNS asks the DNS door for the addresses of a name, and reports
// whether the answer is the sinkhole's.
func (r *running) blockedByDNS(name string) bool {
	r.t.Helper()
	addrs, _, err := queryA(r.addr("dns udp"), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return len(addrs) == 1 && addrs[0] == netip.IPv4Unspecified()
}

// connect opens a tunnel; status is the proxy's.
func (r *running) connect(target string) (conn net.Conn, status int, header http.Header) {
	r.t.Helper()
	conn, response, err := connectThrough(r.addr("proxy http"), "", target)
	if err != nil {
		r.t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		_ = conn.Close()
		return nil, response.StatusCode, response.Header
	}
	return conn, response.StatusCode, response.Header
}

// connectThrough sends a CONNECT from a client address ("" for any).
func connectThrough(proxy, from, target string) (net.Conn, *http.Response, error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial("tcp", proxy)
	if err != nil {
		return nil, nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	// One byte at a time behind the head would be the tunnel's: the head is
	// read without reading ahead.
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), &http.Request{Method: "CONNECT"})
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, response, nil
}

// queryA asks for the IPv4 addresses of a name over UDP.
func queryA(server, name string) (addrs []netip.Addr, ttl uint32, err error) {
	return queryFrom(server, "", name)
}

// queryFrom is queryA from a client address ("" for any).
func queryFrom(server, from, name string) (addrs []netip.Addr, ttl uint32, err error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial("udp", server)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	return queryOn(conn, 7, name)
}

// queryOn asks on a connection that is there, and wants its own answer.
func queryOn(conn net.Conn, id uint16, name string) (addrs []netip.Addr, ttl uint32, err error) {
	question := dnsmessage.Question{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	query := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{question}}
	packed, err := query.Pack()
	if err != nil {
		return nil, 0, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, 0, err
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, 0, err
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		return nil, 0, err
	}
	var reply dnsmessage.Message
	if err := reply.Unpack(buf[:n]); err != nil {
		return nil, 0, err
	}
	if reply.ID != id || reply.RCode != dnsmessage.RCodeSuccess {
		return nil, 0, fmt.Errorf("%s: id %d, rcode %v", name, reply.ID, reply.RCode)
	}
	for _, answer := range reply.Answers {
		ttl = answer.Header.TTL
		if a, ok := answer.Body.(*dnsmessage.AResource); ok {
			addrs = append(addrs, netip.AddrFrom4(a.A))
		}
	}
	return addrs, ttl, nil
}

// stubUpstream answers every A question with 127.0.0.1 and a TTL of an hour,
// and every other with nothing.
func stubUpstream(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = conn.Close()
		serving.Wait()
	})
	serving.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := stubReply(buf[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from) // a client that has gone asks no more
			}
		}
	})
	return conn.LocalAddr().String()
}

func stubReply(packet []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.RecursionAvailable = true, true
	m.Additionals = nil
	q := m.Questions[0]
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 3600}
	switch {
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	default:
		header.Type = dnsmessage.TypeSOA
		m.Authorities = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.SOAResource{
			NS: q.Name, MBox: q.Name, Refresh: 3600, Retry: 600, Expire: 86400, MinTTL: 3600,
		}}}
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// echoServer sends back what it is sent. It returns its port.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			serving.Go(func() {
				_, _ = io.Copy(c, c) // ends when either side does
				_ = c.Close()
			})
		}
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// echo sends one byte through a tunnel and wants it back.
func echo(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{'x'}); err != nil {
		return err
	}
	var b [1]byte
	_, err := io.ReadFull(conn, b[:])
	return err
}

// closedSoon waits for a tunnel to be closed by the proxy.
func closedSoon(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var b [64]byte
	for {
		_, err := conn.Read(b[:])
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return errors.New("the tunnel is still open")
		case err != nil:
			return nil
		}
	}
}

// entries are the lines of the decision log so far.
func (r *running) entries() []map[string]any {
	r.t.Helper()
	var all []map[string]any
	for line := range strings.Lines(r.stdout.String()) {
		if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "\n") {
			continue
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			r.t.Fatalf("%v in %q", err, line)
		}
		all = append(all, entry)
	}
	return all
}
