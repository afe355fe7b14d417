package catalogue_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/policy/catalogue"
)

func apps(t *testing.T) []policy.App {
	t.Helper()
	all, err := catalogue.Apps()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func app(t *testing.T, id string) policy.App {
	t.Helper()
	all := apps(t)
	i := slices.IndexFunc(all, func(a policy.App) bool { return a.ID == id })
	if i < 0 {
		t.Fatalf("no app %q", id)
	}
	return all[i]
}

func domain(t *testing.T, a policy.App, text string) policy.AppDomain {
	t.Helper()
	i := slices.IndexFunc(a.Domains, func(d policy.AppDomain) bool { return d.Text == text })
	if i < 0 {
		t.Fatalf("app %s has no domain %q", a.ID, text)
	}
	return a.Domains[i]
}

func TestEveryFileIsAnApp(t *testing.T) {
	names, err := filepath.Glob("apps/*.yaml")
	if err != nil || len(names) < 84 {
		t.Fatalf("%d files, %v: 84 shipped at first", len(names), err)
	}
	all := apps(t)
	if len(all) != len(names) {
		t.Errorf("%d apps of %d files", len(all), len(names))
	}
	for i, a := range all {
		if want := "catalogue/" + a.ID + ".yaml"; a.File != want {
			t.Errorf("app %q stands in %s, want %s", a.ID, a.File, want)
		}
		if i > 0 && all[i-1].ID >= a.ID {
			t.Errorf("apps are not sorted: %q before %q", all[i-1].ID, a.ID)
		}
		if !a.BuiltIn {
			t.Errorf("app %q is not marked as built in", a.ID)
		}
	}
	entries, err := os.ReadDir("apps")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".yaml") {
			t.Errorf("apps/%s is not read: the name must end in .yaml", entry.Name())
		}
	}
}

func TestFilesSayWhatTheyAre(t *testing.T) {
	for _, a := range apps(t) {
		data, err := os.ReadFile(filepath.Join("apps", a.ID+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(data), "\n")
		if !strings.HasPrefix(first, "# ") || !strings.Contains(first, a.Name) {
			t.Errorf("apps/%s.yaml begins with %q: want a comment that names the app", a.ID, first)
		}
	}
}

func TestFactsAreComplete(t *testing.T) {
	categories := []string{
		"conferencing", "messaging", "webinar", "voip", "cpaas",
		"bypass-doh", "bypass-relay", "bypass-canary", "bypass-vpn", "bypass-tor", "bypass-tunnel",
	}
	for _, a := range apps(t) {
		if !slices.Contains(categories, a.Category) {
			t.Errorf("app %s: category %q is not one of %v", a.ID, a.Category, categories)
		}
		if a.DomainBlock != "yes" && a.DomainBlockNote == "" {
			t.Errorf("app %s cannot be stopped by name alone, and does not say why", a.ID)
		}
		owned := 0
		for _, d := range a.Domains {
			if d.Source == "" {
				t.Errorf("app %s: domain %s without source", a.ID, d.Text)
			}
			if !d.Shared() {
				owned++
			}
		}
		for _, n := range a.Networks {
			if n.Source == "" {
				t.Errorf("app %s: network %s without source", a.ID, n.Prefix)
			}
		}
		if owned == 0 {
			t.Errorf("app %s has no domain of its own: nothing would match it", a.ID)
		}
	}
}

func TestZoom(t *testing.T) {
	zoom := app(t, "zoom")
	if zoom.Name != "Zoom" || zoom.Category != "conferencing" || zoom.DomainBlock != "yes" {
		t.Errorf("name %q, category %q, domain_block %q", zoom.Name, zoom.Category, zoom.DomainBlock)
	}
	if d := domain(t, zoom, "zoom.us"); d.Kind != policy.PatternSuffix || d.Role != "core" || !strings.Contains(d.Source, "KB0060561") {
		t.Errorf("zoom.us: %+v", d)
	}
	if d := domain(t, zoom, "=zoomus.zendesk.com"); d.Kind != policy.PatternExact || d.Name != "zoomus.zendesk.com" {
		t.Errorf("zoomus.zendesk.com: %+v", d)
	}
	if d := domain(t, zoom, "=ocsp.digicert.com"); !d.Shared() || d.Note == "" {
		t.Errorf("ocsp.digicert.com: %+v", d)
	}
	holds := func(n policy.AppNetwork) bool { return n.Prefix.Contains(netip.MustParseAddr("3.7.35.1")) }
	if !slices.ContainsFunc(zoom.Networks, holds) {
		t.Error("3.7.35.1 belongs to no network of zoom")
	}
	media := func(p policy.AppPort) bool {
		return !p.Any && p.Protocol == policy.ProtocolUDP && p.From == 8801 && p.To == 8810
	}
	if !slices.ContainsFunc(zoom.Ports, media) {
		t.Error("zoom's media ports udp/8801-8810 are missing")
	}
}

func TestSharedNames(t *testing.T) {
	for _, tt := range []struct{ id, text string }{
		{"zoom", "s3.amazonaws.com"},
		{"wechat", "qq.com"},
		{"facetime", "icloud.com"},
		{"slack", "chime.aws"},
	} {
		if !domain(t, app(t, tt.id), tt.text).Shared() {
			t.Errorf("%s of app %s is not shared", tt.text, tt.id)
		}
	}
	if domain(t, app(t, "amazon-chime"), "chime.aws").Shared() {
		t.Error("chime.aws belongs to amazon-chime")
	}
}

func TestCallersOwnTheResult(t *testing.T) {
	first := apps(t)
	first[0].ID, first[0].Domains[0].Name = "changed", "changed"
	if again := apps(t); again[0].ID == "changed" || again[0].Domains[0].Name == "changed" {
		t.Error("a caller's change reached another caller")
	}
}
