package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// startSteering runs the binary with portal.pac, a policy, and further files
// beside it.
func startSteering(t *testing.T, s setting, pac, policy string, files map[string]string) *gateway {
	t.Helper()
	binary := sallyport(t)
	dir, config := configure(t, s, policy)
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	const portal = `portal: {listen: "127.0.0.1:0"`
	writeFile(t, config, []byte(changed(t, readFile(t, config), portal, portal+", pac: "+pac)))
	g := &gateway{dir: dir, child: spawn(t, dir, binary, "serve", "--config", config)}
	g.waitReady(t)
	return g
}

// browseSteered is Chromium with nothing told but where the script is. Names
// that it looks up itself are all on loopback.
func (tn town) browseSteered(t *testing.T, path, url string) string {
	t.Helper()
	profile := t.TempDir()
	r := run(t, profile, need(t, "chromium"),
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-extensions", "--user-data-dir="+filepath.Join(profile, "chromium"),
		"--proxy-pac-url=http://"+tn.portal+path, "--host-resolver-rules=MAP * 127.0.0.1",
		"--ignore-certificate-errors-spki-list="+tn.origin.spki, // the origin's key alone, and no other
		"--dump-dom", url)
	if at := strings.Index(r.stderr, "net::ERR_"); at >= 0 && r.stdout == "" {
		return r.stderr[at:]
	}
	return r.stdout
}

// proxied counts the decisions of the proxy door about a host.
func (tn town) proxied(t *testing.T, host string) int {
	t.Helper()
	n := 0
	for _, e := range tn.decisions(t) {
		if e.Door == "proxy" && e.Host == host && e.Event == "" {
			n++
		}
	}
	return n
}

const launch = "go for launch" // on every page of the origin

// TestChromiumSteered lets Chromium read the script that the policy makes, and
// go where it says.
func TestChromiumSteered(t *testing.T) {
	need(t, "chromium")
	sallyport(t)
	upstream, site := startUnbound(t), startNginx(t)
	policy := readFile(t, "testdata/policy.yaml")
	steered := func(pac string) town {
		return town{gateway: startSteering(t, setting{Upstream: upstream}, pac, policy, nil), upstream: upstream, origin: site}
	}

	t.Run("Judged", func(t *testing.T) {
		tn := steered("{mode: judged}")
		asked := site.requests(t)
		page := tn.browseSteered(t, "/proxy.pac", site.url("http", "us04web.zoom.us", "/"))
		for _, word := range memoWords {
			if !strings.Contains(page, word) {
				t.Errorf("the page for a refused name does not say %q:\n%s", word, lastLines(page, 30))
			}
		}
		if page := tn.browseSteered(t, "/wpad.dat", site.url("https", "zoom.us", "/")); !strings.Contains(page, "ERR_TUNNEL_CONNECTION_FAILED") {
			t.Errorf("a refused name over HTTPS:\n%s", lastLines(page, 30))
		}
		if n := site.requests(t) - asked; n != 0 {
			t.Errorf("the origin was asked %d times for refused pages", n)
		}
		tn.logged(t, "the refused name", func(e entry) bool { return e.Door == "proxy" && e.Host == "us04web.zoom.us" && e.Rule == "zoom-memo" })
		for _, scheme := range []string{"http", "https"} {
			if page := tn.browseSteered(t, "/proxy.pac", site.url(scheme, "www.rockets.example", "/")); !strings.Contains(page, launch) {
				t.Errorf("a name that no rule is about, over %s:\n%s", scheme, lastLines(page, 30))
			}
		}
		if n := tn.proxied(t, "www.rockets.example"); n != 0 {
			t.Errorf("a name that no rule is about went through the proxy %d times", n)
		}
	})

	t.Run("All", func(t *testing.T) {
		tn := steered("{mode: all, direct: [zoomlion.com]}")
		for _, host := range []string{"www.rockets.example", "zoomlion.com"} {
			if page := tn.browseSteered(t, "/proxy.pac", site.url("http", host, "/")); !strings.Contains(page, launch) {
				t.Errorf("%s:\n%s", host, lastLines(page, 30))
			}
		}
		tn.logged(t, "the name that goes to the proxy", func(e entry) bool { return e.Door == "proxy" && e.Host == "www.rockets.example" })
		if n := tn.proxied(t, "zoomlion.com"); n != 0 {
			t.Errorf("what goes straight went through the proxy %d times", n)
		}
	})

	t.Run("Failover", func(t *testing.T) {
		dead := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		tn := steered("{proxy: [" + dead + ", http]}")
		if page := tn.browseSteered(t, "/proxy.pac", site.url("http", "www.rockets.example", "/")); !strings.Contains(page, launch) {
			t.Errorf("the second proxy was not asked:\n%s", lastLines(page, 30))
		}
		tn.logged(t, "the name that went to the second proxy", func(e entry) bool { return e.Door == "proxy" && e.Host == "www.rockets.example" })
		for fallback, want := range map[string]string{"deny": "ERR_PROXY_CONNECTION_FAILED", "direct": launch} {
			tn := steered("{proxy: [" + dead + "], fallback: " + fallback + "}")
			if page := tn.browseSteered(t, "/proxy.pac", site.url("http", "www.rockets.example", "/")); !strings.Contains(page, want) {
				t.Errorf("fallback %s, and no proxy: want %s\n%s", fallback, want, lastLines(page, 30))
			}
		}
	})

	t.Run("Large", func(t *testing.T) {
		var list strings.Builder
		for i := range 23_000 {
			fmt.Fprintf(&list, "a-name-of-average-length-%d.test\n", i)
		}
		list.WriteString("notzoom.us\n")
		tn := town{upstream: upstream, origin: site, gateway: startSteering(t, setting{Upstream: upstream}, "{mode: judged}",
			"version: 1\nlists: {big: {file: big.txt}}\nrules: [{name: big, what: {lists: [big]}, action: block, reason: It is on the list}]\ndefault: allow\n",
			map[string]string{"big.txt": list.String()})}
		script := tn.curl(t, "http://"+tn.portal+"/proxy.pac").body
		if len(script) < 900<<10 || len(script) > 1<<20 || !strings.Contains(script, "var everything = false;") {
			t.Errorf("the script has %d bytes, and begins\n%s", len(script), script[:min(len(script), 300)])
		}
		if page := tn.browseSteered(t, "/proxy.pac", site.url("http", "notzoom.us", "/")); !strings.Contains(page, "It is on the list") {
			t.Errorf("a name of the list:\n%s", lastLines(page, 30))
		}
		if page := tn.browseSteered(t, "/proxy.pac", site.url("http", "www.rockets.example", "/")); !strings.Contains(page, launch) || tn.proxied(t, "www.rockets.example") != 0 {
			t.Errorf("a name that is not on the list:\n%s", lastLines(page, 30))
		}
	})
}

// TestScriptIsForOneClient asks from the addresses of two groups.
func TestScriptIsForOneClient(t *testing.T) {
	need(t, "curl")
	upstream, site := startUnbound(t), startNginx(t)
	policy := changed(t, readFile(t, "testdata/policy.yaml"), "default: allow", `  - {name: guests, who: {groups: [visitors]}, what: {domains: [guests.example]}, action: block}
  - {name: signed-in, who: {users: [alex@corp.example]}, what: {domains: [alex.example]}, action: block}

default: allow`)
	users := filepath.Join(t.TempDir(), "users.htpasswd")
	writeFile(t, users, []byte(htpasswd(t, "alex@corp.example", "apogee")))
	tn := town{gateway: startSteering(t, setting{Upstream: upstream, Users: users}, "{mode: judged}", policy, nil), upstream: upstream, origin: site}
	employee := tn.curl(t, "http://"+tn.portal+"/proxy.pac", "--interface", "127.0.0.1")
	visitor := tn.curl(t, "http://"+tn.portal+"/proxy.pac", "--interface", "127.9.0.1")
	for _, c := range []struct {
		who        string
		script     fetched
		has, lacks []string
	}{
		{"employee", employee, []string{".zoom.us\": 3", ".meet.google.com"}, []string{"guests", "alex", "zoom-memo", "employees"}},
		{"visitor", visitor, []string{".guests.example\": 3"}, []string{"zoom", "meet.google.com", "alex", "visitors"}},
	} {
		if c.script.status != 200 || c.script.head.Get("ETag") == "" || c.script.head.Get("Cache-Control") != "private, max-age=300" {
			t.Errorf("%s: status %d, %v", c.who, c.script.status, c.script.head)
		}
		for _, word := range c.has {
			if !strings.Contains(c.script.body, word) {
				t.Errorf("%s: %q is not in the script", c.who, word)
			}
		}
		for _, word := range c.lacks {
			if strings.Contains(c.script.body, word) {
				t.Errorf("%s: %q shows", c.who, word)
			}
		}
		if strings.Contains(c.script.body, "checksums = {}") {
			t.Errorf("%s: what the rule for a user names goes past the proxy", c.who)
		}
	}
	again := tn.curl(t, "http://"+tn.portal+"/wpad.dat", "--interface", "127.9.0.1", "-H", "If-None-Match: "+visitor.head.Get("ETag"))
	if again.status != 304 || again.body != "" {
		t.Errorf("the same again: status %d with %d bytes", again.status, len(again.body))
	}
	if stale := tn.curl(t, "http://"+tn.portal+"/proxy.pac", "-H", "If-None-Match: "+visitor.head.Get("ETag")); stale.status != 200 {
		t.Errorf("another client's tag: status %d", stale.status)
	}
}
