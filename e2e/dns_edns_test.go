package e2e

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var ednsLine = regexp.MustCompile(`(?m)^; EDNS: version: (\d+), flags:([^;]*); (?:MBZ: (0x[0-9a-f]+), )?udp: (\d+)`)

// TestEDNSCompliance asks what ISC's EDNS compliance tester asks, of a name
// that is allowed and of one that is refused: what a server does not know it
// must ignore, and a version it does not know it must name (RFC 6891).
func TestEDNSCompliance(t *testing.T) {
	sallyport(t)
	need(t, "dig")
	g := startDoor(t, t.TempDir(), upstreamLine(startUnbound(t)))
	for _, c := range []struct {
		name    string
		flags   []string
		status  string
		noEDNS  bool   // the reply must have no OPT
		nothing bool   // nor an answer
		do      bool   // the DO bit must come back
		has     string // what dig must show
		hasNot  []string
	}{
		{name: "plain DNS", flags: []string{"+noedns"}, status: "NOERROR", noEDNS: true},
		{name: "plain EDNS", flags: []string{"+edns=0", "+nocookie"}, status: "NOERROR"},
		{name: "unknown version", flags: []string{"+edns=1", "+noednsneg", "+nocookie"}, status: "BADVERS", nothing: true},
		{name: "highest version", flags: []string{"+edns=255", "+noednsneg", "+nocookie"}, status: "BADVERS", nothing: true},
		{name: "unknown option", flags: []string{"+edns=0", "+nocookie", "+ednsopt=100:1234"}, status: "NOERROR", hasNot: []string{"OPT=100"}},
		{name: "unknown option, empty", flags: []string{"+edns=0", "+nocookie", "+ednsopt=65001"}, status: "NOERROR", hasNot: []string{"OPT=65001"}},
		{name: "unknown version and option", flags: []string{"+edns=1", "+noednsneg", "+nocookie", "+ednsopt=100"}, status: "BADVERS", nothing: true, hasNot: []string{"OPT=100"}},
		{name: "unknown flag", flags: []string{"+edns=0", "+nocookie", "+ednsflags=0x80"}, status: "NOERROR"},
		{name: "unknown version and flag", flags: []string{"+edns=1", "+noednsneg", "+nocookie", "+ednsflags=0x80"}, status: "BADVERS", nothing: true},
		{name: "DNSSEC wanted", flags: []string{"+edns=0", "+nocookie", "+dnssec"}, status: "NOERROR", do: true},
		{name: "unknown version, DNSSEC wanted", flags: []string{"+edns=1", "+noednsneg", "+nocookie", "+dnssec"}, status: "BADVERS", nothing: true, do: true},
		{name: "small buffer", flags: []string{"+bufsize=512", "+nocookie", "+dnssec"}, status: "NOERROR", do: true},
		{name: "impossibly small buffer", flags: []string{"+bufsize=1", "+nocookie"}, status: "NOERROR"},
		{name: "largest buffer", flags: []string{"+bufsize=65535", "+nocookie"}, status: "NOERROR"},
		{name: "cookie", flags: []string{"+cookie=0123456789abcdef"}, status: "NOERROR", has: "; COOKIE: 0123456789abcdef"},
		{name: "cookie of another server", flags: []string{"+cookie=0123456789abcdef0123456789abcdef"}, status: "NOERROR", has: "(good)"},
		{name: "cookie of impossible length", flags: []string{"+nocookie", "+ednsopt=10:0123"}, status: "FORMERR", nothing: true},
		{name: "NSID", flags: []string{"+edns=0", "+nocookie", "+nsid"}, status: "NOERROR"},
		{name: "client subnet", flags: []string{"+edns=0", "+nocookie", "+subnet=192.0.2.0/24"}, status: "NOERROR"},
		{name: "client subnet, none wanted", flags: []string{"+edns=0", "+nocookie", "+subnet=0.0.0.0/0"}, status: "NOERROR"},
		{name: "expire", flags: []string{"+edns=0", "+nocookie", "+expire"}, status: "NOERROR"},
		{name: "a list of options", flags: []string{"+edns=0", "+nsid", "+subnet=0.0.0.0/0", "+expire", "+cookie"}, status: "NOERROR"},
	} {
		for _, transport := range []string{"+notcp", "+tcp"} {
			for _, name := range []string{"www.rockets.example", "zoom.us"} {
				t.Run(c.name+" "+transport[1:]+" "+name, func(t *testing.T) {
					a := digEDNS(t, g.dns, "A", name, append(c.flags, transport)...)
					if a.status != c.status {
						t.Errorf("status %s, want %s\n%s", a.status, c.status, a.raw)
					}
					if got := len(a.answer) == 0; got != c.nothing {
						t.Errorf("%d records in the answer\n%s", len(a.answer), a.raw)
					}
					checkOPT(t, &a, !c.noEDNS, c.do)
					if !strings.Contains(a.raw, c.has) {
						t.Errorf("no %q in\n%s", c.has, a.raw)
					}
					for _, unwanted := range c.hasNot {
						if strings.Contains(a.raw, unwanted) {
							t.Errorf("%q in\n%s", unwanted, a.raw)
						}
					}
				})
			}
		}
	}

	t.Run("buffer sizes", func(t *testing.T) {
		for _, size := range []int{0, 512, 1232, 4096, 65535} {
			a := digEDNS(t, g.dns, "TXT", "long.rockets.example", "+ignore", "+nocookie", "+bufsize="+strconv.Itoa(size))
			if !strings.Contains(a.raw, " tc ") || len(a.answer) != 0 {
				t.Errorf("size %d: a text of 3 KB is not truncated over UDP:\n%s", size, a.raw)
			}
		}
	})
	t.Run("cookie comes back", func(t *testing.T) {
		r := digEDNS(t, g.dns, "A", "www.rockets.example", "+cookie=00112233445566ff")
		sent := regexp.MustCompile(`COOKIE: ([0-9a-f]{48})`).FindStringSubmatch(r.raw)
		if sent == nil {
			t.Fatalf("no whole cookie in\n%s", r.raw)
		}
		again := digEDNS(t, g.dns, "A", "www.rockets.example", "+cookie="+sent[1])
		if !strings.Contains(again.raw, "COOKIE: "+sent[1]) {
			t.Errorf("a good cookie, just made, is not the one that comes back:\n%s", again.raw)
		}
	})
}

// checkOPT holds the reply's OPT record to RFC 6891 §6: version 0, a sensible
// size, and no flag but DO.
func checkOPT(t *testing.T, a *answer, wanted, do bool) {
	t.Helper()
	opt := ednsLine.FindStringSubmatch(a.raw)
	if (opt != nil) != wanted {
		t.Errorf("EDNS in the reply is %v, want %v\n%s", opt != nil, wanted, a.raw)
	}
	if opt == nil {
		return
	}
	if size, err := strconv.Atoi(opt[4]); opt[1] != "0" || opt[3] != "" || err != nil || size < 512 || size > 4096 {
		t.Errorf("version %s, unknown flags %q, size %s", opt[1], opt[3], opt[4])
	}
	if got := slices.Contains(strings.Fields(opt[2]), "do"); got != do {
		t.Errorf("DO is %v, want %v\n%s", got, do, a.raw)
	}
}

// digEDNS is dig with everything of the reply shown.
func digEDNS(t *testing.T, server, kind, name string, flags ...string) answer {
	t.Helper()
	host, port := split(t, server)
	arguments := []string{"@" + host, "-p", strconv.Itoa(port), "-t", kind, "-q", name, "+timeout=5", "+retry=0"}
	r := run(t, t.TempDir(), need(t, "dig"), append(arguments, flags...)...)
	if r.code != 0 {
		t.Fatalf("dig %v: exit status %d\n%s%s", flags, r.code, r.stdout, r.stderr)
	}
	return parseDig(t, r.stdout)
}
