package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
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
)

// net/http lingers for half a second behind the answer to a request that it
// could not read, on a goroutine that ends by itself and that nothing waits for;
// goleak waits a little less.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

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
	return startTuned(t, path, edit, func(*Gateway) {})
}

// startTuned is startWith for a gateway of which something is changed before it
// starts.
func startTuned(t *testing.T, path string, edit func(*Config, *Dependencies), tune func(*Gateway)) *running {
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
	tune(r.Gateway)
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
		if now := r.engine.Program().Revision(); now == before {
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

func loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// basic is the value of a Proxy-Authorization field.
func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
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
