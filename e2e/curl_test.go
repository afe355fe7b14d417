package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// curlRefusedHTTPS is the memo at the proxy door, as a browser meets it.
func (tn town) curlRefusedHTTPS(t *testing.T) {
	for _, name := range []string{"us04web.zoom.us", "zoom.us", "no-such-host.zoom.us"} {
		if name != "no-such-host.zoom.us" {
			if f := tn.direct(t, tn.origin.url("https", name, "/")); f.status != 200 {
				t.Fatalf("%s cannot be reached without the gateway either: %+v", name, f)
			}
		}
		before := tn.origin.requests(t)
		f := tn.through(t, tn.origin.url("https", name, "/"))
		if f.exit != 56 || f.connect != 403 { // 56: curl's "failure receiving", its word for a refused CONNECT
			t.Errorf("%s: curl exit %d, CONNECT answered %d, want 56 and 403: %s", name, f.exit, f.connect, f.stderr)
		}
		checkRefusalHeaders(t, f.proxy.Get, "zoom-memo")
		id := f.proxy.Get("X-Sallyport-Decision")
		logged := tn.logged(t, "decision "+id, func(e entry) bool { return e.ID == id })
		if logged.Host != name || logged.Action != "block" || logged.App != "zoom" || logged.Door != "proxy" ||
			logged.Tenant != "e2e" || logged.Client != "127.0.0.1" || logged.Rule != "zoom-memo" {
			t.Errorf("%s: the decision log says %+v", name, logged)
		}
		if after := tn.origin.requests(t); after != before {
			t.Errorf("%s: the origin was asked %d times for a refused page", name, after-before)
		}
	}
}

func checkRefusalHeaders(t *testing.T, header func(string) string, rule string) {
	t.Helper()
	want := map[string]string{
		"Cache-Control":    "no-store",
		"Proxy-Status":     "sallyport; error=http_request_denied",
		"X-Sallyport-Rule": rule,
	}
	for name, value := range want {
		if got := header(name); got != value {
			t.Errorf("a refusal's header %s is %q, want %q", name, got, value)
		}
	}
	if header("X-Sallyport-Decision") == "" {
		t.Error("a refusal names no decision")
	}
}

// memoWords are what every form of the refusal must tell the employee.
var memoWords = []string{
	"Zoom", "Privacy and security concerns", "switched off on our network", "email", "text", "phone",
	"it-help@corp.example", "Example Rockets",
}

// curlRefusedHTTP reads the block page in each of its forms.
func (tn town) curlRefusedHTTP(t *testing.T) {
	for _, c := range []struct{ accept, kind string }{
		{"text/html", "text/html"},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"},
		{"application/json", "application/json"},
		{"", "text/plain"}, // curl sends */*
	} {
		var args []string
		if c.accept != "" {
			args = []string{"-H", "Accept: " + c.accept}
		}
		f := tn.through(t, tn.origin.url("http", "zoom.us", "/j/123"), args...)
		if f.exit != 0 || f.status != 403 {
			t.Errorf("Accept %q: curl exit %d, status %d, want 0 and 403", c.accept, f.exit, f.status)
		}
		checkRefusalHeaders(t, f.head.Get, "zoom-memo")
		if got := f.head.Get("Content-Type"); !strings.HasPrefix(got, c.kind) {
			t.Errorf("Accept %q: Content-Type %q, want %s", c.accept, got, c.kind)
		}
		if got, want := f.head.Get("Content-Length"), strconv.Itoa(len(f.body)); got != want {
			t.Errorf("Accept %q: Content-Length %s, and %s bytes came", c.accept, got, want)
		}
		id := f.head.Get("X-Sallyport-Decision")
		for _, word := range append([]string{id}, memoWords...) {
			if !strings.Contains(f.body, word) {
				t.Errorf("Accept %q: the page does not say %q:\n%s", c.accept, word, f.body)
			}
		}
		if c.kind == "application/json" {
			checkRefusalJSON(t, f.body, id)
		}
	}
	head := tn.through(t, tn.origin.url("http", "zoom.us", "/"), "--head")
	if head.status != 403 || head.body == "" && head.exit != 0 {
		t.Errorf("HEAD: curl exit %d, status %d, want 0 and 403", head.exit, head.status)
	}
}

func checkRefusalJSON(t *testing.T, body, id string) {
	t.Helper()
	var page map[string]any
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatalf("the JSON page is none: %v\n%s", err, body)
	}
	want := map[string]any{
		"action": "block", "host": "zoom.us", "app": "zoom", "rule": "zoom-memo",
		"reason": "Privacy and security concerns", "decision": id,
	}
	for key, value := range want {
		if page[key] != value {
			t.Errorf("the JSON page says %s %v, want %v", key, page[key], value)
		}
	}
}

// curlRefusedUpload has a megabyte under way when the refusal comes: the page
// must arrive whole all the same.
func (tn town) curlRefusedUpload(t *testing.T) {
	blob := tn.origin.dir + "/site/blob.bin"
	for _, method := range []string{"POST", "PUT"} {
		f := tn.through(t, tn.origin.url("http", "zoom.us", "/upload"), "-X", method, "--data-binary", "@"+blob, "-H", "Expect:")
		if f.exit != 0 || f.status != 403 || !strings.Contains(f.body, "Privacy and security concerns") {
			t.Errorf("%s: curl exit %d, status %d, %d bytes of page: %s", method, f.exit, f.status, len(f.body), f.stderr)
		}
	}
}

// curlDisguised reaches for Zoom under other names, and with another name in
// the TLS handshake than in the CONNECT.
func (tn town) curlDisguised(t *testing.T) {
	for _, name := range []string{
		"vanity.rockets.example", "meet.rockets.example", "alias-form.rockets.example",
		"svc-form.rockets.example", "hint.rockets.example", "bare.rockets.example",
	} {
		f := tn.through(t, tn.origin.url("https", name, "/"))
		if f.connect != 403 || f.proxy.Get("X-Sallyport-Rule") != "zoom-memo" {
			t.Errorf("CONNECT %s: answered %d by rule %q, want 403 by zoom-memo", name, f.connect, f.proxy.Get("X-Sallyport-Rule"))
		}
		f = tn.through(t, tn.origin.url("http", name, "/"))
		if f.status != 403 || f.head.Get("X-Sallyport-Rule") != "zoom-memo" {
			t.Errorf("GET http://%s: answered %d by rule %q, want 403 by zoom-memo", name, f.status, f.head.Get("X-Sallyport-Rule"))
		}
	}

	before := tn.origin.requests(t)
	front := fmt.Sprintf("zoom.us:443:www.rockets.example:%d", tn.origin.https)
	f := tn.through(t, "https://zoom.us/", "--connect-to", front) // CONNECT www.rockets.example, SNI zoom.us
	if f.exit == 0 || f.connect != 200 {
		t.Errorf("SNI zoom.us behind CONNECT www.rockets.example: curl exit %d, CONNECT answered %d, want a tunnel that is cut at the handshake", f.exit, f.connect)
	}
	if after := tn.origin.requests(t); after != before {
		t.Error("SNI zoom.us behind CONNECT www.rockets.example: the origin was asked for the page")
	}
	tn.logged(t, "the refused SNI", func(e entry) bool {
		return e.Door == "proxy" && e.Host == "www.rockets.example" && e.Rule == "zoom-memo" && e.Action == "block"
	})
	// A proxy goes by the request's URI and writes the Host header anew
	// (RFC 9112 §3.2.2), so a Host that lies reaches nobody.
	f = tn.through(t, tn.origin.url("http", "www.rockets.example", "/seen"), "-H", "Host: zoom.us")
	if f.status != 403 && !strings.HasPrefix(f.body, "host=www.rockets.example:") {
		t.Errorf("Host: zoom.us in a request for www.rockets.example: answered %d, and the origin saw\n%s", f.status, f.body)
	}
}

// curlAddresses writes an address of Zoom's in the ways that curl passes on.
func (tn town) curlAddresses(t *testing.T) {
	for _, host := range []string{"3.7.35.1", "[::ffff:3.7.35.1]", "50799361", "0x3.7.0x23.1", "3.7.8961"} {
		f := tn.through(t, "https://"+host+"/")
		if f.connect != 403 || f.proxy.Get("X-Sallyport-Rule") != "zoom-memo" {
			t.Errorf("CONNECT %s: answered %d by rule %q, want 403 by zoom-memo: %s", host, f.connect, f.proxy.Get("X-Sallyport-Rule"), f.stderr)
		}
		f = tn.through(t, "http://"+host+"/")
		if f.status != 403 || f.head.Get("X-Sallyport-Rule") != "zoom-memo" {
			t.Errorf("GET http://%s/: answered %d by rule %q, want 403 by zoom-memo", host, f.status, f.head.Get("X-Sallyport-Rule"))
		}
	}
}

// curlInnocent fetches from names that only look like Zoom, or that Zoom
// shares with everybody.
func (tn town) curlInnocent(t *testing.T) {
	for _, name := range []string{"zoomlion.com", "zoom.us.evil.example", "notzoom.us", "ocsp.digicert.com", "teams.microsoft.com"} {
		for _, scheme := range []string{"http", "https"} {
			if f := tn.through(t, tn.origin.url(scheme, name, "/")); f.status != 200 || !strings.Contains(f.body, "Launch calendar") {
				t.Errorf("%s://%s: status %d (CONNECT %d): %s", scheme, name, f.status, f.connect, f.stderr)
			}
		}
	}
	for name, rule := range map[string]string{"meet.google.com": "coach-the-rest", "cloudflare-dns.com": "no-way-round"} {
		if f := tn.through(t, tn.origin.url("https", name, "/")); f.connect != 403 || f.proxy.Get("X-Sallyport-Rule") != rule {
			t.Errorf("%s: CONNECT answered %d by rule %q, want 403 by %s", name, f.connect, f.proxy.Get("X-Sallyport-Rule"), rule)
		}
	}
	visitor := tn.through(t, tn.origin.url("https", "zoom.us", "/"), "--interface", "127.9.0.1")
	if visitor.status != 200 {
		t.Errorf("a visitor, whom the memo is not for, gets %d from zoom.us: %s", visitor.status, visitor.stderr)
	}
}

// curlSame compares transfers through the gateway with the same ones without.
func (tn town) curlSame(t *testing.T) {
	for _, c := range []struct {
		name, path string
		args       []string
	}{
		{"page", "/", nil},
		{"5 MiB", "/blob.bin", nil},
		{"compressed", "/long.txt", []string{"-H", "Accept-Encoding: gzip"}},
		{"compressed and decoded", "/long.txt", []string{"--compressed"}},
		{"range", "/blob.bin", []string{"--range", "1000000-2000000"}},
		{"head", "/blob.bin", []string{"--head"}},
		{"missing", "/no-such-page", nil},
		{"redirect", "/moved", nil},
		{"redirect followed", "/moved", []string{"--location"}},
		{"odd status", "/teapot", nil},
		{"not allowed", "/index.html", []string{"--data", "a=b"}},
		{"HTTP/1.0", "/", []string{"--http1.0"}},
		{"HTTP/1.1", "/", []string{"--http1.1"}},
		{"HTTP/2", "/blob.bin", []string{"--http2"}},
		{"what the origin sees", "/seen", []string{"-H", "Cookie: a=b", "-u", "user:secret"}},
	} {
		for _, scheme := range []string{"http", "https"} {
			url := tn.origin.url(scheme, "www.rockets.example", c.path)
			direct, through := tn.direct(t, url, c.args...), tn.through(t, url, c.args...)
			if c.name == "head" {
				direct.body, through.body = "", "" // curl writes the headers there, the connection's own too
			}
			compareTransfers(t, scheme+", "+c.name, &direct, &through)
		}
	}
	hop := tn.through(t, tn.origin.url("http", "www.rockets.example", "/seen"), "-H", "Connection: X-Hop", "-H", "X-Hop: private")
	if !strings.Contains(hop.body, "x-hop=\n") {
		t.Errorf("a header for the next hop alone, the proxy, reached the origin:\n%s", hop.body)
	}
	if f := tn.through(t, tn.origin.url("https", "www.rockets.example", "/"), "--http2"); f.version != "2" {
		t.Errorf("HTTP version inside the tunnel is %s, want 2", f.version)
	}
	many := tn.through(t, tn.origin.url("https", "www.rockets.example", "/"), "--http1.1", "--next", "--silent", "--cacert", tn.origin.authority,
		"-o", "/dev/null", "-x", "http://"+tn.proxy, tn.origin.url("https", "www.rockets.example", "/long.txt"))
	if many.exit != 0 {
		t.Errorf("two transfers by one curl: %s", many.stderr)
	}
}

func compareTransfers(t *testing.T, what string, direct, through *fetched) {
	t.Helper()
	if through.exit != direct.exit || through.status != direct.status {
		t.Errorf("%s: curl exit %d, status %d; without the gateway %d, %d: %s", what, through.exit, through.status, direct.exit, direct.status, through.stderr)
	}
	if through.body != direct.body {
		t.Errorf("%s: the %d bytes of body differ from the %d without the gateway", what, len(through.body), len(direct.body))
		if len(through.body) < 1000 {
			t.Logf("through:\n%s\ndirect:\n%s", through.body, direct.body)
		}
	}
	if got, want := through.endToEnd(), direct.endToEnd(); !slices.Equal(got, want) {
		t.Errorf("%s: headers\n%s\nwithout the gateway\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// curlPrivate reaches for networks that nobody outside may reach through a
// proxy, and for the proxy itself.
func (tn town) curlPrivate(t *testing.T) {
	for _, host := range []string{"intranet.rockets.example", "10.20.30.40", "[::ffff:10.20.30.40]", "[64:ff9b::10.20.30.40]"} {
		if f := tn.through(t, "https://"+host+"/"); f.connect != 403 {
			t.Errorf("CONNECT %s: answered %d, want 403", host, f.connect)
		}
	}
	for _, listener := range []string{tn.proxy, tn.admin, tn.portal} {
		if f := tn.through(t, "https://"+listener+"/"); f.connect != 403 {
			t.Errorf("CONNECT to the gateway's own listener %s: answered %d, want 403", listener, f.connect)
		}
	}
}

// curlSignedIn is a gateway with a users file: somebody who has an exception
// must be able to say who they are, and nobody else is troubled.
func (tn town) curlSignedIn(t *testing.T) {
	zoom := tn.origin.url("https", "us04web.zoom.us", "/")
	free := tn.origin.url("https", "www.rockets.example", "/")
	as := func(desk, userinfo string) []string {
		args := []string{"--interface", desk}
		if userinfo != "" {
			args = append(args, "--proxy-user", userinfo)
		}
		return args
	}

	f := tn.through(t, zoom, as("127.0.1.1", "")...)
	if f.connect != 407 || !strings.HasPrefix(f.proxy.Get("Proxy-Authenticate"), "Basic ") {
		t.Errorf("no credentials: CONNECT answered %d, Proxy-Authenticate %q, want 407 and Basic", f.connect, f.proxy.Get("Proxy-Authenticate"))
	}
	if f := tn.through(t, free, as("127.0.1.1", "")...); f.status != 200 {
		t.Errorf("no credentials, a page for everyone: status %d, CONNECT %d, want 200 without a question", f.status, f.connect)
	}
	if f := tn.through(t, zoom, as("127.0.1.2", "priya@corp.example:wrong")...); f.connect != 407 {
		t.Errorf("a wrong password: CONNECT answered %d, want 407", f.connect)
	}
	f = tn.through(t, zoom, as("127.0.1.3", "alex@corp.example:apogee")...)
	if f.connect != 403 || f.proxy.Get("X-Sallyport-Rule") != "zoom-memo" {
		t.Errorf("signed in without an exception: CONNECT answered %d, want 403 by zoom-memo", f.connect)
	}

	direct := tn.direct(t, zoom)
	through := tn.through(t, zoom, as("127.0.1.4", "Priya@corp.example:orbit")...)
	compareTransfers(t, "signed in with an exception", &direct, &through)
	e := tn.logged(t, "the exception's use", func(e entry) bool { return e.User == "priya@corp.example" && e.Rule == "nasa-review" })
	if e.Identity != "basic" || e.Action != "allow" {
		t.Errorf("the decision log says identity %q, action %q, want basic and allow", e.Identity, e.Action)
	}
	seen := tn.through(t, tn.origin.url("http", "www.rockets.example", "/seen"), as("127.0.1.4", "priya@corp.example:orbit")...)
	if seen.status != 200 || !strings.Contains(seen.body, "proxy-authorization=\n") {
		t.Errorf("the origin sees the proxy's credentials:\n%s", seen.body)
	}
	// Who has signed in at the proxy door is known at the DNS door, at that desk.
	known := dig(t, "dig", tn.dns, "A", "us04web.zoom.us", "-b", "127.0.1.4")
	if got := known.data("A"); !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("from the desk of the exception's owner us04web.zoom.us is %v, want the real address", got)
	}
	for _, desk := range []string{"127.0.1.1", "127.0.1.2", "127.0.1.3"} {
		a := dig(t, "dig", tn.dns, "A", "us04web.zoom.us", "-b", desk)
		if got := a.data("A"); !slices.Equal(got, []string{"0.0.0.0"}) {
			t.Errorf("from %s, where nobody with an exception signed in, us04web.zoom.us is %v, want 0.0.0.0", desk, got)
		}
	}
}
