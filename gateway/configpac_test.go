package gateway

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

func TestPACSettings(t *testing.T) {
	c, problems := parseConfig("f.yaml", []byte(`
proxy: {deny_networks: none}
portal:
  hosts: [gate.corp.example]
  pac:
    mode: judged
    fallback: direct
    direct: [Corp.Example, =one.example, "*.two.example", 10.0.0.0/8, 192.0.2.7, "2001:db8::/32"]
    proxy: [http, "https://proxy.corp.example:3129", proxy2.corp.example:3128]
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p := c.Portal.PAC
	if !p.Judged || !p.Fallback {
		t.Errorf("got %+v", p)
	}
	var direct []string
	for _, d := range p.Direct {
		direct = append(direct, fmt.Sprintf("%d %s %s", d.Kind, d.Name, d.Position))
	}
	if got, want := strings.Join(direct, ", "), "0 corp.example f.yaml:8:14, 1 one.example f.yaml:8:28, 2 two.example f.yaml:8:42"; got != want {
		t.Errorf("direct: %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(p.Proxies), "[http https://proxy.corp.example:3129 http://proxy2.corp.example:3128]"; got != want {
		t.Errorf("proxies: %s, want %s", got, want)
	}
	s := pacSettings(c, []netip.Addr{netip.MustParseAddr("10.0.0.2")})
	if got, want := fmt.Sprint(s.DirectNetworks, s.Portal, s.PrivateDirect), "[10.0.0.0/8 192.0.2.7/32 2001:db8::/32] [gate.corp.example 10.0.0.2] false"; got != want {
		t.Errorf("settings: %s, want %s", got, want)
	}
	c, problems = parseConfig("f.yaml", []byte("portal: {pac: {}}"))
	if p := c.Portal.PAC; len(problems) > 0 || p.Judged || p.Fallback || fmt.Sprint(p.Proxies) != "[http]" || len(p.Direct)+len(p.Networks) > 0 || !pacSettings(c, nil).PrivateDirect {
		t.Errorf("the defaults are %+v, %v", p, problems)
	}
}

func TestBadPACSettings(t *testing.T) {
	for _, test := range []struct{ name, yaml, want string }{
		{"mode", "portal: {pac: {mode: judge}}", `f.yaml:1:22: unknown mode "judge": did you mean "judged"?`},
		{"fallback", "portal: {pac: {fallback: allow}}", `unknown fallback "allow": use deny or direct`},
		{"unknown key", "portal: {pac: {bypass: []}}", `unknown key "bypass" in portal.pac`},
		{"URL", "portal: {pac: {direct: ['https://corp.example/x']}}", `f.yaml:1:25: "https://corp.example/x" is a URL: write its host alone, "corp.example"`},
		{"host bits", "portal: {pac: {direct: [10.0.0.1/8]}}", `did you mean "10.0.0.0/8"?`},
		{"expression", "portal: {pac: {direct: ['/corp/']}}", `is a regular expression`},
		{"star", "portal: {pac: {direct: ['corp.*']}}", `a star can only stand first`},
		{"no list", "portal: {pac: {direct: {corp.example: x}}}", `"direct" must be a list`},
		{"proxy without port", "portal: {pac: {proxy: [proxy.corp.example]}}", `f.yaml:1:24: "proxy.corp.example" is no proxy: write host:port`},
		{"proxy twice", "portal: {pac: {proxy: [p.example:1, 'http://p.example:1']}}", `f.yaml:1:37: proxy "http://p.example:1" is written twice`},
		{"a listener that is off", "portal: {pac: {proxy: [http, https]}}", `f.yaml:1:30: "https" stands for this gateway's own listener, and proxy.tls.listen is empty`},
		{"too many proxies", "portal: {pac: {proxy: [" + numbered("p%d.example:1", 17) + "]}}", `has 17 proxies: at most 16`},
		{"too much direct", "portal: {pac: {direct: [" + numbered("d%d.example", 1001) + "]}}", `has 1001 domains and 0 networks: at most 1000 of each`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problems := parseConfig("f.yaml", []byte(test.yaml))
			if !problems.HasErrors() {
				t.Fatal("it was taken")
			}
			if text := problems.Err().Error(); len(problems) != 1 || !strings.Contains(text, test.want) {
				t.Errorf("got  %s\nwant %s", text, test.want)
			}
		})
	}
	_, problems := parseConfig("f.yaml", []byte("portal: {listen: '', pac: {mode: judged}}"))
	if problems.HasErrors() || len(problems) != 1 || !strings.Contains(problems[0].Message, "portal.pac does nothing") {
		t.Errorf("a portal that is off: %v", problems)
	}
}

func numbered(format string, n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return strings.Join(all, ", ")
}

// TestPACWarnings: check says which rules a file for browsers cannot hold, and
// which ones it leads past.
func TestPACWarnings(t *testing.T) {
	for _, test := range []struct {
		name, pac, rules string
		want             []string // place and a part of each
	}{
		{"nothing to say", "mode: judged, direct: [corp.example, 10.0.0.0/8]", "[{name: a, what: {domains: [zoom.example]}, action: block}]\ndefault: allow", nil},
		{"mode all", "mode: all", "[{name: a, what: {domains: ['/x/']}, action: block}]\ndefault: block", nil},
		{"default", "mode: judged", "[{name: a, what: {domains: [zoom.example]}, action: allow}]\ndefault: block", []string{"sallyport.yaml the policy's default refuses"}},
		{"expressions", "mode: judged", "[{name: a, what: {domains: ['/x/']}, action: block}, {name: b, what: {domains: ['/x/']}, action: allow}, {name: c, what: {domains: ['/x/']}, action: block, doors: [dns]}]\ndefault: allow",
			[]string{`policy.yaml:2:9 rule "a" cannot be written`}},
		{"direct is refused", "direct: [corp.example]", "[{name: a, what: {domains: [corp.example]}, action: block}]\ndefault: allow", []string{`sallyport.yaml:2:25 "corp.example", and rules of the policy are about corp.example`}},
		{"direct is under", "direct: [www.corp.example]", "[{name: a, what: {domains: [example]}, action: block}]\ndefault: allow", []string{`sallyport.yaml:2:25 about www.corp.example`}},
		{"direct is above", "direct: [corp.example]", "[{name: a, what: {domains: [=zoom.corp.example]}, action: warn}]\ndefault: allow", []string{`sallyport.yaml:2:25 about zoom.corp.example`}},
		{"direct below", "direct: ['*.corp.example', =x.corp.example]", "[{name: a, what: {domains: [=corp.example]}, action: warn}]\ndefault: allow", nil},
		{"direct and what is under", "direct: [corp.example]", "[{name: a, what: {domains: ['*.corp.example']}, action: warn}]\ndefault: allow", []string{`sallyport.yaml:2:25 about what is under corp.example`}},
		{"excepted", "direct: [corp.example]", "[{name: a, what: {domains: [example], except: {domains: [corp.example]}}, action: block}]\ndefault: allow", nil},
		{"networks", "direct: [10.0.0.0/8, 192.0.2.0/24, 198.51.100.7, 'fd00::/8']", "[{name: a, what: {networks: [10.9.0.0/16, 198.51.100.0/24]}, action: block}]\ndefault: allow",
			[]string{`sallyport.yaml:2:25 the addresses from 10.9.0.0 to 10.9.255.255`, `sallyport.yaml:2:51 from 198.51.100.0`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "sallyport.yaml")
			writeFile(t, path, "policy: policy.yaml\nportal: {pac: {"+test.pac+"}}\n")
			writeFile(t, filepath.Join(dir, "policy.yaml"), "version: 1\nrules: "+test.rules+"\n")
			c, problems := ReadConfig(path)
			if c == nil {
				t.Fatal(problems)
			}
			loaded := c.LoadPolicy(time.Now())
			if !loaded.OK() {
				t.Fatal(loaded.All())
			}
			var got policy.Problems
			for _, p := range loaded.Problems {
				if strings.Contains(p.Message, "portal.pac") {
					got = append(got, p)
				}
			}
			for i, want := range test.want {
				place, part, _ := strings.Cut(want, " ")
				if i >= len(got) || !strings.HasSuffix(got[i].Position.String(), place) || !strings.Contains(got[i].Message, part) {
					t.Errorf("no warning at %s of %q in %v", place, part, got)
				}
			}
			if len(got) != len(test.want) {
				t.Errorf("%d warnings, want %d: %v", len(got), len(test.want), got)
			}
		})
	}
}
