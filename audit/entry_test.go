package audit

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// subject resolves alice at her desk against a small policy, so that the entry
// shows the groups that the engine found.
func subject(t *testing.T) policy.Subject {
	t.Helper()
	doc := &policy.Document{
		Location: time.UTC,
		Groups: []policy.Group{
			{Name: "employees", Networks: []policy.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}}},
			{Name: "liaison", Users: []policy.Reference{{Name: "alice@corp.example"}}},
			{Name: "visitors", Networks: []policy.Network{{Prefix: netip.MustParsePrefix("192.168.0.0/16")}}},
		},
		Default: policy.ActionAllow,
	}
	program, problems := policy.Compile(doc, policy.Sources{Revision: "r1"})
	if program == nil {
		t.Fatal(problems)
	}
	return program.Subject(policy.Identity{
		Addr: netip.MustParseAddr("10.4.7.7"), User: "alice@corp.example", Source: "basic",
	})
}

func TestEntries(t *testing.T) {
	host := policy.HostFromCanonicalName
	addr := func(s string) policy.Host { return policy.HostFromAddr(netip.MustParseAddr(s)) }

	full := &policy.Decision{
		ID: "memo-1", Time: start, Door: policy.DoorProxy, Transport: "connect",
		Client: netip.MustParseAddr("10.4.7.7"), Subject: subject(t),
		Host: host("vanity.corp.example"), Port: 443,
		Facts: []policy.Host{host("us04web.zoom.us"), addr("3.7.35.1"), addr("2620:123:2000::1")},
		Verdict: policy.Verdict{Action: policy.ActionBlock, Rule: memoRule, App: zoom, Group: "employees",
			Fact: host("us04web.zoom.us"), Revision: "r1"},
		Duration: 12_345 * time.Nanosecond,
	}
	warn := *full
	warn.Verdict.Action = policy.ActionWarn
	would := *full
	would.Verdict = policy.Verdict{Action: policy.ActionAllow, Rule: openRule, App: webex, Revision: "r1",
		Would: rehearse, WouldApp: zoom, WouldGroup: "employees", WouldAction: policy.ActionWarn}
	granted := would
	granted.Verdict = policy.Verdict{Action: policy.ActionAllow, Rule: openRule, App: webex, Granted: true, Revision: "r1"}
	coached := warn
	coached.Transport = "portal"
	continued := &Grant{Decision: &coached, Time: start.Add(time.Minute), ID: "4x7q2m9kd3ab",
		Until: start.Add(8 * time.Hour).In(time.FixedZone("", -7*3600)).Truncate(time.Second), Justification: "a \"customer\"\nmeets there"}
	over := *continued
	over.Time, over.Justification, over.EndedBy = time.Time{}, "", EndedByRevocation
	dns := blocked()
	dns.ID = "memo-2"
	dns.Duration = 412 * time.Nanosecond
	dns.Subject.Devices = []string{"laptop-17.corp.example", "aa:bb:cc:dd:ee:0f"}
	hostile := blocked()
	hostile.ID = "quote\"-and\\"
	hostile.Host = host("new\nline.\x00\xff\u2028.example")
	hostile.Subject.User = `","action":"allow`
	hostile.Subject.Devices = []string{`"],"action":"allow`}
	hostile.Verdict.Rule = &policy.Rule{Name: "règle", Reason: "</script> \"quoted\""}
	toAddr := *full
	toAddr.Host = addr("50.7.35.1")

	for _, test := range []struct {
		name     string
		decision *policy.Decision
		end      *policy.TunnelEnd
		grant    *Grant
	}{
		{name: "proxy-block", decision: full},
		{name: "proxy-warn", decision: &warn},
		{name: "proxy-would", decision: &would},
		{name: "proxy-address", decision: &toAddr},
		{name: "proxy-granted", decision: &granted},
		{name: "grant", grant: continued},
		{name: "grant-end", grant: &over},
		{name: "dns-block", decision: dns},
		{name: "hostile", decision: hostile},
		{name: "empty", decision: &policy.Decision{ID: "nothing", Time: start}},
		{name: "close", end: &policy.TunnelEnd{Decision: &would, Time: start.Add(time.Minute),
			BytesUp: 1234, BytesDown: 1 << 40, Seconds: 59.875, ClosedBy: "client"}},
		{name: "close-policy", end: &policy.TunnelEnd{Decision: &would, Time: start.Add(time.Minute),
			Seconds: 60, ClosedBy: "policy", Rule: "zoom-memo"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			l := open(t, Config{Tenant: "default"}, Dependencies{Stdout: &out, Now: func() time.Time { return start }})
			if test.grant != nil {
				l.RecordGrant(test.grant)
			}
			if test.decision != nil {
				l.Record(test.decision)
			}
			if test.end != nil {
				l.RecordEnd(test.end)
			}
			closeLog(t, l)
			golden(t, test.name+".json", out.Bytes())
			readLines(t, out.Bytes())
		})
	}
}

// golden compares with a file in testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestEncodeTime(t *testing.T) {
	e := newEncoder("", newIDs(), nil)
	for _, at := range []time.Time{
		start,
		start.Add(time.Microsecond),
		start.Add(999 * time.Nanosecond), // below a microsecond: cut off
		start.Add(time.Second),
		start.Add(-time.Second),
		time.Unix(0, 0),
		time.Unix(-1, 1000),
		time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		line, err := e.line(&record{at: at.UnixNano()})
		if err != nil {
			t.Fatal(err)
		}
		want := `{"time":"` + at.UTC().Format("2006-01-02T15:04:05.000000Z07:00") + `",`
		if !strings.HasPrefix(line.String(), want) {
			t.Errorf("got %.40s, want %s", line, want)
		}
		line.Free()
	}
}

// The keys and their order are a promise to dashboards and scripts.
func TestEntryKeys(t *testing.T) {
	const decision = "time id tenant revision door transport client user groups devices identity host port qtype facts " +
		"app rule action granted would would_rule reason duration_us"
	const closing = "time id tenant event revision door transport client user groups devices identity host port " +
		"app rule bytes_up bytes_down seconds closed_by closed_by_rule"
	const grant = "time id tenant event revision door transport client user groups devices identity host port " +
		"app rule action grant until justification"
	const over = "time id tenant event revision door transport client user groups devices identity host port " +
		"app rule grant until justification ended_by"
	var out bytes.Buffer
	// Grants are written whatever else is.
	l := open(t, Config{Refusals: ExtentNone}, Dependencies{Stdout: &out})
	l.RecordGrant(&Grant{Decision: blocked()})
	l.RecordGrant(&Grant{Decision: blocked(), EndedBy: EndedByTime})
	l.Record(blocked())
	closeLog(t, l)
	l = open(t, Config{}, Dependencies{Stdout: &out})
	l.Record(blocked())
	l.RecordEnd(&policy.TunnelEnd{Decision: allowed(), ClosedBy: "idle"})
	closeLog(t, l)
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(keys(t, line), " "))
	}
	if want := []string{grant, over, decision, closing}; !slices.Equal(got, want) {
		t.Errorf("keys\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// keys lists the keys of a JSON object in their order.
func keys(t *testing.T, object string) []string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(object))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	var out []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, key.(string))
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// FuzzEntry checks that no bytes from the network can break out of their
// field, their line, or JSON.
func FuzzEntry(f *testing.F) {
	f.Add("us04web.zoom.us", "alice", "Privacy")
	f.Add("a\nb\r\x00\x7f", `","action":"allow`, "\\")
	f.Add("\xff\xfe", "\u2028\u2029", "</script>")
	f.Fuzz(func(t *testing.T, host, user, reason string) {
		e := newEncoder("default", newIDs(), nil)
		var r record
		d := blocked()
		d.Host = policy.HostFromCanonicalName(host)
		d.Facts = []policy.Host{d.Host}
		d.Subject.User = user
		d.Subject.Devices = []string{user, host}
		d.Verdict.Rule = &policy.Rule{Name: "r", Reason: reason}
		r.fill(d, start.UnixNano())
		line, err := e.line(&r)
		if err != nil {
			t.Fatal(err)
		}
		defer line.Free()
		if bytes.Count(line.Bytes(), []byte{'\n'}) != 1 || line.Bytes()[line.Len()-1] != '\n' {
			t.Fatalf("not one line: %q", line)
		}
		var got struct {
			Host, User, Reason, Action string
			Facts, Devices             []string
		}
		if err := json.Unmarshal(line.Bytes(), &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if got.Action != "block" || len(got.Facts) != 1 || got.Facts[0] != got.Host ||
			!slices.Equal(got.Devices, []string{got.User, got.Host}) {
			t.Fatalf("a field was overwritten: %q", line)
		}
		for in, out := range map[string]string{host: got.Host, user: got.User} {
			if utf8.ValidString(in) && in != out {
				t.Fatalf("%q was written as %q", in, out)
			}
		}
	})
}
