package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/policy"
)

// coached warns of Zoom in the first place, and of other things.
const coached = `version: 1
timezone: America/Los_Angeles
organisation: {name: Example Rockets, contact: it-help@corp.example}
rules:
  - {name: town, what: {domains: [town.example]}, action: allow}
  - {name: ban, what: {apps: [webex]}, action: block, reason: Banned}
  - {name: coach, what: {apps: [zoom, jitsi]}, action: warn, grant: 8h, justification: required, reason: Not approved, alternatives: [Teams]}
  - {name: short, what: {domains: [short.example]}, action: warn, grant: 1m, justification: none}
  - {name: people, who: {users: [priya, alex]}, what: {domains: [people.example]}, action: warn}
default: allow
`

// browser follows links from one address, as a person does.
type browser struct {
	t    *testing.T
	g    *running
	from string
}

func (r *running) from(addr string) browser { return browser{r.t, r, addr} }

// do sends one request to the portal.
func (b browser) do(request *http.Request, accept string) *http.Response {
	b.t.Helper()
	request.Header.Set("Accept", accept)
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(b.from)}}
	conn, err := dialer.Dial("tcp", b.g.addr("portal http"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		b.t.Fatal(err)
	}
	if err := request.Write(conn); err != nil {
		b.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		b.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response
}

func (b browser) get(link, accept string) (int, string) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, link, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	response := b.do(request, accept)
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// press sends the form of a link's page.
func (b browser) press(link, justification string) *http.Response {
	b.t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		b.t.Fatal(err)
	}
	form := u.Query()
	form.Set("justification", justification)
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, u.Scheme+"://"+u.Host+u.Path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", u.Scheme+"://"+u.Host)
	return b.do(request, "text/html")
}

// connect asks the proxy door for a tunnel: nil where it is refused, and then
// with the link that it offers.
func (b browser) connect(target, header string) (conn net.Conn, link string) {
	b.t.Helper()
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(b.from)}}
	dialled, err := dialer.Dial("tcp", b.g.addr("proxy http"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = dialled.Close() })
	response, err := sendConnect(dialled, target, header)
	if err != nil {
		b.t.Fatal(err)
	}
	if response.StatusCode == http.StatusOK {
		return dialled, ""
	}
	if response.StatusCode != http.StatusForbidden {
		b.t.Fatalf("CONNECT %s: %s", target, response.Status)
	}
	return nil, response.Header.Get(blockpage.ContinueHeader)
}

// warned is the link that a refusal offers, which must be one.
func (b browser) warned(target string) string {
	b.t.Helper()
	conn, link := b.connect(target, "")
	if conn != nil || link == "" {
		b.t.Fatalf("%s from %s: tunnel %v, link %q", target, b.from, conn != nil, link)
	}
	return link
}

// resolved reports whether the DNS door answers with the real address.
func (b browser) resolved(name string) bool {
	b.t.Helper()
	addrs, _, err := queryFrom(b.g.addr("dns udp"), b.from, name)
	if err != nil || len(addrs) != 1 {
		b.t.Fatal(addrs, err)
	}
	return !addrs[0].IsUnspecified()
}

// logged are the entries of the decision log that have a field.
func (r *running) logOf(key, value string) []map[string]any {
	var found []map[string]any
	for _, e := range r.entries() {
		if e[key] == value {
			found = append(found, e)
		}
	}
	return found
}

// TestContinueFromTheProxy is the whole way: refused, the page, the button, and
// both doors open, for that client and that app alone.
func TestContinueFromTheProxy(t *testing.T) {
	port := echoServer(t)
	g := start(t, coached, nil)
	desk, other := g.from("127.0.0.1"), g.from("127.0.0.2")
	link := desk.warned("us04web.zoom.us:" + port)
	if !strings.HasPrefix(link, "http://"+g.addr("portal http")+"/continue?t=") || !strings.HasSuffix(link, "&u="+url.QueryEscape("https://us04web.zoom.us:"+port+"/")) {
		t.Fatalf("link %s", link)
	}
	if desk.resolved("zoom.us") {
		t.Error("the DNS door answers before anything was granted")
	}

	status, page := desk.get(link, "text/html")
	for _, want := range []string{"Zoom is discouraged", "Not approved", "Teams", "it-help@corp.example", `<form method="post"`, "for 8 hours", "required"} {
		if status != http.StatusOK || !strings.Contains(page, want) {
			t.Errorf("the page (%d) has no %q:\n%s", status, want, page)
		}
	}
	var offer struct {
		Continue, Justification string
		GrantSeconds            int `json:"grant_seconds"`
	}
	if _, body := desk.get(link, "application/json"); json.Unmarshal([]byte(body), &offer) != nil || offer.Continue != link || offer.Justification != "required" || offer.GrantSeconds != 8*3600 {
		t.Errorf("as JSON: %s", body)
	}
	if conn, _ := desk.connect("us04web.zoom.us:"+port, ""); conn != nil {
		t.Fatal("to look at the page was enough")
	}

	if response := desk.press(link, " \n"); response.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("without a justification: %s", response.Status)
	}
	response := desk.press(link, "a customer\r\nmeets <there>")
	if response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "https://us04web.zoom.us:"+port+"/" {
		t.Fatalf("%s to %q", response.Status, response.Header.Get("Location"))
	}

	for _, name := range []string{"us04web.zoom.us", "zoom.us"} {
		conn, _ := desk.connect(name+":"+port, "")
		if conn == nil {
			t.Fatalf("%s is refused", name)
		}
		if err := echo(conn); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !desk.resolved(name) {
			t.Errorf("the DNS door refuses %s", name)
		}
	}
	if _, ttl, err := queryFrom(g.addr("dns udp"), "127.0.0.1", "zoom.us"); err != nil || ttl > 8*3600 {
		t.Errorf("an answer may be kept for %d s (%v)", ttl, err)
	}
	desk.warned("meet.jit.si:" + port)
	other.warned("zoom.us:" + port)
	if other.resolved("zoom.us") {
		t.Error("another client may, too")
	}

	// The button once more, and the page: the way is open already.
	if again := desk.press(link, "x"); again.StatusCode != http.StatusSeeOther {
		t.Errorf("pressed again: %s", again.Status)
	}
	if status, body := desk.get(link, "*/*"); status != http.StatusOK || !strings.HasPrefix(body, "Zoom is open to you until ") {
		t.Errorf("the page once more: %d %s", status, body)
	}
	g.wantMetric(`sallyport_coaching_grants_total{rule="coach"}`, "1")
	g.wantMetric(`sallyport_coaching_grants`, "1")
	g.wantMetric(`sallyport_coaching_refused_total{reason="justification"}`, "1")

	eventually(t, func() error {
		grants := g.logOf("event", "grant")
		if len(grants) != 1 {
			return fmt.Errorf("%d entries of grants", len(grants))
		}
		e := grants[0]
		refusals := slices.DeleteFunc(g.logOf("id", e["id"].(string)), func(e map[string]any) bool { return e["action"] != "warn" })
		if len(refusals) != 1 {
			return fmt.Errorf("%d refusals have the id of the grant: %v", len(refusals), e)
		}
		if e["action"] != "continue" || e["rule"] != "coach" || e["app"] != "zoom" || e["client"] != "127.0.0.1" || e["door"] != "proxy" ||
			e["host"] != "us04web.zoom.us" || e["justification"] != "a customer meets <there>" || e["transport"] != "portal" {
			return fmt.Errorf("entry %v", e)
		}
		if len(g.logOf("action", "allow")) == 0 || !slices.ContainsFunc(g.entries(), func(e map[string]any) bool { return e["granted"] == true && e["door"] == "dns" && e["rule"] == "coach" }) {
			return fmt.Errorf("no decision says that it was granted")
		}
		return nil
	})
	status, body := g.get("/api/v1/explain?ip=127.0.0.1&host=zoom.us&port=443")
	if status != http.StatusOK || !strings.Contains(body, `"granted": true`) || !strings.Contains(body, "granted until ") {
		t.Errorf("explain: %d %s", status, body)
	}
	if _, body := g.get("/api/v1/explain?ip=127.0.0.1&host=zoom.us&port=443&at=2020-04-01T12:00"); strings.Contains(body, "granted") {
		t.Errorf("explain knows of grants of long ago: %s", body)
	}
}

// TestContinueFromTheDNSDoor is the same for a browser that the DNS door sent to
// the portal.
func TestContinueFromTheDNSDoor(t *testing.T) {
	port := echoServer(t)
	g := start(t, coached, nil)
	desk := g.from("127.0.0.3")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://short.example/j/1?x=%22y%22", nil)
	if err != nil {
		t.Fatal(err)
	}
	response := desk.do(request, "text/html")
	link := response.Header.Get(blockpage.ContinueHeader)
	if response.StatusCode != http.StatusForbidden || link == "" {
		t.Fatalf("%s, link %q", response.Status, link)
	}
	if _, page := desk.get(link, "text/html"); strings.Contains(page, "<textarea") || !strings.Contains(page, "for 1 minute") {
		t.Errorf("the page asks for a justification:\n%s", page)
	}
	response = desk.press(link, "nobody asked")
	if response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "http://short.example/j/1?x=%22y%22" {
		t.Fatalf("%s to %q", response.Status, response.Header.Get("Location"))
	}
	if conn, _ := desk.connect("short.example:"+port, ""); conn == nil || !desk.resolved("www.short.example") {
		t.Error("granted at the DNS door, and refused")
	}
	if _, ttl, err := queryFrom(g.addr("dns udp"), "127.0.0.3", "www.short.example"); err != nil || ttl > 61 {
		t.Errorf("an answer may be kept for %d s, and the grant is of a minute (%v)", ttl, err)
	}
	response = desk.do(request.Clone(t.Context()), "text/html")
	if response.StatusCode != http.StatusOK || response.Header.Get("Refresh") == "" || !response.Close {
		t.Errorf("a browser that remembers the portal's address: %s %v", response.Status, response.Header)
	}
	eventually(t, func() error {
		if e := g.logOf("event", "grant"); len(e) != 1 || e[0]["justification"] != "" || e[0]["door"] != "dns" {
			return fmt.Errorf("entries %v", e)
		}
		return nil
	})
}

// TestContinueLeadsThroughAliases: a name that leads into an app asks for the
// app's grant, and has it.
func TestContinueLeadsThroughAliases(t *testing.T) {
	port := echoServer(t)
	g := start(t, coached, nil)
	desk := g.from("127.0.0.1")
	if response := desk.press(desk.warned("vanity.corp.example:"+port), "a vanity name"); response.StatusCode != http.StatusSeeOther {
		t.Fatal(response.Status)
	}
	for _, name := range []string{"vanity.corp.example", "zoom.us"} {
		if conn, _ := desk.connect(name+":"+port, ""); conn == nil || !desk.resolved(name) {
			t.Errorf("%s is refused", name)
		}
	}
	// A grant of the app does not cover what the client claims besides.
	conn, _ := desk.connect("zoom.us:"+port, "")
	if conn == nil {
		t.Fatal("refused")
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: meet.jit.si\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := closedSoon(conn); err != nil {
		t.Errorf("another app in a granted tunnel: %v", err)
	}
}

// TestLinksOfOthers: what is not one's own, or old, or changed, grants nothing.
func TestLinksOfOthers(t *testing.T) {
	port := echoServer(t)
	var c clock
	began := time.Date(2020, 4, 1, 9, 0, 0, 0, time.UTC)
	c.set(began)
	g := start(t, coached, func(config *Config, d *Dependencies) { slowPoll(config, d); d.Now = c.now })
	desk, other := g.from("127.0.0.1"), g.from("127.0.0.2")
	link := desk.warned("zoom.us:" + port)
	foreign := start(t, coached, slowPoll).from("127.0.0.1").warned("zoom.us:" + port)
	changed := strings.Replace(link, "?t=A", "?t=B", 1)
	if changed == link {
		t.Fatalf("link %s", link)
	}
	for _, test := range []struct {
		name, reason string
		by           browser
		link         string
		status       int
	}{
		{"another client", "client", other, link, http.StatusForbidden},
		{"another gateway", "token", desk, foreign, http.StatusBadRequest},
		{"changed", "token", desk, changed, http.StatusBadRequest},
		{"cut", "token", desk, link[:len(link)/2], http.StatusBadRequest},
		{"no token", "token", desk, "http://" + g.addr("portal http") + "/continue", http.StatusBadRequest},
	} {
		if status, _ := test.by.get(test.link, "text/html"); status != test.status {
			t.Errorf("%s: the page is %d, want %d", test.name, status, test.status)
		}
		before := g.metric(`sallyport_coaching_refused_total{reason="` + test.reason + `"}`)
		if response := test.by.press(test.link, "please"); response.StatusCode != test.status {
			t.Errorf("%s: %s, want %d", test.name, response.Status, test.status)
		}
		if after := g.metric(`sallyport_coaching_refused_total{reason="` + test.reason + `"}`); after == before {
			t.Errorf("%s: is not counted as %s", test.name, test.reason)
		}
	}
	c.set(began.Add(linkTime))
	if response := desk.press(link, "please"); response.StatusCode != http.StatusGone {
		t.Errorf("an hour later: %s", response.Status)
	}
	g.wantMetric(`sallyport_coaching_refused_total{reason="expired"}`, "1")
	g.wantMetric("sallyport_coaching_grants", "0")
	if n := len(g.logOf("event", "grant")); n != 0 {
		t.Errorf("%d grants", n)
	}
}

// TestContinueAsUser: what somebody who has signed in is granted goes with
// them, and with nobody else at their desk.
func TestContinueAsUser(t *testing.T) {
	port := echoServer(t)
	users := filepath.Join(t.TempDir(), "users")
	writeFile(t, users, htpasswdLine(t, "priya")+htpasswdLine(t, "alex"))
	g := start(t, coached, func(c *Config, _ *Dependencies) {
		c.Proxy.UsersFile = users
		c.Users.Remember = time.Hour
	})
	as := func(user string) string { return "Proxy-Authorization: " + basic(user, user) + "\r\n" }
	desk, home := g.from("127.0.0.1"), g.from("127.0.0.2")
	_, link := desk.connect("people.example:"+port, as("priya"))
	if link == "" {
		t.Fatal("no link")
	}
	// From another address, where nobody is known to be priya, it is not hers.
	if response := g.from("127.0.0.7").press(link, ""); response.StatusCode != http.StatusForbidden {
		t.Errorf("from elsewhere: %s", response.Status)
	}
	// At home she has been seen, too.
	if _, link := home.connect("people.example:"+port, as("priya")); link == "" {
		t.Fatal("no link at home")
	}
	if response := home.press(link, "meeting"); response.StatusCode != http.StatusSeeOther {
		t.Errorf("at home: %s", response.Status)
	}
	for _, b := range []browser{desk, home} {
		if conn, _ := b.connect("people.example:"+port, as("priya")); conn == nil {
			t.Errorf("priya is refused at %s", b.from)
		}
		if conn, _ := b.connect("people.example:"+port, as("alex")); conn != nil {
			t.Errorf("alex is let through at %s", b.from)
		}
	}
	eventually(t, func() error {
		if e := g.logOf("event", "grant"); len(e) != 1 || e[0]["user"] != "priya" || e[0]["client"] != "127.0.0.2" {
			return fmt.Errorf("entries %v", e)
		}
		return nil
	})
}

// TestNoPortalNoWay: where the portal is off, a warning is a refusal.
func TestNoPortalNoWay(t *testing.T) {
	g := start(t, coached, func(c *Config, _ *Dependencies) { c.Portal.Listen = "" })
	_, response, err := connectThrough(g.addr("proxy http"), "", "zoom.us:443")
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusForbidden || response.Header.Get(blockpage.ContinueHeader) != "" {
		t.Errorf("%s %v", response.Status, response.Header)
	}
	if status, body := g.get("/api/v1/grants"); status != http.StatusOK || !strings.Contains(body, `"held": 0`) {
		t.Errorf("%d %s", status, body)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(g.policy), "state")); !os.IsNotExist(err) {
		t.Errorf("a state folder was made: %v", err)
	}
	problems := g.state.Load().inForce.Problems
	if !strings.Contains(fmt.Sprint(problems), `rule "coach" warns, and nobody can continue past it`) {
		t.Errorf("problems %v", problems)
	}
}

// TestStateThatCannotBeWritten: the gateway starts, people continue, and who
// looks learns that a restart would forget it.
func TestStateThatCannotBeWritten(t *testing.T) {
	port := echoServer(t)
	g := start(t, coached, func(c *Config, _ *Dependencies) {
		c.State = filepath.Join(filepath.Dir(c.Policy), "state")
		writeFile(t, c.State, "in the way")
	})
	if n := g.logged("links past a warning will be void after a restart: let the gateway write to its state folder, or name a key in coaching.key"); n != 1 {
		t.Errorf("%d warnings were logged", n)
	}
	desk := g.from("127.0.0.1")
	desk.press(desk.warned("zoom.us:"+port), "please")
	if conn, _ := desk.connect("zoom.us:"+port, ""); conn == nil {
		t.Error("refused")
	}
	eventually(t, func() error {
		if status, body := g.get("/readyz"); status != http.StatusOK || !strings.Contains(body, "a restart would forget who has continued") {
			return fmt.Errorf("readyz: %d %s", status, body)
		}
		return nil
	})
}

// TestManyContinue has many clients continue, be refused and be revoked at
// once.
func TestManyContinue(t *testing.T) {
	g := start(t, coached, slowPoll)
	var all sync.WaitGroup
	for i := range 8 {
		b := g.from(fmt.Sprintf("127.0.3.%d", i+1))
		all.Go(func() {
			for _, name := range []string{"short.example", "www.short.example"} {
				link := g.coach.link(&policy.Decision{
					Door: policy.DoorDNS, Client: netip.MustParseAddr(b.from), Host: policy.HostFromCanonicalName(name),
					Subject: g.identity.ByAddr(netip.MustParseAddr(b.from)),
					Verdict: g.engine.Decide(&policy.Request{Door: policy.DoorDNS, At: time.Now(), Host: policy.HostFromCanonicalName(name)}),
				}, "")
				if name == "short.example" && link == "" {
					t.Errorf("%s: no link", b.from)
					return
				}
				if link == "" {
					continue // granted by now
				}
				request := console.ContinueRequest{Client: netip.MustParseAddr(b.from), Token: strings.TrimPrefix(link[strings.Index(link, "?t="):], "?t=")}
				if reply := g.coach.accept(request); reply.Continued == nil {
					t.Errorf("%s: %+v", b.from, reply)
				}
			}
		})
	}
	all.Wait()
	grants := g.coach.list()
	if len(grants) != 8 {
		t.Fatalf("%d grants", len(grants))
	}
	for i := range grants {
		all.Go(func() {
			if _, err := g.coach.revoke(t.Context(), grants[i].ID); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(g.coach.list()); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// TestPortalByItsURL: the proxy knows the portal by the address in links.
func TestPortalByItsURL(t *testing.T) {
	g := start(t, coached, func(c *Config, _ *Dependencies) { c.Portal.URL = "http://gate.corp.example" })
	if !g.isPortal(policy.HostFromCanonicalName("gate.corp.example"), 80) || g.isPortal(policy.HostFromCanonicalName("gate.corp.example"), 443) {
		t.Error("the address in links is not known")
	}
	link := g.from("127.0.0.1").warned("zoom.us:443")
	if !strings.HasPrefix(link, "http://gate.corp.example/continue?t=") {
		t.Fatalf("link %s", link)
	}
	// Through the proxy, as a browser goes that sends everything there.
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: g.addr("proxy http")}), DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.PostForm(link, url.Values{"justification": {"through the proxy"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusSeeOther {
		t.Errorf("continued through the proxy: %s", response.Status)
	}
}
