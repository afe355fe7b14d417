package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authority"
	"github.com/sallyport/sallyport/policy"
)

const browserLine = "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"

// intercepting starts a proxy that may sign for zoom.us, and gives what its
// clients trust.
func intercepting(t *testing.T, adjust func(*Config, *Dependencies)) (*door, *x509.CertPool) {
	t.Helper()
	pair, err := authority.Create(authority.Options{Organisation: "Example Rockets", Permit: []string{"zoom.us", "fine.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := authority.Files{Certificate: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key")}
	if err := pair.Write(files); err != nil {
		t.Fatal(err)
	}
	a, err := authority.Load(files, authority.Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pair.Certificate)
	return open(t, func(c *Config, d *Dependencies) {
		d.Intercept = a
		if adjust != nil {
			adjust(c, d)
		}
	}), pool
}

// visit makes a TLS connection inside c and asks for a page.
func visit(t *testing.T, c *client, trusted *x509.CertPool, serverName string) (*http.Response, string, error) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	secure := tls.Client(c.TCPConn, &tls.Config{RootCAs: trusted, ServerName: serverName})
	if err := secure.Handshake(); err != nil {
		return nil, "", err
	}
	_, _ = io.WriteString(secure, "GET /j/1?pwd=x HTTP/1.1\r\nHost: "+serverName+"\r\nAccept: text/html\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(secure), nil)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func TestRefusedBrowserSeesThePage(t *testing.T) {
	d, trusted := intercepting(t, nil)
	response, _, c := d.say("CONNECT us04web.zoom.us:443 HTTP/1.1\r\nHost: us04web.zoom.us:443\r\n" + browserLine + "\r\n")
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	page, body, err := visit(t, c, trusted, "us04web.zoom.us")
	if err != nil {
		t.Fatal(err)
	}
	if page.StatusCode != http.StatusForbidden || page.Header.Get("X-Sallyport-Rule") != "zoom-memo" || !strings.Contains(body, "Privacy and security concerns") {
		t.Errorf("%s %v\n%s", page.Status, page.Header, body)
	}
	decisions, _ := d.await(1, 0)
	if got := decisions[0]; got.Verdict.RuleName() != "zoom-memo" || page.Header.Get("X-Sallyport-Decision") != got.ID {
		t.Errorf("decision %+v", got)
	}
	if n := d.metric("sallyport_proxy_requests_total", methodConnect, "403"); n != 1 {
		t.Errorf("counted %v", n)
	}
}

// Nobody but the refused host is answered for, whatever the client wants then.
func TestInterceptionKeepsToTheRefusedHost(t *testing.T) {
	d, trusted := intercepting(t, nil)
	for _, name := range []string{"fine.example", "other.zoom.us", ""} {
		_, _, c := d.say("CONNECT us04web.zoom.us:443 HTTP/1.1\r\nHost: us04web.zoom.us:443\r\n" + browserLine + "\r\n")
		config := &tls.Config{RootCAs: trusted, ServerName: name, InsecureSkipVerify: name == ""}
		_ = c.SetDeadline(time.Now().Add(patience))
		if err := tls.Client(c.TCPConn, config).Handshake(); err == nil {
			t.Errorf("%q: a handshake", name)
		}
	}
	_, _, c := d.say("CONNECT us04web.zoom.us:443 HTTP/1.1\r\nHost: us04web.zoom.us:443\r\n" + browserLine + "\r\n")
	c.send("SSH-2.0-OpenSSH_9.9\r\n")
	if rest := c.rest(); rest != "" {
		t.Errorf("to another protocol: %q", rest)
	}
}

func TestWhoIsPromisedAPage(t *testing.T) {
	for _, test := range []struct {
		name, target, agent string
		all                 bool
		want                int
	}{
		{"a browser", "zoom.us:443", browserLine, false, 200},
		{"a program", "zoom.us:443", "User-Agent: curl/8.14\r\n", false, 403},
		{"a program, all", "zoom.us:443", "", true, 200},
		{"an address", "3.7.35.1:443", browserLine, false, 403},
	} {
		d, _ := intercepting(t, func(c *Config, _ *Dependencies) { c.InterceptAll = test.all })
		response, _, _ := d.say("CONNECT " + test.target + " HTTP/1.1\r\nHost: x\r\n" + test.agent + "\r\n")
		if response.StatusCode != test.want {
			t.Errorf("%s: %s, want %d", test.name, response.Status, test.want)
		}
	}
}

func TestPlainRequestInsideAPromise(t *testing.T) {
	d, _ := intercepting(t, nil)
	_, _, c := d.say("CONNECT zoom.us:80 HTTP/1.1\r\nHost: zoom.us:80\r\n" + browserLine + "\r\n")
	c.send("GET / HTTP/1.1\r\nHost: zoom.us\r\nAccept: text/html\r\n\r\n")
	response, body := c.answer(http.MethodGet)
	if response.StatusCode != http.StatusForbidden || !strings.Contains(body, "Privacy and security concerns") {
		t.Errorf("%s\n%s", response.Status, body)
	}
}

// A tunnel whose server name is refused shows the page; one that is allowed is
// the origin's alone.
func TestRefusedServerNameShowsThePage(t *testing.T) {
	d, trusted := intercepting(t, nil)
	server, where := secureOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "origin") }))
	page, body, err := visit(t, d.tunnel(where.String()), trusted, "zoom.us")
	if err != nil || page.StatusCode != http.StatusForbidden || !strings.Contains(body, "Privacy and security concerns") {
		t.Errorf("%v %v\n%s", err, page, body)
	}
	trusted.AddCert(server.Certificate())
	_, body, err = visit(t, d.tunnel(where.String()), trusted, "example.com")
	if err != nil || body != "origin" {
		t.Errorf("allowed: %q, %v", body, err)
	}
	decisions, ends := d.await(2, 1)
	if !decisions[0].Verdict.Action.Refuses() || ends[0].ClosedBy != closedByPolicy {
		t.Errorf("%+v %+v", decisions[0], ends[0])
	}
}

// A page that is out of date sends the browser to where it wanted to go, on a
// new connection.
func TestPageOfAnEarlierPolicy(t *testing.T) {
	d, trusted := intercepting(t, nil)
	_, _, c := d.say("CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\n" + browserLine + "\r\n")
	d.decide(func(*policy.Request) policy.Verdict { return allowed() })
	page, _, err := visit(t, c, trusted, "zoom.us")
	if err != nil || page.StatusCode != http.StatusTemporaryRedirect || page.Header.Get("Location") != "https://zoom.us/j/1?pwd=x" || !page.Close {
		t.Errorf("%v %+v", err, page)
	}
}

// A handshake that is not finished does not hold a stop up.
func TestShutdownEndsPromises(t *testing.T) {
	d, _ := intercepting(t, nil)
	_, _, c := d.say("CONNECT zoom.us:443 HTTP/1.1\r\nHost: zoom.us:443\r\n" + browserLine + "\r\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_ = d.Shutdown(ctx)
	if took := time.Since(began); took > 4*time.Second { // reading a hello alone may take 5 s
		t.Errorf("took %v", took)
	}
	_ = c.rest()
}
