package e2e

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// clientsFolder is what administrators give to browsers and systems.
const clientsFolder = "../deploy/clients"

// scriptURL stands in every file for the address of the PAC script.
const scriptURL = "http://gateway.corp.example/proxy.pac"

// chromeScript gives Chromium its policies, in a mount namespace that it shares
// with nobody.
const chromeScript = `set -eu
mount -t tmpfs -o mode=755 tmpfs /etc/chromium
mkdir -p /etc/chromium/policies/managed
cp "$1" /etc/chromium/policies/managed/sallyport.json
shift
exec "$@"`

// TestChromiumObeysItsPolicies gives deploy/clients/chrome.json to a Chromium of
// which nothing else is asked: the PAC script leads it to the proxy.
func TestChromiumObeysItsPolicies(t *testing.T) {
	needRoot(t)
	for _, program := range []string{"chromium", "unbound", "nginx", "unshare"} {
		need(t, program)
	}
	sallyport(t)
	upstream, site := startUnbound(t), startNginx(t)
	g := startGateway(t, setting{Upstream: upstream}, readFile(t, "testdata/policy.yaml"))
	dir := t.TempDir()
	policies := filepath.Join(dir, "chrome.json")
	writeFile(t, policies, []byte(changed(t, readFile(t, filepath.Join(clientsFolder, "chrome.json")), scriptURL, "http://"+g.portal+"/proxy.pac")))
	profile := filepath.Join(dir, "chromium")
	c := spawn(t, dir, need(t, "unshare"), "--mount", "sh", "-c", chromeScript, "sh", policies, need(t, "chromium"),
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-extensions", "--user-data-dir="+profile, "--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank")
	b := &browser{t: t, folder: t.TempDir()}
	eventually(t, "Chromium takes commands", func() error {
		if !c.running() {
			t.Fatal("Chromium ended")
		}
		return b.attach(filepath.Join(profile, "DevToolsActivePort"))
	})
	t.Cleanup(func() { b.wire.Close() })

	b.visit(site.url("http", "zoom.us", "/j/123"))
	b.shows("refused", site.url("http", "zoom.us", "/j/123"), memoWords...)
	g.logged(t, "the browser's request", func(e entry) bool { return e.Door == "proxy" && e.Host == "zoom.us" })

	// Chromium's own table says what it took, and what it made of it.
	b.visit("chrome://policy")
	eventually(t, "chrome://policy shows every policy", func() error {
		text, err := b.script(allText)
		if err != nil {
			return err
		}
		for _, name := range sortedNames(t, "chrome.json") {
			row := regexp.MustCompile(regexp.QuoteMeta(name) + `\s[^§]*?\b(OK|Error|Warning)\b`).FindStringSubmatch(text)
			if row == nil || row[1] != "OK" {
				return fmt.Errorf("%s is not taken: %q in\n%s", name, row, text)
			}
		}
		return nil
	})
}

// allText is the text of a page, what is inside its elements' shadows included.
const allText = `(function read(node) {
	if (node.nodeType === Node.TEXT_NODE) return node.data.trim() ? node.data.trim() + "\n" : "";
	if (["STYLE", "SCRIPT", "TEMPLATE"].includes(node.nodeName)) return "";
	let text = node.shadowRoot ? read(node.shadowRoot) : "";
	for (const child of node.childNodes) text += read(child);
	return text;
})(document.documentElement)`

// sortedNames are the settings of a JSON file.
func sortedNames(t *testing.T, file string) []string {
	t.Helper()
	var settings map[string]any
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(clientsFolder, file))), &settings); err != nil {
		t.Fatal(err)
	}
	if len(settings) < 4 {
		t.Fatalf("%s has %d settings", file, len(settings))
	}
	var names []string
	for name := range maps.Keys(settings) {
		names = append(names, name)
	}
	return names
}

// TestRegistryHasChromesPolicies reads the file for Windows as regedit does: it
// must say for Chrome and for Edge what chrome.json says.
func TestRegistryHasChromesPolicies(t *testing.T) {
	text := readFile(t, filepath.Join(clientsFolder, "chrome-edge.reg"))
	if !strings.HasPrefix(text, "Windows Registry Editor Version 5.00\r\n\r\n") || strings.Count(text, "\n") != strings.Count(text, "\r\n") {
		t.Error("regedit wants its first line, and lines that end in CR LF")
	}
	keys := map[string]map[string]any{}
	key := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\r\n")
		if strings.HasPrefix(line, "[") {
			key = strings.Trim(line, "[]")
			keys[key] = map[string]any{}
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !found || strings.HasPrefix(line, ";") {
			continue
		}
		name = strings.Trim(name, `"`)
		switch {
		case value == "dword:00000000" || value == "dword:00000001":
			keys[key][name] = value == "dword:00000001"
		default:
			var plain string // the escapes are JSON's
			if err := json.Unmarshal([]byte(value), &plain); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			keys[key][name] = plain
			var object map[string]any
			if json.Unmarshal([]byte(plain), &object) == nil {
				keys[key][name] = object
			}
		}
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(clientsFolder, "chrome.json"))), &want); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{`HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Google\Chrome`, `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Edge`} {
		if !reflect.DeepEqual(keys[key], want) {
			t.Errorf("%s: %v, want %v", key, keys[key], want)
		}
	}
}

// TestPropertyList reads the profile for Apple's systems.
func TestPropertyList(t *testing.T) {
	text := readFile(t, filepath.Join(clientsFolder, "apple.mobileconfig"))
	if !strings.Contains(text, "<string>"+scriptURL+"</string>") {
		t.Error("it has not the address of the script")
	}
	decoder := xml.NewDecoder(strings.NewReader(text))
	var uuids []string
	for last := ""; ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok && strings.TrimSpace(string(data)) != "" {
			if last == "PayloadUUID" {
				uuids = append(uuids, string(data))
			}
			last = string(data)
		}
	}
	if len(uuids) != 3 || uuids[0] == uuids[1] || uuids[1] == uuids[2] || uuids[0] == uuids[2] {
		t.Errorf("UUIDs of the payloads: %v", uuids)
	}
	converted := filepath.Join(t.TempDir(), "profile.bin")
	if got := run(t, t.TempDir(), need(t, "plistutil"), "-i", absolutePath(t, filepath.Join(clientsFolder, "apple.mobileconfig")), "-o", converted); got.code != 0 {
		t.Fatalf("plistutil: %s", got.stderr)
	}
	if data, err := os.ReadFile(converted); err != nil || !strings.HasPrefix(string(data), "bplist00") {
		t.Errorf("plistutil wrote %.20q, %v", data, err)
	}
}

func absolutePath(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
