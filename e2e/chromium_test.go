package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// screenshotsEnv names a folder that is to get pictures of what was shown.
const screenshotsEnv = "SALLYPORT_E2E_SCREENSHOTS"

// chromium is the browser, with the proxy set and nothing else told.
func (tn town) chromium(t *testing.T) {
	page := tn.browse(t, tn.origin.url("https", "www.rockets.example", "/"), "allowed")
	if !strings.Contains(page, "go for launch") {
		t.Errorf("the allowed page was not rendered:\n%s", lastLines(page, 30))
	}

	// With the usual port Chromium tries HTTPS first, and must come back from
	// that refusal to the page.
	for picture, url := range map[string]string{
		"refused-http": tn.origin.url("http", "zoom.us", "/j/123"), "refused-upgraded": "http://zoom.us/",
	} {
		page := tn.browse(t, url, picture)
		for _, word := range memoWords {
			if !strings.Contains(page, word) {
				t.Errorf("the block page that Chromium shows for %s does not say %q:\n%s", url, word, page)
			}
		}
	}

	page = tn.browse(t, tn.origin.url("https", "us04web.zoom.us", "/"), "refused-https")
	if !strings.Contains(page, "ERR_TUNNEL_CONNECTION_FAILED") {
		t.Errorf("Chromium does not tell that the tunnel was refused:\n%s", lastLines(page, 30))
	}
}

// browse gives the page as it stands after its scripts have run, or the error
// for which there is none.
func (tn town) browse(t *testing.T, url, picture string) string {
	t.Helper()
	path := need(t, "chromium")
	profile := t.TempDir()
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-extensions", "--user-data-dir=" + filepath.Join(profile, "chromium"),
		"--proxy-server=http://" + tn.proxy,
		"--ignore-certificate-errors-spki-list=" + tn.origin.spki, // the origin's key alone, and no other
	}
	r := run(t, profile, path, append(args, "--dump-dom", url)...)
	if dir := os.Getenv(screenshotsEnv); dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			t.Fatal(err)
		}
		run(t, profile, path, append(args, "--window-size=900,800", "--screenshot="+filepath.Join(dir, picture+".png"), url)...)
	}
	if at := strings.Index(r.stderr, "net::ERR_"); at >= 0 && r.stdout == "" {
		return r.stderr[at:]
	}
	return r.stdout
}
