package pac

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// officePolicy has rules for some clients and not for others.
const officePolicy = `
version: 1
organisation: {name: "Example </script> Rockets", contact: it@corp.example}
groups:
  staff: {networks: [10.0.0.0/8, "2001:db8:1::/48"]}
  lab: {networks: [192.0.2.0/24]}
  board: {users: [chair]}
apps:
  skunkworks: {name: Skunkworks, category: conferencing, domains: [skunk.example]}
rules:
  - {name: approved, who: {groups: [staff]}, what: {apps: [msteams]}, action: allow}
  - {name: ban, who: {groups: [staff]}, what: {apps: [zoom], domains: [constructor.example, __proto__, "=exact.example", "*.below.example"]}, action: block}
  - {name: private, who: {groups: [staff]}, what: {networks: [10.66.0.0/16, 198.18.0.0/24, "2001:db8:bad::/48"]}, action: block}
  - {name: shared, who: {groups: [staff]}, what: {domains: [wide.example], except: {domains: [free.wide.example, =one.wide.example]}}, action: warn}
  - {name: watch, who: {groups: [staff]}, what: {domains: [watch.example]}, action: monitor}
  - {name: names, who: {groups: [staff]}, what: {domains: [dns.example]}, action: block, doors: [dns]}
  - {name: laboratory, who: {groups: [lab]}, what: {apps: [skunkworks], networks: [203.0.113.0/24]}, action: block}
  - {name: directors, who: {groups: [board]}, what: {domains: [board.example]}, action: block}
  - {name: shell, who: {groups: [staff]}, what: {ports: [2200-2222, udp/8443]}, action: block}
default: allow
`

func TestFindProxyForURL(t *testing.T) {
	p := compiled(t, officePolicy, nil)
	portal := []policy.Host{hostOf(t, "gate.corp.example"), hostOf(t, "10.66.0.53")}
	all := &Settings{PrivateDirect: true, Direct: patterns(t, "intranet.example", "=one.example", "*.two.example"),
		DirectNetworks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:d1::/48")}, Portal: portal}
	judged, bare := *all, Settings{Portal: portal}
	judged.Judged = true
	const proxy, direct = "PROXY proxy.corp.example:3128", "DIRECT"
	type answers struct{ all, bare, staff, lab string } // mode all, mode all with nothing set, mode judged for two clients
	everywhere, nowhere := answers{proxy, proxy, proxy, proxy}, answers{direct, direct, direct, direct}
	onlyAll := answers{proxy, proxy, direct, direct}
	staff := answers{proxy, proxy, proxy, direct}
	browsers := map[string]*browser{
		"all": browserFor(t, p, all, "10.1.1.1"), "bare": browserFor(t, p, &bare, "10.1.1.1"),
		"staff": browserFor(t, p, &judged, "10.1.1.1"), "lab": browserFor(t, p, &judged, "192.0.2.7"),
	}
	for _, c := range []struct {
		url, host string
		want      answers
	}{
		// Names.
		{"https://us04web.zoom.us/", "us04web.zoom.us", staff},
		{"https://ZOOM.us/", "ZOOM.us", staff},
		{"https://zoom.us./", "zoom.us.", staff},
		{"https://notzoom.us/", "notzoom.us", onlyAll},
		{"https://zoom.us.evil.example/", "zoom.us.evil.example", onlyAll},
		{"https://zoomlion.com/", "zoomlion.com", onlyAll},
		{"https://teams.microsoft.com/", "teams.microsoft.com", onlyAll}, // allowed, and no ban below
		{"https://exact.example/", "exact.example", staff},
		{"https://www.exact.example/", "www.exact.example", onlyAll},
		{"https://below.example/", "below.example", onlyAll},
		{"https://www.below.example/", "www.below.example", staff},
		{"https://x.wide.example/", "x.wide.example", staff},
		{"https://x.free.wide.example/", "x.free.wide.example", onlyAll},
		{"https://one.wide.example/", "one.wide.example", onlyAll},
		{"https://x.one.wide.example/", "x.one.wide.example", staff},
		{"https://watch.example/", "watch.example", staff},
		{"https://dns.example/", "dns.example", onlyAll}, // the proxy would let it through
		{"https://skunk.example/", "skunk.example", answers{proxy, proxy, direct, proxy}},
		{"https://www.board.example/", "www.board.example", everywhere}, // for whoever signs in

		// Names that objects have.
		{"https://constructor.example/", "constructor.example", staff},
		{"https://constructor/", "constructor", nowhere},
		{"https://__proto__/", "__proto__", answers{direct, direct, proxy, direct}},
		{"https://x.__proto__/", "x.__proto__", staff},
		{"https://hasownproperty.valueof/", "hasownproperty.valueof", onlyAll},
		{"https://tostring.constructor/", "tostring.constructor", onlyAll},

		// The machine itself, the portal, plain names, what is configured.
		{"http://localhost:8080/", "localhost", nowhere},
		{"http://a.localhost/", "a.localhost", nowhere},
		{"http://127.0.0.1/", "127.0.0.1", nowhere},
		{"http://[::1]/", "::1", nowhere},
		{"http://[::1]/", "[::1]", nowhere},
		{"http://[::ffff:127.8.9.1]/", "::ffff:127.8.9.1", nowhere},
		{"http://portal.corp.example/", "portal.corp.example", nowhere},
		{"http://PORTAL.corp.example./", "PORTAL.corp.example.", nowhere},
		{"http://x.portal.corp.example/", "x.portal.corp.example", onlyAll},
		{"http://gate.corp.example/", "gate.corp.example", nowhere},
		{"http://10.66.0.53/", "10.66.0.53", nowhere}, // the portal, although a rule is about its network
		{"http://intranet/", "intranet", nowhere},
		{"http://www.intranet.example/", "www.intranet.example", answers{direct, proxy, direct, direct}},
		{"http://one.example/", "one.example", answers{direct, proxy, direct, direct}},
		{"http://x.one.example/", "x.one.example", onlyAll},
		{"http://two.example/", "two.example", onlyAll},
		{"http://x.two.example/", "x.two.example", answers{direct, proxy, direct, direct}},

		// Addresses.
		{"http://10.1.2.3/", "10.1.2.3", answers{direct, proxy, direct, direct}},
		{"http://172.31.255.255/", "172.31.255.255", answers{direct, proxy, direct, direct}},
		{"http://172.32.0.0/", "172.32.0.0", onlyAll},
		{"http://192.168.0.1/", "192.168.0.1", answers{direct, proxy, direct, direct}},
		{"http://169.254.169.254/", "169.254.169.254", answers{direct, proxy, direct, direct}},
		{"http://10.66.1.1/", "10.66.1.1", staffPrivate(proxy, direct)},
		{"http://[::ffff:10.66.1.1]/", "::ffff:10.66.1.1", staffPrivate(proxy, direct)},
		{"http://[::ffff:a42:101]/", "::ffff:a42:101", staffPrivate(proxy, direct)},
		{"http://10.67.0.0/", "10.67.0.0", answers{direct, proxy, direct, direct}},
		{"http://198.18.0.255/", "198.18.0.255", staff},
		{"http://198.18.1.0/", "198.18.1.0", onlyAll},
		{"http://198.51.100.9/", "198.51.100.9", answers{direct, proxy, direct, direct}},
		{"http://[2001:db8:d1::5]/", "[2001:db8:d1::5]", answers{direct, proxy, direct, direct}},
		{"http://[2001:db8:bad:0:1::]/", "2001:db8:bad:0:1::", staff},
		{"http://[2001:db8:bae::]/", "2001:db8:bae::", onlyAll},
		{"http://[fe80::1%25eth0]/", "fe80::1%eth0", answers{direct, proxy, direct, direct}},
		{"http://[fd00:28::5]/", "fd00:28::5", answers{direct, proxy, direct, direct}},
		{"http://203.0.113.5/", "203.0.113.5", answers{proxy, proxy, direct, proxy}},
		{"http://3.7.35.1/", "3.7.35.1", staff}, // Zoom's
		{"http://[64:ff9b::3.7.35.1]/", "64:ff9b::3.7.35.1", everywhere},
		{"http://[2002:307:2301::1]/", "2002:307:2301::1", everywhere},
		{"http://[2a00::5efe:307:2301]/", "2a00::5efe:307:2301", everywhere},
		{"http://[2a00::5eff:307:2301]/", "2a00::5eff:307:2301", onlyAll},

		// What some programs take for an address, and what is neither.
		{"http://0x0307.8961/", "0x0307.8961", everywhere},
		{"http://50799361/", "50799361", everywhere},
		{"http://3.7.35.01/", "3.7.35.01", everywhere},
		{"http://3.7.35.256/", "3.7.35.256", everywhere},
		{"http://a.0x/", "a.0x", everywhere},
		{"http://[::1::1]/", "::1::1", everywhere},
		{"http://zoom。us/", "zoom。us", everywhere},
		{"http://a..b/", "a..b", everywhere},
		{"http:///", "", everywhere},

		// Ports.
		{"http://x.test:2200/", "x.test", staff},
		{"https://x.test:2222/a:1", "x.test", staff},
		{"https://x.test:2223/", "x.test", onlyAll},
		{"https://x.test:8443/", "x.test", onlyAll}, // which is for UDP
		{"https://x.test/:2200", "x.test", onlyAll},
		{"https://x.test/?u=http://y:2200/", "x.test", onlyAll},
		{"https://u:2200@x.test/", "x.test", onlyAll},
		{"http://198.19.0.1:2200", "198.19.0.1", staff},
		{"http://[2a00::1]:2200/", "2a00::1", staff},
		{"http://[2a00::2200]/", "2a00::2200", onlyAll},
		{"http://intranet:2200/", "intranet", nowhere},
	} {
		got := answers{
			browsers["all"].where(t, c.url, c.host), browsers["bare"].where(t, c.url, c.host),
			browsers["staff"].where(t, c.url, c.host), browsers["lab"].where(t, c.url, c.host),
		}
		if got != c.want {
			t.Errorf("%s (host %q):\n got %q\nwant %q", c.url, c.host, got, c.want)
		}
	}
}

// staffPrivate is for a private network that a rule for staff names.
func staffPrivate(proxy, direct string) struct{ all, bare, staff, lab string } {
	return struct{ all, bare, staff, lab string }{proxy, proxy, proxy, direct}
}

// TestOtherClientsNames: a client sees no name, network or group of rules that
// are not for it, whatever it is sent.
func TestOtherClientsNames(t *testing.T) {
	p := compiled(t, officePolicy, nil)
	for addr, wants := range map[string]struct{ has, lacks []string }{
		"10.1.1.1":      {[]string{"zoom.us", "watch.example", "wide.example"}, []string{"skunk", "board", "4cb007100", "dns.example", "intranet"}},
		"192.0.2.7":     {[]string{"skunk.example", "4cb007100"}, []string{"zoom", "watch", "wide.example", "below", "4c6120000", "board"}},
		"203.0.113.200": {nil, []string{"skunk", "zoom", "watch", "wide.example", "board", "4cb007100", "4c6120000"}},
	} {
		for mode, s := range map[string]*Settings{"all": {PrivateDirect: true}, "judged": {Judged: true, PrivateDirect: true}} {
			text := text(planFor(p, s, addr).Script(testProxy(t), hostOf(t, "portal.corp.example")))
			for _, word := range wants.has {
				if s.Judged != strings.Contains(text, word) {
					t.Errorf("mode %s, %s: %q is there: %v", mode, addr, word, !s.Judged)
				}
			}
			lacks := append(wants.lacks, "staff", "directors", "laborat", "skunkworks", "chair", "Rockets", "approved", "ban\"")
			for _, word := range lacks {
				if strings.Contains(text, word) {
					t.Errorf("mode %s, %s: %q shows", mode, addr, word)
				}
			}
		}
	}
	stranger := text(EverythingPlan(&Settings{Judged: true, PrivateDirect: true}).Script(testProxy(t), hostOf(t, "portal.corp.example")))
	for _, word := range []string{"zoom", "skunk", "watch.example"} {
		if strings.Contains(stranger, word) {
			t.Errorf("a stranger sees %q", word)
		}
	}
	if !newBrowser(t, EverythingPlan(&Settings{Judged: true}).Script(testProxy(t), hostOf(t, "portal.corp.example"))).proxied(t, "any.example") {
		t.Error("a stranger goes past the proxy")
	}
}

// TestWhatCannotBeWrittenDown: everything goes to the proxy then.
func TestWhatCannotBeWrittenDown(t *testing.T) {
	var big strings.Builder
	for i := range 60_000 {
		big.WriteString("host-" + strings.Repeat("x", i%20) + "-" + string(rune('a'+i%26)) + ".n" + strconv.Itoa(i) + ".example\n")
	}
	for _, c := range []struct {
		name, rules string
		whole       policy.Whole
		cause       string
	}{
		{"regular expression", `[{name: a, what: {domains: ["/^zoom[0-9]/"]}, action: block}]`, policy.WholeRegexp, "a"},
		{"somebody's regular expression", `[{name: a, who: {users: [chair]}, what: {domains: ["/^zoom[0-9]/"]}, action: block}]`, policy.WholeRegexp, "a"},
		{"somebody's ban of everything", `[{name: a, who: {users: [chair]}, action: block}]`, policy.WholeRule, "a"},
		{"too many bytes", `[{name: a, what: {lists: [big]}, action: block}]`, policy.WholeTooMany, ""},
		{"another client's", `[{name: a, who: {networks: [192.0.2.0/24]}, what: {domains: ["/^zoom[0-9]/"]}, action: block}]`, policy.WholeNot, ""},
	} {
		p := compiled(t, "version: 1\nlists: {big: {file: big}}\nrules: "+c.rules+"\ndefault: allow\n", map[string]string{"big": big.String()})
		plan := planFor(p, &Settings{Judged: true}, "10.1.1.1")
		if plan.Whole != c.whole || plan.Cause != c.cause {
			t.Errorf("%s: %d by %q, want %d by %q", c.name, plan.Whole, plan.Cause, c.whole, c.cause)
		}
		s := plan.Script(testProxy(t), hostOf(t, "portal.corp.example"))
		if got := newBrowser(t, s).proxied(t, "www.rockets.example"); got != (c.whole != policy.WholeNot) {
			t.Errorf("%s: an ordinary name goes to the proxy: %v", c.name, got)
		}
		if n := len(text(s)); n > MaxScript {
			t.Errorf("%s: the script has %d bytes", c.name, n)
		}
	}
}

// TestListsAreWrittenDown: names of a list are names like others, exceptions
// included.
func TestListsAreWrittenDown(t *testing.T) {
	var list strings.Builder
	for i := range 20_000 {
		list.WriteString("n" + strconv.Itoa(i+1) + ".example\n")
	}
	list.WriteString("=alone.example\n*.under.example\n")
	p := compiled(t, "version: 1\nlists: {big: {file: big}}\nrules: [{name: a, what: {lists: [big], except: {domains: [n77.example]}}, action: block}]\ndefault: allow\n",
		map[string]string{"big": list.String()})
	plan := planFor(p, &Settings{Judged: true}, "10.1.1.1")
	if plan.Whole != policy.WholeNot {
		t.Fatalf("everything goes to the proxy: %s", plan.Whole)
	}
	b := newBrowser(t, plan.Script(testProxy(t), hostOf(t, "portal.corp.example")))
	for host, want := range map[string]bool{
		"n1.example": true, "www.n12345.example": true, "n0.example": false, "n77.example": false, "example": false,
		"alone.example": true, "x.alone.example": false, "under.example": false, "x.under.example": true,
	} {
		if got := b.proxied(t, host); got != want {
			t.Errorf("%s goes to the proxy: %v", host, got)
		}
	}
}

// TestAnswer: the proxies in their order, and DIRECT only where it is asked for.
func TestAnswer(t *testing.T) {
	p := compiled(t, "version: 1\ndefault: allow\n", nil)
	var proxies []Proxy
	for _, text := range []string{"https://proxy.corp.example:3129", "http://[2001:db8::1]:3128", "socks5://192.0.2.1:1080"} {
		proxy, err := ParseProxy(text)
		if err != nil {
			t.Fatal(err)
		}
		proxies = append(proxies, proxy)
	}
	const want = "HTTPS proxy.corp.example:3129; PROXY [2001:db8::1]:3128; SOCKS5 192.0.2.1:1080"
	for fallback, want := range map[bool]string{false: want, true: want + "; DIRECT"} {
		plan := planFor(p, &Settings{Fallback: fallback}, "10.1.1.1")
		b := newBrowser(t, plan.Script(proxies, hostOf(t, "portal.corp.example")))
		if got := b.where(t, "https://www.example/", "www.example"); got != want {
			t.Errorf("fallback %v: %q, want %q", fallback, got, want)
		}
	}
}

// TestSameScriptSameTag: what a client may keep is told by the tag, and nothing
// in a script comes by chance.
func TestSameScriptSameTag(t *testing.T) {
	tags := map[string]string{}
	script := func(name, policyText, addr, portal, proxy string, s Settings) {
		proxies, err := ParseProxy(proxy)
		if err != nil {
			t.Fatal(err)
		}
		var first Script
		for range 3 {
			got := planFor(compiled(t, policyText, nil), &s, addr).Script([]Proxy{proxies}, hostOf(t, portal))
			if first.ETag == "" {
				first = got
			}
			if text(got) != text(first) || got.ETag != first.ETag {
				t.Errorf("%s: two scripts of one policy differ", name)
			}
		}
		if other, taken := tags[first.ETag]; taken {
			t.Errorf("%s and %s have one tag", name, other)
		}
		tags[first.ETag] = name
		if !regexp.MustCompile(`^"[0-9a-f]{32}"$`).MatchString(first.ETag) {
			t.Errorf("the tag is %s", first.ETag)
		}
	}
	judged := Settings{Judged: true}
	script("staff", officePolicy, "10.1.1.1", "portal.corp.example", "p.example:1", judged)
	script("lab", officePolicy, "192.0.2.7", "portal.corp.example", "p.example:1", judged)
	script("another portal", officePolicy, "10.1.1.1", "10.0.0.1", "p.example:1", judged)
	script("another proxy", officePolicy, "10.1.1.1", "portal.corp.example", "p.example:2", judged)
	script("fallback", officePolicy, "10.1.1.1", "portal.corp.example", "p.example:1", Settings{Judged: true, Fallback: true})
	script("all", officePolicy, "10.1.1.1", "portal.corp.example", "p.example:1", Settings{})
	script("an edit", strings.Replace(officePolicy, "watch.example", "watched.example", 1), "10.1.1.1", "portal.corp.example", "p.example:1", judged)
}

// TestScriptIsOld: the engines of proxy settings are, and a script that they
// cannot read is none. They know no more than ECMAScript 3.
func TestScriptIsOld(t *testing.T) {
	p := compiled(t, officePolicy, nil)
	text := text(planFor(p, &Settings{Judged: true, PrivateDirect: true}, "10.1.1.1").Script(testProxy(t), hostOf(t, "portal.corp.example")))
	code := regexp.MustCompile(`(?m)//.*$`).ReplaceAllString(text, "")
	for what, pattern := range map[string]string{
		"a later keyword":             `\b(let|const|class|async|await|yield|of|import|export)\b`,
		"an arrow":                    `=>`,
		"a template":                  "`",
		"a comma behind the last":     `,\s*[}\]]`,
		"spreading":                   `\.\.\.`,
		"a character by index":        `(host|name|text|dotted|hex)\[`,
		"a later method":              `\.(trim|startsWith|endsWith|includes|repeat|padStart|forEach|map|filter|keys|codePointAt)\(`,
		"what few engines do right":   `\.(substr|localeCompare)\(`,
		"an index of":                 `(all|part|ranges|judgedPorts)\.indexOf`,
		"a look-up":                   `(?i)(dnsResolve|isResolvable|isInNet|myIpAddress)`,
		"an assertion behind":         `\(\?<`,
		"bytes beyond ASCII":          `[^\x00-\x7f]`,
		"strict mode, or a directive": `["']use `,
		"an accessor":                 `\b(get|set)\s+\w+\s*\(`,
	} {
		if found := regexp.MustCompile(pattern).FindString(code); found != "" {
			t.Errorf("the script has %s: %q", what, found)
		}
	}
	if len(code) < 4000 {
		t.Errorf("only %d bytes of code were looked at", len(code))
	}
}
