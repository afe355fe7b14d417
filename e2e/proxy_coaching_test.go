package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// coachingPolicy warns employees of Zoom and of every other meeting service.
const coachingPolicy = `version: 1
timezone: America/Los_Angeles
organisation: {name: Example Rockets, contact: it-help@corp.example}
groups:
  employees: {networks: [127.0.0.0/16]}
rules:
  - name: coach
    who: {groups: [employees]}
    what: {categories: [conferencing]}
    action: warn
    grant: 2h
    justification: required
    reason: Please use the approved app
    alternatives: [email, text, phone]
default: allow
`

// TestCoaching follows one employee past a warning with curl, from the first
// refusal to the end of the grant.
func TestCoaching(t *testing.T) {
	for _, program := range []string{"unbound", "nginx", "curl", "dig"} {
		need(t, program)
	}
	sallyport(t)
	upstream, site := startUnbound(t), startNginx(t)
	tn := town{gateway: startGateway(t, setting{Upstream: upstream}, coachingPolicy), upstream: upstream, origin: site}
	link := tn.coachedRefusals(t)
	tn.coachedPage(t, link)
	tn.coachedAttempts(t, link)
	tn.coachedContinue(t, link)
	tn.coachedBothDoors(t)
	tn.coachedRestart(t)
	tn.coachedRevoke(t)
	tn.coachedEdit(t)
}

// coachedRefusals reads the refusal in each of its forms, and gives its link.
func (tn town) coachedRefusals(t *testing.T) (link string) {
	t.Helper()
	page := tn.origin.url("http", "zoom.us", "/seen?a=b")
	for accept, kind := range map[string]string{"text/html": "text/html", "application/json": "application/json", "*/*": "text/plain"} {
		f := tn.through(t, page, "-H", "Accept: "+accept)
		link = f.head.Get("X-Sallyport-Continue")
		if f.status != 403 || !strings.HasPrefix(link, "http://"+tn.portal+"/continue?t=") || !strings.HasPrefix(f.head.Get("Content-Type"), kind) {
			t.Fatalf("Accept %s: status %d, %v", accept, f.status, f.head)
		}
		written := link
		switch kind {
		case "text/html":
			written = "Continue anyway for 2 hours"
		case "application/json":
			var refusal struct {
				Action, Continue, Justification string
				GrantSeconds                    int `json:"grant_seconds"`
			}
			if err := json.Unmarshal([]byte(f.body), &refusal); err != nil || refusal.Action != "warn" || refusal.Continue != link || refusal.Justification != "required" || refusal.GrantSeconds != 7200 {
				t.Errorf("JSON: %v %+v, want the link %s", err, refusal, link)
			}
			written = `"continue"`
		}
		if !strings.Contains(f.body, written) || !strings.Contains(f.body, "Please use the approved app") {
			t.Errorf("Accept %s: the page does not say %q:\n%s", accept, written, f.body)
		}
	}
	tunnel := tn.through(t, tn.origin.url("https", "us04web.zoom.us", "/"))
	if tunnel.connect != 403 || !strings.HasPrefix(tunnel.proxy.Get("X-Sallyport-Continue"), "http://"+tn.portal+"/continue?t=") {
		t.Errorf("CONNECT: status %d, %v", tunnel.connect, tunnel.proxy)
	}
	if a := dig(t, "dig", tn.dns, "A", "zoom.us"); !slices.Equal(a.data("A"), []string{"0.0.0.0"}) || !strings.Contains(a.ede, "Please use the approved app") {
		t.Errorf("the DNS door answers %v, %s", a.data("A"), a.ede)
	}
	return link
}

// coachedPage looks at the page of the link, which must grant nothing, and must
// let a browser send its form and nothing else.
func (tn town) coachedPage(t *testing.T, link string) {
	t.Helper()
	f := tn.curl(t, link, "-H", "Accept: text/html")
	for _, want := range []string{`<form method="post" action="/continue">`, "<textarea", "required", "email", "it-help@corp.example", "2 hours"} {
		if f.status != 200 || !strings.Contains(f.body, want) {
			t.Errorf("the page: status %d, no %q:\n%s", f.status, want, f.body)
		}
	}
	policy := f.head.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'") || !strings.Contains(policy, "form-action 'self'") || !strings.Contains(policy, "frame-ancestors 'none'") ||
		f.head.Get("Referrer-Policy") != "same-origin" || f.head.Get("Cache-Control") != "no-store" {
		t.Errorf("the page's headers are %v", f.head)
	}
	// The portal is reached through the proxy as well, by whoever sends all there.
	if f := tn.through(t, link, "-H", "Accept: text/html"); f.status != 200 || !strings.Contains(f.body, "<form") {
		t.Errorf("through the proxy: status %d\n%s", f.status, f.body)
	}
	if f := tn.through(t, tn.origin.url("http", "zoom.us", "/")); f.status != 403 {
		t.Errorf("to look at the page was enough: status %d", f.status)
	}
}

// coachedAttempts sends what must not be granted.
func (tn town) coachedAttempts(t *testing.T, link string) {
	t.Helper()
	said := []string{"--data-urlencode", "justification=a customer"}
	for name, c := range map[string]struct {
		link   string
		status int
		args   []string
	}{
		"no justification": {link, 422, []string{"--data", "justification=%20"}},
		"another site":     {link, 403, append([]string{"-H", "Origin: http://evil.example"}, said...)},
		"another frame":    {link, 403, append([]string{"-H", "Sec-Fetch-Site: cross-site"}, said...)},
		"another client":   {link, 403, append([]string{"--interface", "127.0.0.5"}, said...)},
		"rebound name":     {link, 421, append([]string{"-H", "Host: evil.example"}, said...)},
		"changed link":     {strings.Replace(link, "?t=A", "?t=B", 1), 400, said},
		"too long":         {link, 413, []string{"--data", "justification=" + strings.Repeat("x", 8<<10)}},
		"PUT":              {link, 405, append([]string{"-X", "PUT"}, said...)},
	} {
		if f := tn.curl(t, append([]string{c.link}, c.args...)...); f.status != c.status {
			t.Errorf("%s: status %d, want %d\n%s", name, f.status, c.status, f.body)
		}
	}
	if held := tn.metric(t, "sallyport_coaching_grants"); held != 0 {
		t.Fatalf("%v grants are held", held)
	}
}

// coachedContinue presses the button by way of the proxy, as a browser does
// that sends everything there, and lands on the page that was refused.
func (tn town) coachedContinue(t *testing.T, link string) {
	t.Helper()
	evil := link[:strings.Index(link, "&u=")] + "&u=https%3A%2F%2Fevil.example%2F"
	back := tn.through(t, link, "--location", "--data-urlencode", "justification=a customer meets there")
	if back.status != 200 || !strings.HasPrefix(back.body, "host=zoom.us:") {
		t.Errorf("back at the page: status %d\n%s", back.status, back.body)
	}
	again := tn.curl(t, evil, "--data-urlencode", "justification=x")
	if again.head.Get("Location") != "" || again.status != 200 {
		t.Errorf("a link that leads elsewhere in the end: status %d, %v", again.status, again.head)
	}
	e := tn.loggedGrant(t, "grant")
	if e["action"] != "continue" || e["rule"] != "coach" || e["app"] != "zoom" || e["client"] != "127.0.0.1" || e["justification"] != "a customer meets there" {
		t.Errorf("the decision log says %v", e)
	}
	tn.logged(t, "the refusal that led to the grant", func(d entry) bool { return d.ID == e["id"] && d.Action == "warn" })
}

// coachedBothDoors uses what was granted.
func (tn town) coachedBothDoors(t *testing.T) {
	t.Helper()
	for _, name := range []string{"zoom.us", "us04web.zoom.us"} {
		if f := tn.through(t, tn.origin.url("https", name, "/")); f.status != 200 || !strings.Contains(f.body, "Launch calendar") {
			t.Errorf("https://%s: status %d, CONNECT %d: %s", name, f.status, f.connect, f.stderr)
		}
		if a := dig(t, "dig", tn.dns, "A", name); !slices.Equal(a.data("A"), []string{"127.0.0.1"}) {
			t.Errorf("the DNS door answers %v for %s", a.data("A"), name)
		}
	}
	if f := tn.through(t, tn.origin.url("https", "meet.google.com", "/")); f.connect != 403 {
		t.Errorf("another app: CONNECT answered %d", f.connect)
	}
	if f := tn.through(t, tn.origin.url("https", "zoom.us", "/"), "--interface", "127.0.0.5"); f.connect != 403 {
		t.Errorf("another client: CONNECT answered %d", f.connect)
	}
	if a := dig(t, "dig", tn.dns, "A", "zoom.us", "-b", "127.0.0.5"); !slices.Equal(a.data("A"), []string{"0.0.0.0"}) {
		t.Errorf("another client's DNS answer: %v", a.data("A"))
	}
}

// coachedRestart stops the gateway and starts it again in the same folder.
func (tn town) coachedRestart(t *testing.T) {
	t.Helper()
	if code := tn.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	for _, name := range []string{"coaching.key", "coaching.grants"} {
		if info, err := os.Stat(filepath.Join(tn.dir, "state", name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	tn.child = spawn(t, tn.dir, sallyport(t), "serve", "--config", filepath.Join(tn.dir, "sallyport.yaml"))
	tn.waitReady(t)
	if f := tn.through(t, tn.origin.url("https", "zoom.us", "/")); f.status != 200 {
		t.Errorf("after a restart: status %d, CONNECT %d", f.status, f.connect)
	}
}

// coachedRevoke ends the grant while a download is under way.
func (tn town) coachedRevoke(t *testing.T) {
	t.Helper()
	var list struct {
		Grants []struct{ ID, Client, Justification string }
	}
	if _, body := tn.get(t, "/api/v1/grants"); json.Unmarshal([]byte(body), &list) != nil || len(list.Grants) != 1 || list.Grants[0].Justification != "a customer meets there" {
		t.Fatalf("grants %s", body)
	}
	download := make(chan fetched, 1)
	go func() {
		download <- tn.through(t, tn.origin.url("https", "zoom.us", "/blob.bin"), "--limit-rate", "200k")
	}()
	eventually(t, "the download is under way", func() error {
		if n := tn.metric(t, "sallyport_proxy_tunnels"); n != 1 {
			return fmt.Errorf("%v tunnels", n)
		}
		return nil
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+tn.admin+"/api/v1/grants/"+list.Grants[0].ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("revoke: %s", response.Status)
	}
	if f := <-download; f.exit == 0 || f.connect != 200 || len(f.body) >= blobSize {
		t.Errorf("the download: curl exit %d, CONNECT %d, %d bytes", f.exit, f.connect, len(f.body))
	}
	if f := tn.through(t, tn.origin.url("https", "zoom.us", "/")); f.connect != 403 {
		t.Errorf("after that: CONNECT answered %d", f.connect)
	}
	if e := tn.loggedGrant(t, "grant_end"); e["ended_by"] != "revoked" || e["grant"] != list.Grants[0].ID {
		t.Errorf("the decision log says %v", e)
	}
}

// coachedEdit makes a ban of the warning: links that are about lead nowhere.
func (tn town) coachedEdit(t *testing.T) {
	t.Helper()
	link := tn.through(t, tn.origin.url("http", "zoom.us", "/")).head.Get("X-Sallyport-Continue")
	tn.rewrite(t, strings.Replace(coachingPolicy, "    action: warn\n    grant: 2h\n    justification: required\n", "    action: block\n", 1))
	eventually(t, "the ban is in force", func() error {
		f := tn.through(t, tn.origin.url("http", "zoom.us", "/"), "-H", "Accept: application/json")
		if !strings.Contains(f.body, `"action": "block"`) {
			return fmt.Errorf("status %d\n%s", f.status, f.body)
		}
		if got := f.head.Get("X-Sallyport-Continue"); got != "" {
			t.Errorf("a ban offers to continue at %s", got)
		}
		return nil
	})
	if f := tn.curl(t, link, "--data-urlencode", "justification=please"); f.status != 403 || !strings.Contains(f.body, "is blocked on the network") {
		t.Errorf("a link from before the ban: status %d\n%s", f.status, f.body)
	}
}

// loggedGrant waits for the one entry of its kind.
func (g *gateway) loggedGrant(t *testing.T, event string) map[string]any {
	t.Helper()
	var found map[string]any
	eventually(t, "the decision log has a "+event, func() error {
		count := 0
		for line := range strings.Lines(readFile(t, filepath.Join(g.dir, "decisions.jsonl"))) {
			var e map[string]any
			if json.Unmarshal([]byte(line), &e) == nil && e["event"] == event {
				found = e
				count++
			}
		}
		if count != 1 {
			return fmt.Errorf("%d entries", count)
		}
		return nil
	})
	return found
}
