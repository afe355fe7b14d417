package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/accesslog"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/privacy"
)

// everything hides all that tells who somebody is.
func everything(e privacy.Extent) privacy.Extents {
	return privacy.Extents{Client: e, User: e, Device: e}
}

// TestNobodyIsInTheLogs has people refused, warned, let through and continuing
// at both doors, and looks for them in everything that the gateway writes.
func TestNobodyIsInTheLogs(t *testing.T) {
	for _, extent := range []privacy.Extent{privacy.Pseudonym, privacy.None} {
		t.Run(extent.String(), func(t *testing.T) {
			dir := t.TempDir()
			users := filepath.Join(dir, "users")
			squid, combined := filepath.Join(dir, "squid.log"), filepath.Join(dir, "combined.log")
			writeFile(t, users, htpasswdLine(t, "priya"))
			g := start(t, coached, func(c *Config, _ *Dependencies) {
				c.Proxy.UsersFile, c.Users.Remember = users, time.Hour
				c.Audit.Privacy = everything(extent)
				c.Proxy.AccessLogs = []AccessLogConfig{{File: squid}, {File: combined, Format: accesslog.FormatCombined}}
			})
			const who = "127.0.0.77"
			at, port := g.from(who), echoServer(t)
			signedIn := "Proxy-Authorization: " + basic("priya", "priya") + "\r\n"
			_, link := at.connect("people.example:"+port, signedIn)
			at.press(link, "Priya needs it for Globex")
			at.press(at.warned("zoom.us:"+port), "priya again")
			at.resolved("zoom.us")
			if conn, _ := at.connect("people.example:"+port, signedIn); conn != nil {
				_ = conn.Close()
			}
			eventually(t, func() error {
				if n := len(g.logOf("event", "grant")); n < 1 {
					return fmt.Errorf("%d grants", n)
				}
				if n := len(g.logOf("event", "close")); n < 1 {
					return fmt.Errorf("%d tunnels closed", n)
				}
				return nil
			})
			waitFile(t, squid, "TCP_TUNNEL")
			waitFile(t, combined, "CONNECT")
			written := map[string]string{"decision log": g.stdout.String(), "squid": read(t, squid), "combined": read(t, combined), "own log": ownLog(g)}
			for log, text := range written {
				for _, name := range []string{who, "priya", "Priya", "Globex"} {
					if strings.Contains(text, name) {
						t.Errorf("%s is in the %s:\n%s", name, log, text)
					}
				}
			}
			client, _ := g.mask.AppendClient(nil, netip.MustParseAddr(who), time.Now())
			for _, log := range []string{"decision log", "squid", "combined"} {
				if !strings.Contains(written[log], string(client)) {
					t.Errorf("%s is not in the %s:\n%s", client, log, written[log])
				}
			}
			// Who runs the gateway can still end a grant.
			if _, body := g.get("/api/v1/grants"); !strings.Contains(body, who) {
				t.Errorf("the admin listener does not say whose the grants are: %s", body)
			}
		})
	}
}

// ownLog is what the gateway has logged at the usual level.
func ownLog(g *running) string {
	var b strings.Builder
	for _, entry := range g.log.All() {
		if entry.Level >= zap.InfoLevel {
			fmt.Fprintln(&b, entry.Message, entry.ContextMap())
		}
	}
	return b.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestHolderField: who cannot be given a grant is named as in the decision log.
func TestHolderField(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		holder policy.Holder
		extent privacy.Extent
		want   string
	}{
		{policy.Holder{User: "priya"}, privacy.Full, "priya"},
		{policy.Holder{Client: loopback()}, privacy.Full, "127.0.0.1"},
		{policy.Holder{User: "priya"}, privacy.Pseudonym, "u-"},
		{policy.Holder{Client: loopback()}, privacy.Pseudonym, "c-"},
		{policy.Holder{User: "priya"}, privacy.None, ""},
		{policy.Holder{Client: loopback()}, privacy.None, ""},
	} {
		mask := privacy.New(privacy.Config{Extents: everything(test.extent), Key: privacy.NewKey()})
		g := &running{}
		core, logs := observer.New(zap.InfoLevel)
		g.log = logs
		zap.New(core).Info("no grant", holderField(mask, test.holder, now))
		got := strings.TrimSuffix(strings.TrimPrefix(ownLog(g), "no grant map[holder:"), "]\n")
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%v, %s: got %q, want %q", test.holder, test.extent, got, test.want)
		}
	}
}

// TestPseudonymKey: the gateway makes one key and keeps it, and shares one that
// it is given.
func TestPseudonymKey(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), memo)
	shared := filepath.Join(dir, "fleet.key")
	writeFile(t, shared, strings.Repeat("0f", 32))
	client := func(edit func(*Config)) string {
		config := testConfig(t, filepath.Join(dir, "policy.yaml"))
		config.Audit.Privacy.Client = privacy.Pseudonym
		edit(config)
		g, err := New(config, Dependencies{Stdout: &transcript{}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = g.Shutdown(context.Background()) }()
		text, _ := g.mask.AppendClient(nil, loopback(), time.Unix(1585411200, 0))
		return string(text)
	}
	own := func(*Config) {}
	fleet := func(c *Config) { c.Audit.Pseudonyms.Key = shared }
	elsewhere := func(c *Config) { fleet(c); c.State = filepath.Join(dir, "another") }
	first := client(own)
	info, err := os.Stat(filepath.Join(dir, "state", "pseudonym.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if again := client(own); again != first {
		t.Errorf("after a restart %s is %s", first, again)
	}
	one, other := client(fleet), client(elsewhere)
	if one != other || one == first {
		t.Errorf("with a shared key %s and %s, with the gateway's own %s", one, other, first)
	}
	if _, err := os.Stat(filepath.Join(dir, "another", "pseudonym.key")); !os.IsNotExist(err) {
		t.Errorf("a key was made that nobody needs: %v", err)
	}
	// Where no key can be made, nobody is named all the same.
	inTheWay := func(c *Config) { c.State = filepath.Join(dir, "policy.yaml") }
	if a, b := client(inTheWay), client(inTheWay); !strings.HasPrefix(a, "c-") || a == b {
		t.Errorf("without a state folder %s and %s", a, b)
	}
}
