package pac

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// FuzzHost: whatever host and URL a browser is made to ask about, the script
// answers, with one of its two answers, and what the policy refuses goes to the
// proxy however it is written.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{
		"zoom.us", "US04web.Zoom.US.", "3.7.35.1", "0x0307.8961", "50799361", "::ffff:3.7.35.1", "[::ffff:307:2301]", "[::1]", "", ".", "..", "a..b", "zoom。us",
		"ｚｏｏｍ.us", "__proto__", "constructor", "x.__proto__", `";alert(1);"`, "a\x00b", "[", "]", "[]", ":", "::", ":::", "%", "1.2.3.4.5", "zoom.us:443",
		"ba.nned.example", "except.nned.example", strings.Repeat("a.", 200), strings.Repeat("a", 300) + ".zoom.us", "\u2028", "K.example", "zoom.us%00", "fe80::1%25zoom.us",
	} {
		f.Add(seed, "https://"+seed+"/")
	}
	program := compiled(f, `
version: 1
rules:
  - {name: a, what: {apps: [zoom], domains: [nned.example, __proto__, constructor.example], except: {domains: [except.nned.example]}, networks: [198.51.100.0/24, "2001:db8::/32"]}, action: block}
default: allow
`, nil)
	judged := browserFor(f, program, &Settings{Judged: true}, "192.0.2.1")
	all := browserFor(f, program, &Settings{}, "192.0.2.1")
	subject := subjectAt(program, "192.0.2.1")
	f.Fuzz(func(t *testing.T, host, url string) {
		toProxy := judged.where(t, url, host)
		everything := all.where(t, url, host)
		for _, answer := range []string{toProxy, everything} {
			if answer != "PROXY proxy.corp.example:3128" && answer != direct {
				t.Fatalf("%q for %q: the answer is %q", host, url, answer)
			}
		}
		parsed, err := policy.ParseHost(host)
		if err != nil {
			return
		}
		v := program.Decide(&policy.Request{Subject: subject, Door: policy.DoorProxy, Port: 443, Host: parsed, At: time.Unix(1.6e9, 0)})
		if v.Action.Refuses() && v.RuleName() != policy.RuleCanary && toProxy == direct {
			t.Fatalf("%q is refused as %v, and goes past the proxy", host, parsed)
		}
		if toProxy != direct && everything == direct && strings.Contains(parsed.Name(), ".") {
			t.Fatalf("%q goes to the proxy where only some hosts do, and past it where all do", host)
		}
	})
}

// FuzzInjection: whatever gets into a script, be it a name of the policy, of
// the settings or of the request, it stays a string there.
func FuzzInjection(f *testing.F) {
	for _, seed := range []string{`x";alert(1);"`, `*/ alert(1) /*`, "a\nalert(1)\n", "a\u2028alert(1)", `\`, `"};FindProxyForURL=null;//`, "</script>", "__proto__", "\xff\xfe"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, name, portal string) {
		host := policy.HostFromCanonicalName(portal)
		d := data{
			settings: &Settings{Direct: []policy.Pattern{{Kind: policy.PatternSuffix, Name: name}}, Portal: []policy.Host{policy.HostFromCanonicalName(name)}},
			judged:   true,
			present:  policy.Named{Names: []policy.NamedName{{Name: name, Itself: true}}},
			later:    policy.Named{Names: []policy.NamedName{{Name: name, Under: true}}},
		}
		script := d.plan().Script([]Proxy{{Host: host, Port: 1}}, host)
		b := newBrowser(t, script) // which fails where the text is no program
		answer := b.where(t, "https://192.0.2.1/", "192.0.2.1")
		if answer != direct {
			t.Fatalf("the answer is %q", answer)
		}
		got := b.vm.Get("portal").Export()
		if want := "." + strings.ToValidUTF8(portal, "\ufffd"); got != want && !strings.Contains(want, "\ufffd") {
			t.Fatalf("the portal is %q, want %q", got, want)
		}
	})
}
