package policy_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// readPolicy reads files of testdata/parse that must be without errors.
func readPolicy(t *testing.T, pattern string) *policy.Document {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata/parse", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	var files []policy.File
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, policy.File{Name: filepath.Base(path), Data: data})
	}
	doc, problems := policy.Parse(files)
	problems = append(problems, policy.Validate(doc, builtIn(t))...)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return doc
}

// same compares by what is printed, which shows a difference at once.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func TestParseExample(t *testing.T) {
	doc := readPolicy(t, "example.yaml")
	same(t, "location", doc.Location, "America/Los_Angeles")
	same(t, "organisation", doc.Organisation, "{Example Rockets it-help@corp.example America/Los_Angeles}")
	same(t, "default", doc.Default, policy.ActionAllow)
	same(t, "counts", []int{len(doc.Groups), len(doc.Apps), len(doc.Lists), len(doc.Rules), len(doc.Exceptions), len(doc.Tests)}, "[5 2 1 5 1 4]")

	employees := doc.Groups[0]
	same(t, "employees", employees.Name, "employees")
	same(t, "employees' place", employees.Position, "example.yaml:8:3")
	same(t, "employees' networks", []netip.Prefix{employees.Networks[0].Prefix, employees.Networks[1].Prefix}, "[10.0.0.0/8 fd00:28::/32]")
	same(t, "employees' directory", employees.Directory[0].Name, "cn=all-staff,ou=groups,dc=corp,dc=example")
	same(t, "town hall", doc.Apps[0].Name+"|"+doc.Apps[0].Category+"|"+doc.Apps[0].Domains[0].Name+"|"+doc.Apps[0].Domains[0].Role,
		"Town Hall (in-house)|conferencing|meet.corp.example|core")
	same(t, "zoom extends", doc.Apps[1].Extends+"|"+doc.Apps[1].Name, "zoom|")
	same(t, "list", doc.Lists[0].File, "lists/threats.txt")

	memo := doc.Rules[0]
	same(t, "memo", memo.Name+"|"+memo.Reason+"|"+memo.Ticket+"|"+memo.Action.String(), "zoom-memo|Privacy and security concerns|SEC-328|block")
	same(t, "memo's place", memo.Position, "example.yaml:31:5")
	same(t, "memo's group", memo.Who.Groups[0].Name+" "+memo.Who.Groups[0].Position.String(), "employees example.yaml:32:21")
	same(t, "memo's except", memo.Who.Except.Groups[0].Name, "liaison")
	same(t, "memo's from", memo.When.From.Format(time.RFC3339), "2020-03-28T00:00:00-07:00")
	same(t, "memo's alternatives", memo.Alternatives, "[email text phone]")
	if strings.ContainsRune(memo.Message, '\n') || !strings.HasSuffix(memo.Message, "one of the ways below.") {
		t.Errorf("memo's message: %q", memo.Message)
	}
	same(t, "grant", doc.Rules[2].Grant, "8h0m0s")
	review := doc.Exceptions[0]
	same(t, "exception", review.Exception, true)
	same(t, "exception's action", review.Action, policy.ActionAllow)
	same(t, "exception's until", review.When.Until.UTC().Format(time.RFC3339), "2020-04-04T01:00:00Z")
	same(t, "exception's approval", review.ApprovedBy, "ciso@corp.example")

	test := doc.Tests[2]
	same(t, "test's who", test.Who.User+" "+test.Who.Addr.String(), "alice@corp.example 10.4.7.8")
	same(t, "test's what", fmt.Sprint(test.Host, test.Port), "zoom.us 443")
	same(t, "test's time", test.At.UTC().Format(time.RFC3339), "2020-04-01T07:00:00Z")
	same(t, "test's text", test.Text, "user alice@corp.example, ip 10.4.7.8 -> zoom.us:443")
	same(t, "test's by", test.By+" "+test.Want.String(), "nasa-review allow")
}

func TestParseFolder(t *testing.T) {
	doc := readPolicy(t, "folder/*.yaml")
	same(t, "files", doc.Files, "[10-groups.yaml 20-rules.yaml 30-rest.yaml]")
	same(t, "location", doc.Location, "Europe/Berlin")
	same(t, "default", doc.Default, policy.ActionBlock)
	same(t, "report-only", doc.ReportOnly, true)
	var order []string
	for _, r := range doc.Rules {
		order = append(order, r.Name)
	}
	same(t, "rules", order, "[first second third fourth fifth sixth]")
	same(t, "users", doc.Groups[0].Users[0].Name, "noah@corp.example")
	same(t, "devices", doc.Groups[0].Devices[0].Name+" "+doc.Groups[0].Devices[1].Name, "aa:bb:cc:00:11:22 kiosk-7")
}

func TestParseSelectors(t *testing.T) {
	rule := readPolicy(t, "folder/*.yaml").Rules[0]
	same(t, "users", rule.Who.Users[0].Name, "mia@corp.example")
	same(t, "networks", []netip.Prefix{rule.Who.Networks[0].Prefix, rule.Who.Networks[1].Prefix}, "[10.9.8.7/32 10.2.0.0/16]")
	same(t, "devices", rule.Who.Devices[0].Name, "aa:bb:cc:00:11:22")
	same(t, "except", rule.Who.Except.Networks[0].Prefix, "10.9.0.0/16")
	var patterns []string
	for _, p := range rule.What.Domains {
		patterns = append(patterns, fmt.Sprintf("%d %s %s", p.Kind, p.Name, p.Text))
	}
	same(t, "domains", strings.Join(patterns, "\n"), strings.Join([]string{
		"0 zoom.us Zoom.us", "1 login.zoom.us =Login.zoom.us.", "2 zoom.com *.ZOOM.com",
		`3  /^zoom[0-9]+\.us$/`, "0 xn--mnchen-3ya.example münchen.example",
	}, "\n"))
	if re := rule.What.Domains[3].Regexp; !re.MatchString("zoom1.us") || re.MatchString("zoom1xus") {
		t.Errorf("regular expression %v", re)
	}
	var ports []string
	for _, p := range rule.What.Ports {
		ports = append(ports, fmt.Sprint(p.Any, p.Protocol, p.From, p.To))
	}
	same(t, "ports", strings.Join(ports, ", "), "true tcp 443 443, false tcp 8443 8443, false udp 8801 8810, true tcp 8000 8100")
	same(t, "what's except", rule.What.Except.Apps[0].Name+" "+rule.What.Except.Categories[0].Name, "webex bypass-doh")
	same(t, "doors", rule.Doors, "[dns]")
}

func TestParseActions(t *testing.T) {
	rules := readPolicy(t, "folder/*.yaml").Rules
	want := []struct {
		answer     policy.AnswerMode
		grant      time.Duration
		justify    string
		reportOnly bool
	}{
		{policy.AnswerNull, 0, "optional", false},
		{policy.AnswerPage, policy.DefaultGrant, "none", false},
		{policy.AnswerNull, 48 * time.Hour, "required", true},
		{policy.AnswerNXDOMAIN, 0, "optional", false},
		{policy.AnswerNODATA, 0, "optional", false},
		{policy.AnswerRefused, 0, "optional", false},
	}
	for i, w := range want {
		same(t, rules[i].Name, fmt.Sprint(rules[i].Answer, rules[i].Grant, " ", rules[i].Justification.String(), " ", rules[i].ReportOnly), fmt.Sprint(w.answer, w.grant, " ", w.justify, " ", w.reportOnly))
	}
}

func TestParseTimes(t *testing.T) {
	doc := readPolicy(t, "folder/*.yaml")
	when := doc.Rules[0].When
	same(t, "from", when.From.Format(time.RFC3339), "2020-03-28T08:00:30+09:00")
	same(t, "until", when.Until.UTC().Format(time.RFC3339), "2020-05-01T07:00:00Z")
	same(t, "zone", when.Zone, "Asia/Tokyo")
	same(t, "hours", hours(when.Hours), "[false true true true true true false] 540-1020; [true false false false false false true] 1320-360")
	when = doc.Rules[1].When
	same(t, "zone", when.Zone, "Europe/Berlin")
	same(t, "hours to midnight", hours(when.Hours), "[true true false false false true true] 1080-1440")
	if when = doc.Rules[2].When; when.Zone != nil || when.From.IsZero() {
		t.Errorf("when without hours: %+v", when)
	}
	when = doc.Exceptions[0].When
	same(t, "exception", when.From.Format(time.RFC3339)+" "+when.Until.Format(time.RFC3339), "2020-06-01T00:00:00+02:00 2020-06-02T00:00:00+02:00")
	same(t, "exception's hours", hours(when.Hours), "[true true true true true true true] 540-1020")
}

func hours(all []policy.Hours) string {
	var text []string
	for _, h := range all {
		text = append(text, fmt.Sprintf("%v %d-%d", h.Days, h.Open, h.Close))
	}
	return strings.Join(text, "; ")
}

// TestParseLocalTimes: what a time without a zone means when clocks change.
func TestParseLocalTimes(t *testing.T) {
	tests := []struct{ zone, written, want string }{
		{"America/Los_Angeles", "2020-11-01T01:30", "2020-11-01T08:30:00Z"}, // comes twice: the first
		{"America/Los_Angeles", "2020-11-01T02:00", "2020-11-01T10:00:00Z"},
		{"America/Los_Angeles", "2020-11-01T00:59:59", "2020-11-01T07:59:59Z"},
		{"America/Los_Angeles", "2020-03-08T03:00", "2020-03-08T10:00:00Z"},
		{"America/Los_Angeles", "2020-03-08", "2020-03-08T08:00:00Z"},
		{"Europe/Berlin", "2020-10-25T02:30", "2020-10-25T00:30:00Z"},
		{"Australia/Lord_Howe", "2020-04-05T01:45", "2020-04-04T14:45:00Z"}, // half an hour
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"},         // a day without midnight
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"},              // after a day that was left out
		{"UTC", "2020-03-28 09:00:30", "2020-03-28T09:00:30Z"},
		{"UTC", "2020-03-28T09:00-07:00", "2020-03-28T16:00:00Z"},
		{"Asia/Kolkata", "1800-01-01", "1799-12-31T18:06:32Z"}, // before the zone's first rule
	}
	for _, tt := range tests {
		text := fmt.Sprintf("version: 1\ndefault: allow\ntimezone: %s\ntests:\n  - {what: zoom.us, want: block, at: %s}\n", tt.zone, tt.written)
		doc, problems := policy.Parse([]policy.File{{Name: "p", Data: []byte(text)}})
		if len(problems) > 0 {
			t.Errorf("%s %s: %v", tt.zone, tt.written, problems)
			continue
		}
		same(t, tt.zone+" "+tt.written, doc.Tests[0].At.UTC().Format(time.RFC3339), tt.want)
	}
}

func TestParseTests(t *testing.T) {
	tests := readPolicy(t, "folder/*.yaml").Tests
	first := tests[0]
	same(t, "who", fmt.Sprint(first.Who.User, first.Who.Devices, first.Who.Groups, first.Who.Directory), "noah@corp.example[aa:bb:cc:00:11:22] [night-shift] [cn=Night]")
	same(t, "what", fmt.Sprint(first.Host, first.Port, first.Door, first.Want), "2620:123::1 443 proxy monitor")
	second := tests[1]
	same(t, "who", fmt.Sprint(second.Who.Devices, second.Who.Groups), "[kiosk-7] [night-shift]")
	same(t, "what", fmt.Sprint(second.Host, second.Port, second.Door)+" "+second.By, "2620:123::1 0 dns first")
	same(t, "text", tests[2].Text, "anyone -> ZOOM.us.")
	same(t, "host", tests[2].Host, "zoom.us")
}

func TestParseNothing(t *testing.T) {
	doc, problems := policy.Parse(nil)
	if doc != nil || !problems.HasErrors() {
		t.Errorf("%v, %v", doc, problems)
	}
	if problems := policy.Validate(nil, nil); problems != nil {
		t.Error(problems)
	}
	if problems := policy.Lint(nil, nil, time.Time{}); problems != nil {
		t.Error(problems)
	}
}

// TestParseWithoutDefault: a policy that does not say allows what it does not
// name; one that says it wrongly is an error and denies.
func TestParseWithoutDefault(t *testing.T) {
	doc, problems := policy.Parse([]policy.File{{Name: "p", Data: []byte("version: 1\n")}})
	if doc.Default != policy.ActionAllow || problems.HasErrors() || len(problems) != 1 {
		t.Errorf("%s, %v", doc.Default, problems)
	}
	doc, problems = policy.Parse([]policy.File{{Name: "p", Data: []byte("version: 1\ndefault: perhaps\n")}})
	if doc.Default != policy.ActionBlock || !problems.HasErrors() {
		t.Errorf("%s, %v", doc.Default, problems)
	}
}

func TestParseApp(t *testing.T) {
	app, problems := policy.ParseApp(policy.File{Name: "a.yaml", Data: []byte(`
id: town-hall
name: Town Hall
vendor: Example
category: conferencing
domain_block: partial
domain_block_note: not the calls
notes: none
domains:
  - {domain: meet.example, role: media, source: docs, note: n1}
  - {domain: "=cdn.example", role: shared, source: docs}
networks:
  - {network: 192.0.2.0/24, role: shared, source: docs, note: n2}
ports:
  - {port: udp/1-2, source: docs}
`)})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	same(t, "app", strings.Join([]string{app.ID, app.Name, app.Vendor, app.Category, app.DomainBlock, app.DomainBlockNote, app.Notes}, "|"),
		"town-hall|Town Hall|Example|conferencing|partial|not the calls|none")
	same(t, "shared", fmt.Sprint(app.BuiltIn, app.Domains[0].Shared(), app.Domains[1].Shared(), app.Networks[0].Shared()), "true false true true")
	same(t, "facts", app.Domains[0].Role+app.Domains[0].Source+app.Domains[0].Note+app.Networks[0].Note+app.Ports[0].Source, "mediadocsn1n2docs")
}

func TestParseAppRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"not YAML", "a: [", "a.yaml:1:1: not valid YAML: did not find expected node content: check the indentation of this line and the brackets and quotes above it"},
		{"a list", "[a]", "a.yaml:1:1: the file must be a mapping, not a list"},
		{
			"incomplete", "id: Town Hall\nextends: zoom\ndomains: [{domain: a.example}]\nnetworks: [192.0.2.0/24]\nports: [443]\n",
			`a.yaml:1:1: app without "name"
a.yaml:1:1: app without "vendor"
a.yaml:1:1: app without "category"
a.yaml:1:1: app without "domain_block"
a.yaml:1:1: app without "domain_block_note": say what a block by name leaves open or breaks
a.yaml:1:5: "Town Hall" cannot be the id of an app: use lower-case words joined by single hyphens, such as town-hall
a.yaml:2:1: unknown key "extends" in app: only an app of a policy can extend another
a.yaml:3:20: domain "a.example" without "source": say where the fact comes from
a.yaml:4:12: network 192.0.2.0/24 without "source": say where the fact comes from
a.yaml:5:9: port without "source": say where the fact comes from`,
		},
	}
	for _, tt := range tests {
		_, problems := policy.ParseApp(policy.File{Name: "a.yaml", Data: []byte(tt.text)})
		if err := problems.Err(); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got\n%v\nwant\n%s", tt.name, err, tt.want)
		}
	}
}

func TestCanonicalDevice(t *testing.T) {
	for in, want := range map[string]string{
		"AA-BB-CC-00-11-22": "aa:bb:cc:00:11:22",
		"aabb.cc00.1122":    "aa:bb:cc:00:11:22",
		"AA:BB:CC:00:11:22": "aa:bb:cc:00:11:22",
		"Kiosk-7":           "kiosk-7",
		"00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01": "00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01",
	} {
		if got := policy.CanonicalDevice(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestParseNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8":            "10.0.0.0/8",
		"10.1.2.3":              "10.1.2.3/32",
		"::ffff:10.1.2.3":       "10.1.2.3/32",
		"::ffff:10.0.0.0/104":   "10.0.0.0/8",
		"fd00:28::/32":          "fd00:28::/32",
		"2620:123::1":           "2620:123::1/128",
		"0.0.0.0/0":             "0.0.0.0/0",
		"0000:0000::0000/0":     "::/0",
		"::ffff:10.1.2.3/128":   "10.1.2.3/32",
		"FD00:0028:0000::/0032": "error",
		"010.0.0.0/8":           "error",
		"":                      "error",
	} {
		prefix, err := policy.ParseNetwork(in)
		got := prefix.String()
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: got %s (%v), want %s", in, got, err, want)
		}
	}
}

// FuzzParse asks that no policy can panic the reader, the checks or lint, and
// that what has no errors compiles to the same document twice.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/parse/*.yaml", "testdata/parse/folder/*.yaml", "testdata/bad/*.yaml", "testdata/lint/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	apps := builtIn(f)
	now := time.Date(2020, 4, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		files := []policy.File{{Name: "a", Data: data}}
		doc, problems := policy.Parse(files)
		if doc == nil && !problems.HasErrors() {
			t.Fatal("no document and no errors")
		}
		problems = append(problems, policy.Validate(doc, apps)...)
		for _, p := range problems {
			if p.Message == "" || p.File != "a" || p.Line < 0 {
				t.Errorf("problem %+v", p)
			}
		}
		if problems.HasErrors() {
			return
		}
		for _, r := range append(doc.Exceptions, doc.Rules...) {
			if r.Name == "" || r.Exception && r.When.Until.IsZero() {
				t.Errorf("rule %+v passed", r)
			}
		}
		for _, p := range policy.Lint(doc, apps, now) {
			if p.Severity != policy.SeverityWarning {
				t.Errorf("lint says %v", p)
			}
		}
	})
}
