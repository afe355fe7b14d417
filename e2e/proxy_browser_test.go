package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// browser is a Chromium that stays open, with somebody at its keyboard: the
// test, by way of the DevTools protocol.
type browser struct {
	t      *testing.T
	wire   *websocket.Conn
	asked  int
	folder string // for pictures
}

// openBrowser starts Chromium behind a proxy. It trusts authorities that its
// user has in an NSS database, as an organisation would put them there.
func openBrowser(t *testing.T, proxy string, authorities ...string) *browser {
	t.Helper()
	chromium, home := need(t, "chromium"), t.TempDir()
	store, profile := filepath.Join(home, ".pki", "nssdb"), filepath.Join(home, "chromium")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	install := [][]string{{"-N", "--empty-password"}}
	for i, file := range authorities {
		install = append(install, []string{"-A", "-t", "C,,", "-n", fmt.Sprint("authority ", i), "-i", file})
	}
	for _, args := range install {
		if r := run(t, home, need(t, "certutil"), append([]string{"-d", "sql:" + store}, args...)...); r.code != 0 {
			t.Fatalf("certutil %v: %s", args, r.stderr)
		}
	}
	c := spawn(t, home, chromium,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-extensions", "--user-data-dir="+profile, "--proxy-server=http://"+proxy,
		"--window-size=900,800", "--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank")
	b := &browser{t: t, folder: os.Getenv(screenshotsEnv)}
	if b.folder == "" {
		b.folder = t.TempDir()
	}
	eventually(t, "Chromium takes commands", func() error {
		if !c.running() {
			t.Fatal("Chromium ended")
		}
		return b.attach(filepath.Join(profile, "DevToolsActivePort"))
	})
	t.Cleanup(func() { b.wire.Close() })
	return b
}

// attach finds the one page of a Chromium that has just started.
func (b *browser) attach(portFile string) error {
	text, err := os.ReadFile(portFile)
	if err != nil {
		return err
	}
	port, _, _ := strings.Cut(string(text), "\n")
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://127.0.0.1:" + port + "/json/list")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var pages []struct {
		Type string
		URL  string `json:"webSocketDebuggerUrl"`
	}
	if err := json.NewDecoder(response.Body).Decode(&pages); err != nil {
		return err
	}
	for _, page := range pages {
		if page.Type == "page" {
			b.wire, err = websocket.Dial(page.URL, "", "http://127.0.0.1")
			return err
		}
	}
	return errors.New("it has no page")
}

// do gives a command and waits for what came of it.
func (b *browser) do(method string, params map[string]any, result any) error {
	b.asked++
	if err := b.wire.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := websocket.JSON.Send(b.wire, map[string]any{"id": b.asked, "method": method, "params": params}); err != nil {
		return err
	}
	for {
		var reply struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := websocket.JSON.Receive(b.wire, &reply); err != nil {
			return err
		}
		switch {
		case reply.ID != b.asked: // an event, or an earlier reply
		case reply.Error != nil:
			return errors.New(method + ": " + reply.Error.Message)
		case result == nil:
			return nil
		default:
			return json.Unmarshal(reply.Result, result)
		}
	}
}

// visit types an address.
func (b *browser) visit(url string) {
	b.t.Helper()
	if err := b.do("Page.navigate", map[string]any{"url": url}, nil); err != nil {
		b.t.Fatalf("visit %s: %v", url, err)
	}
}

// script runs JavaScript in the page, and gives the text that it evaluates to.
func (b *browser) script(code string) (string, error) {
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	err := b.do("Runtime.evaluate", map[string]any{"expression": code, "returnByValue": true, "userGesture": true}, &got)
	if err == nil && got.ExceptionDetails != nil {
		err = errors.New(got.ExceptionDetails.Text)
	}
	return fmt.Sprint(got.Result.Value), err
}

// press does something to the page that must be possible.
func (b *browser) press(code string) {
	b.t.Helper()
	if _, err := b.script(code); err != nil {
		b.t.Fatalf("%s: %v", code, err)
	}
}

// shows waits until the page at an address says all of some words, and takes a
// picture of it.
func (b *browser) shows(picture, address string, words ...string) {
	b.t.Helper()
	eventually(b.t, picture, func() error {
		at, err := b.script("location.href")
		if err != nil {
			return err
		}
		text, err := b.script("document.body.innerText")
		if err != nil {
			return err
		}
		if !strings.HasPrefix(at, address) {
			return fmt.Errorf("it is at %s, want %s:\n%s", at, address, text)
		}
		for _, word := range words {
			if !strings.Contains(text, word) {
				return fmt.Errorf("%s does not say %q:\n%s", at, word, text)
			}
		}
		return nil
	})
	var shot struct{ Data string }
	if err := b.do("Page.captureScreenshot", nil, &shot); err != nil {
		b.t.Fatalf("picture of %s: %v", picture, err)
	}
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil || len(png) < 1000 {
		b.t.Fatalf("picture of %s: %d bytes, %v", picture, len(png), err)
	}
	writeFile(b.t, filepath.Join(b.folder, picture+".png"), png)
}

// TestBrowserContinuesOverHTTPS is an employee who is warned of a site over
// HTTPS, says why it must be, and works there.
func TestBrowserContinuesOverHTTPS(t *testing.T) {
	for _, program := range []string{"chromium", "certutil", "unbound", "nginx"} {
		need(t, program)
	}
	sallyport(t)
	upstream, site := startUnbound(t), startNginx(t)
	policy := changed(t, coachingPolicy, "default: allow", `  - {name: closed, what: {domains: [notzoom.us]}, action: block, reason: It is not Zoom either}
default: allow`)
	g, authority := startShowing(t, setting{Upstream: upstream}, policy)
	b := openBrowser(t, g.proxy, authority, site.authority)

	b.visit(site.url("https", "notzoom.us", "/j/1"))
	b.shows("blocked-https", site.url("https", "notzoom.us", "/"), "It is not Zoom either", "it-help@corp.example")

	meeting := site.url("https", "us04web.zoom.us", "/index.html")
	b.visit(meeting)
	b.shows("warned-https", meeting, "Please use the approved app", "email", "Continue anyway")
	asked := site.requests(t)
	b.press(`[...document.links].find(a => a.textContent.includes("Continue anyway")).click()`)
	b.shows("continue-form", "http://"+g.portal+"/continue", "2 hours", "Please use the approved app")
	b.press(`document.querySelector("textarea").value = "a customer meets there"`)
	if n := site.requests(t); n != asked {
		t.Errorf("the origin was asked %d times before anybody continued", n-asked)
	}
	b.press(`document.querySelector("form button, form input[type=submit]").click()`)
	b.shows("continued-https", meeting, launch)
	if e := g.loggedGrant(t, "grant"); e["justification"] != "a customer meets there" || e["app"] != "zoom" {
		t.Errorf("the decision log says %v", e)
	}

	// The site's own certificate is what the browser sees now, on every name of
	// the app, and what is blocked stays so.
	b.visit(site.url("https", "zoom.us", "/index.html"))
	b.shows("other-name", site.url("https", "zoom.us", "/"), launch)
	b.visit(site.url("https", "notzoom.us", "/j/2"))
	b.shows("blocked-still", site.url("https", "notzoom.us", "/"), "It is not Zoom either")
	eventually(t, "two connections at least are counted as shown a page", func() error {
		return atLeast(g.metric(t, "sallyport_proxy_intercepted_total", `result="shown"`), 2)
	})
}

// startShowing runs the binary with an authority of its own for pages over
// HTTPS, and gives the file of its certificate.
func startShowing(t *testing.T, s setting, policy string) (g *gateway, authority string) {
	t.Helper()
	binary := sallyport(t)
	dir, config := configure(t, s, policy)
	authority = filepath.Join(dir, "ca.crt")
	made := run(t, dir, binary, "ca", "init", "--certificate", authority, "--key", filepath.Join(dir, "ca.key"),
		"--permit", "zoom.us", "--permit", "notzoom.us")
	if made.code != 0 {
		t.Fatalf("ca init: %d\n%s", made.code, made.stderr)
	}
	writeFile(t, config, []byte(changed(t, readFile(t, config), "proxy:\n", "proxy:\n  interception: {ca: ca.crt, key: ca.key}\n")))
	g = &gateway{dir: dir, child: spawn(t, dir, binary, "serve", "--config", config)}
	g.waitReady(t)
	return g, authority
}
