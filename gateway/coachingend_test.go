package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/console"
)

// TestGrantEnds cuts the meeting that a grant let through when its time is
// over, and refuses at both doors again.
func TestGrantEnds(t *testing.T) {
	port := echoServer(t)
	var c clock
	began := time.Date(2020, 4, 1, 9, 0, 0, 0, time.UTC)
	c.set(began)
	g := start(t, coached, func(config *Config, d *Dependencies) { slowPoll(config, d); d.Now = c.now })
	desk := g.from("127.0.0.1")
	desk.press(desk.warned("zoom.us:"+port), "long")
	desk.press(desk.warned("short.example:"+port), "")
	long, _ := desk.connect("zoom.us:"+port, "")
	short, _ := desk.connect("short.example:"+port, "")
	if long == nil || short == nil {
		t.Fatal("refused")
	}
	c.set(began.Add(59 * time.Second))
	if err := echo(short); err != nil || !desk.resolved("short.example") {
		t.Errorf("it ended early: %v", err)
	}
	c.set(began.Add(time.Minute))
	if err := closedSoon(short); err != nil {
		t.Errorf("the tunnel goes on: %v", err)
	}
	if desk.resolved("short.example") {
		t.Error("the DNS door goes on")
	}
	link := desk.warned("short.example:" + port)
	if err := echo(long); err != nil || !desk.resolved("zoom.us") {
		t.Errorf("the other grant ended, too: %v", err)
	}
	g.wantMetric("sallyport_coaching_grants", "1")
	g.wantMetric(`sallyport_proxy_tunnels_closed_total{reason="policy"}`, "1")
	eventually(t, func() error {
		ends := g.logOf("event", "grant_end")
		if len(ends) != 1 || ends[0]["rule"] != "short" || ends[0]["ended_by"] != "time" || ends[0]["time"] != strings.Replace(ends[0]["until"].(string), "Z", ".000000Z", 1) || ends[0]["client"] != "127.0.0.1" {
			return fmt.Errorf("entries %v", ends)
		}
		return nil
	})
	// And again, as often as one likes.
	desk.press(link, "")
	if conn, _ := desk.connect("short.example:"+port, ""); conn == nil {
		t.Error("refused after it was granted anew")
	}
}

// TestRevoke is the administrator's way to end one.
func TestRevoke(t *testing.T) {
	port := echoServer(t)
	g := start(t, coached, slowPoll)
	desk := g.from("127.0.0.1")
	desk.press(desk.warned("zoom.us:"+port), "please")
	conn, _ := desk.connect("zoom.us:"+port, "")
	if conn == nil {
		t.Fatal("refused")
	}
	var list struct {
		Held   int
		Grants []console.Grant
	}
	if _, body := g.get("/api/v1/grants?client=127.0.0.1"); json.Unmarshal([]byte(body), &list) != nil || list.Held != 1 || len(list.Grants) != 1 {
		t.Fatalf("grants: %s", body)
	}
	held := list.Grants[0]
	if held.Client != "127.0.0.1" || held.Rule != "coach" || held.App != "zoom" || held.Host != "zoom.us" || held.Door != "proxy" || held.Justification != "please" || held.Decision == "" {
		t.Errorf("grant %+v", held)
	}
	if status, body := g.http("DELETE", "/api/v1/grants/"+held.ID); status != http.StatusOK || !strings.Contains(body, held.ID) {
		t.Fatalf("revoke: %d %s", status, body)
	}
	if err := closedSoon(conn); err != nil {
		t.Errorf("the tunnel goes on: %v", err)
	}
	desk.warned("zoom.us:" + port)
	if desk.resolved("zoom.us") {
		t.Error("the DNS door goes on")
	}
	if status, _ := g.http("DELETE", "/api/v1/grants/"+held.ID); status != http.StatusNotFound {
		t.Errorf("a second time: %d", status)
	}
	eventually(t, func() error {
		if ends := g.logOf("ended_by", "revoked"); len(ends) != 1 || ends[0]["grant"] != held.ID {
			return fmt.Errorf("entries %v", ends)
		}
		return nil
	})
}

// TestEditEndsGrants: a rule that an edit makes a block, or takes away, lets
// nobody through any more, and its links lead nowhere.
func TestEditEndsGrants(t *testing.T) {
	port := echoServer(t)
	g := start(t, coached, slowPoll)
	desk := g.from("127.0.0.1")
	link := desk.warned("zoom.us:" + port)
	desk.press(link, "please")
	conn, _ := desk.connect("zoom.us:"+port, "")
	if conn == nil {
		t.Fatal("refused")
	}
	edit := func(old, new string) {
		t.Helper()
		before := g.engine.Program().Revision()
		writeFile(t, g.policy, strings.Replace(coached, old, new, 1))
		g.wantNewRevision(before)
	}
	edit("action: warn, grant: 8h, justification: required", "action: block")
	if err := closedSoon(conn); err != nil {
		t.Errorf("the tunnel goes on: %v", err)
	}
	if conn, offered := desk.connect("zoom.us:"+port, ""); conn != nil || offered != "" || desk.resolved("zoom.us") {
		t.Errorf("tunnel %v, link %q", conn != nil, offered)
	}
	if response := desk.press(link, "please"); response.StatusCode != http.StatusForbidden {
		t.Errorf("the old link: %s", response.Status)
	}
	edit("name: coach", "name: coach-anew")
	if response := desk.press(link, "please"); response.StatusCode != http.StatusConflict {
		t.Errorf("the old link under another rule: %s", response.Status)
	}
	desk.warned("zoom.us:" + port)
	edit("  - {name: coach, what: {apps: [zoom, jitsi]}", "  - {name: coach, what: {apps: [jitsi]}")
	if status, body := desk.get(link, "*/*"); status != http.StatusOK || !strings.Contains(body, "is not refused by the policy now") {
		t.Errorf("the old link once nothing is refused: %d %s", status, body)
	}
	g.wantMetric(`sallyport_coaching_refused_total{reason="policy"}`, "2")
	g.wantMetric(`sallyport_coaching_grants_total{rule="coach"}`, "1")
	// The grant is still there, and worth something where the rule is.
	edit("nothing", "nothing")
	eventually(t, func() error {
		if conn, _ := desk.connect("zoom.us:"+port, ""); conn == nil {
			return fmt.Errorf("refused by revision %s", g.engine.Program().Revision())
		}
		return nil
	})
}

// TestRestartKeepsWhatWasGranted stops a gateway and starts another one.
func TestRestartKeepsWhatWasGranted(t *testing.T) {
	port := echoServer(t)
	path := filepath.Join(t.TempDir(), "policy.yaml")
	writeFile(t, path, coached)
	var c clock
	began := time.Date(2020, 4, 1, 9, 0, 0, 0, time.UTC)
	c.set(began)
	var portal string
	run := func(body func(*running)) {
		t.Run("", func(t *testing.T) {
			body(startWith(t, path, func(config *Config, d *Dependencies) {
				slowPoll(config, d)
				d.Now = c.now
				if portal != "" {
					config.Portal.Listen = portal
				}
			}))
		})
	}
	var unused string
	run(func(g *running) {
		desk := g.from("127.0.0.1")
		desk.press(desk.warned("zoom.us:"+port), "long")
		desk.press(desk.warned("short.example:"+port), "")
		unused = desk.warned("meet.jit.si:" + port)
	})
	for _, name := range []string{coachingKeyFile, grantsFile} {
		if info, err := os.Stat(filepath.Join(filepath.Dir(path), "state", name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	c.set(began.Add(30 * time.Minute))
	run(func(g *running) {
		desk := g.from("127.0.0.1")
		if conn, _ := desk.connect("zoom.us:"+port, ""); conn == nil || !desk.resolved("zoom.us") {
			t.Error("the grant is forgotten")
		}
		desk.warned("short.example:" + port)
		eventually(t, func() error {
			if ends := g.logOf("event", "grant_end"); len(ends) != 1 || ends[0]["rule"] != "short" {
				return fmt.Errorf("what ended meanwhile: %v", ends)
			}
			return nil
		})
		// A link from before the restart leads where it did; the port is another.
		u, err := url.Parse(unused)
		if err != nil {
			t.Fatal(err)
		}
		u.Host = g.addr("portal http")
		if response := desk.press(u.String(), "late"); response.StatusCode != http.StatusSeeOther {
			t.Errorf("a link of before the restart: %s", response.Status)
		}
	})
}
