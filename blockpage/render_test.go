package blockpage

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// memo is the refusal of the memo, with a message of two paragraphs.
func memo() Refusal {
	return Refusal{
		Action:  policy.ActionBlock,
		App:     "zoom",
		AppName: "Zoom",
		Host:    "us04web.zoom.us",
		Rule:    "zoom-memo",
		Reason:  "Privacy and security concerns",
		Message: "From today Zoom is switched off on our network. Many teams met\nthere; please move those " +
			"meetings to one of the ways below.\n\nMeetings with partners that cannot move are looked after by the liaison team.\n",
		Alternatives: []string{"email", "text", "phone"},
		Organisation: "Example Rockets",
		Contact:      "it-help@corp.example",
		Decision:     "k3f9x2ab-1a",
		Revision:     "sha256:0123abcd",
		Time:         time.Date(2020, 3, 28, 9, 0, 0, 0, time.FixedZone("PDT", -7*3600)),
	}
}

func goldenRefusals() map[string]Refusal {
	warned := memo()
	warned.Action = policy.ActionWarn
	warned.Rule, warned.Reason, warned.Contact = "coach-the-rest", "", "https://intranet.corp.example/help"

	offered := warned
	offered.Offer = Offer{URL: "http://gate.corp.example:8080/continue?t=AQIBuw&u=http%3A%2F%2Fzoom.us%2Fj%2F123%3Fa%3Db", Justification: policy.JustificationRequired, Lasts: 8 * time.Hour, Limit: 300}
	form := offered
	form.Offer.Form, form.Offer.Token, form.Offer.Target = true, "AQIBuw", "http://zoom.us/j/123?a=b"
	missing := form
	missing.Offer.Missing, missing.Offer.Said = true, "  "
	unasked := form
	unasked.Offer.Justification, unasked.Offer.Lasts = policy.JustificationNone, 90*time.Minute

	excepted := memo()
	excepted.SignIn, excepted.Decision = true, ""

	hostile := Refusal{
		Host:         `<script>alert(1)</script>`,
		Rule:         "quote\" & <b>rule</b>\r\nX-Evil: yes",
		Reason:       `</p><img src=x onerror=alert(1)>`,
		Message:      "</style><script>alert(2)</script>\n\n\x1b[31mred\x1b[0m",
		Alternatives: []string{`"><svg/onload=alert(3)>`},
		Organisation: "A & B <GmbH>",
		Contact:      "javascript:alert(4)",
		Decision:     `"><x`,
		Offer: Offer{
			URL:  `javascript:alert(5)"><script>`,
			Form: true, Token: `"><script>alert(6)`, Target: `javascript:alert(7)"><b>`, Said: `</textarea><script>alert(8)</script>`,
		},
	}
	return map[string]Refusal{
		"memo":    memo(),
		"warn":    warned,
		"offer":   offered,
		"form":    form,
		"missing": missing,
		"unasked": unasked,
		"sign-in": excepted,
		"bare":    {Host: "198.51.100.7", Rule: policy.DefaultRule, Reason: "not on the list of approved destinations"},
		"hostile": hostile,
		"zero":    {},
	}
}

func TestRenderGolden(t *testing.T) {
	endings := map[Format]string{FormatText: ".txt", FormatHTML: ".html", FormatJSON: ".json"}
	for name, refusal := range goldenRefusals() {
		for format, ending := range endings {
			t.Run(name+ending, func(t *testing.T) {
				got := refusal.Render(format)
				file := filepath.Join("testdata", name+ending)
				if *update {
					if err := os.WriteFile(file, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("differs from %s (run with -update when the change is meant)\n%s", file, got)
				}
			})
		}
	}
}

func TestTextKeepsItsWidth(t *testing.T) {
	for name, refusal := range goldenRefusals() {
		for line := range strings.SplitSeq(string(refusal.Render(FormatText)), "\n") {
			if utf8.RuneCountInString(line) > columns && strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%s: line of %d columns: %q", name, utf8.RuneCountInString(line), line)
			}
			if strings.ContainsAny(line, "\x1b\r") {
				t.Errorf("%s: control character in %q", name, line)
			}
		}
	}
}

func TestHTMLEscapesEverything(t *testing.T) {
	hostile := goldenRefusals()["hostile"]
	html := string(hostile.Render(FormatHTML))
	for _, forbidden := range []string{"<script", "<img", "<svg", "<b>", "javascript:alert(4)\"", "href=\"javascript"} {
		if strings.Contains(html, forbidden) {
			t.Errorf("page holds %q", forbidden)
		}
	}
	if n := strings.Count(html, "</style>"); n != 1 {
		t.Errorf("%d ends of the style sheet", n)
	}
}

// The page must need nothing but itself, and its policy must let exactly its
// own style sheet through.
func TestHTMLStandsAlone(t *testing.T) {
	refusal := memo()
	html := string(refusal.Render(FormatHTML))
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(html)
	if style == nil {
		t.Fatal("no style sheet")
	}
	sum := sha256.Sum256([]byte(style[1]))
	if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(contentSecurityPolicy, hash) {
		t.Errorf("policy %q does not allow the style sheet %s", contentSecurityPolicy, hash)
	}
	if found := regexp.MustCompile(`(?i)\bsrc=|<link|@import|url\(|<script|<img|style="`).FindString(html); found != "" {
		t.Errorf("page loads something: %q", found)
	}
	for _, needed := range []string{`lang="en"`, `name="viewport"`, `name="color-scheme"`, "prefers-color-scheme:dark", "<h1>",
		`href="mailto:it-help@corp.example?subject=Decision%20k3f9x2ab-1a"`} {
		if !strings.Contains(html, needed) {
			t.Errorf("page lacks %q", needed)
		}
	}
}

func TestJSONIsReadable(t *testing.T) {
	for name, refusal := range goldenRefusals() {
		var got map[string]any
		if err := json.Unmarshal(refusal.Render(FormatJSON), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, isList := got["alternatives"].([]any); !isList {
			t.Errorf("%s: alternatives is %v, want a list", name, got["alternatives"])
		}
		if got["host"] != refusal.Host || got["rule"] != refusal.Rule {
			t.Errorf("%s: host %v, rule %v", name, got["host"], got["rule"])
		}
	}
}

func TestWarnPromisesNothing(t *testing.T) {
	warned := goldenRefusals()["warn"]
	for _, format := range []Format{FormatText, FormatHTML} {
		page := strings.ToLower(string(warned.Render(format)))
		if !strings.Contains(page, "discouraged") || strings.Contains(page, "continue") {
			t.Errorf("format %d:\n%s", format, page)
		}
	}
}

func TestContactLink(t *testing.T) {
	for contact, want := range map[string]string{
		"it-help@corp.example":            "mailto:it-help@corp.example?subject=Decision%20d1",
		"https://intranet.example/help":   "https://intranet.example/help",
		"the help desk, extension 4711":   "",
		"javascript:alert(1)":             "",
		"data:text/html,hello":            "",
		"Help Desk <it@corp.example>":     "",
		"":                                "",
		"https://":                        "",
		"ask at https://x.example or not": "",
	} {
		if got := contactLink(contact, "d1"); got != want {
			t.Errorf("contactLink(%q) = %q, want %q", contact, got, want)
		}
	}
}

func TestFromVerdict(t *testing.T) {
	at := time.Date(2020, 3, 28, 9, 0, 0, 0, time.UTC)
	verdict := policy.Verdict{
		Action:       policy.ActionBlock,
		Rule:         &policy.Rule{Name: "zoom-memo", Reason: "because", Message: "m", Alternatives: []string{"phone"}},
		App:          &policy.App{ID: "zoom", Name: "Zoom"},
		Revision:     "r1",
		Organisation: &policy.Organisation{Name: "Example Rockets", Contact: "it@corp.example", Zone: time.FixedZone("PDT", -7*3600)},
	}
	got := FromVerdict(&verdict, policy.HostFromCanonicalName("zoom.us"), "d1", at)
	if got.App != "zoom" || got.AppName != "Zoom" || got.Host != "zoom.us" || got.Rule != "zoom-memo" || got.Reason != "because" ||
		got.Message != "m" || len(got.Alternatives) != 1 || got.Organisation != "Example Rockets" || got.Contact != "it@corp.example" ||
		got.Decision != "d1" || got.Revision != "r1" || !got.Time.Equal(at) {
		t.Errorf("got %+v", got)
	}
	if shown := NewInstant(got.Time); shown.Text != "Sat 28 Mar 2020, 02:00 PDT" || shown.Machine != "2020-03-28T02:00:00-07:00" {
		t.Errorf("shown as %+v", shown)
	}
	if zero := FromVerdict(&policy.Verdict{}, policy.Host{}, "", time.Time{}); zero.Rule != policy.DefaultRule || zero.Action != policy.ActionBlock {
		t.Errorf("zero verdict gives %+v", zero)
	}
}
