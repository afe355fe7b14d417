package e2e

import (
	"slices"
	"strings"
	"testing"
)

const (
	memoEDE = "15 Privacy and security concerns"
	memoTTL = 30
)

// digRefused is the memo at the DNS door, for each type that dig can ask.
func (tn town) digRefused(t *testing.T) {
	for _, name := range []string{"us04web.zoom.us", "zoom.us", "ZOOM.us.", "no-such-host.zoom.us"} {
		for _, kind := range []string{"A", "AAAA", "HTTPS", "SVCB", "TXT", "MX", "NS", "SOA", "CAA", "TYPE65400", "ANY"} {
			for _, transport := range []string{"+notcp", "+tcp"} {
				a := dig(t, "dig", tn.dns, kind, name, transport)
				checkNullMode(t, name, kind, &a)
				if a.ede != memoEDE {
					t.Errorf("%s %s %s: extended error %q, want %q\n%s", kind, name, transport, a.ede, memoEDE, a.raw)
				}
			}
		}
	}
	plain := dig(t, "dig", tn.dns, "A", "zoom.us", "+noedns")
	checkNullMode(t, "zoom.us", "A without EDNS", &plain)
	if plain.ede != "" || strings.Contains(plain.raw, "OPT PSEUDOSECTION") {
		t.Errorf("a query without EDNS got EDNS back:\n%s", plain.raw)
	}
}

// checkNullMode holds a refusal to the contract's answer mode "null".
func checkNullMode(t *testing.T, name, kind string, a *answer) {
	t.Helper()
	if a.status != "NOERROR" {
		t.Errorf("%s %s: status %s, want NOERROR", kind, name, a.status)
	}
	for _, ttl := range a.ttls {
		if ttl > memoTTL {
			t.Errorf("%s %s: TTL %d, want at most %d", kind, name, ttl, memoTTL)
		}
	}
	if v4 := a.data("A"); strings.HasPrefix(kind, "A") && kind != "AAAA" && !slices.Equal(v4, []string{"0.0.0.0"}) && kind != "ANY" {
		t.Errorf("%s %s: addresses %v, want 0.0.0.0", kind, name, v4)
	}
	switch kind {
	case "AAAA":
		if v6 := a.data("AAAA"); !slices.Equal(v6, []string{"::"}) {
			t.Errorf("AAAA %s: addresses %v, want ::", name, v6)
		}
	case "A", "A without EDNS":
	case "ANY":
		// An answer of the sinkhole's own making; never the upstream's.
		for _, record := range a.answer {
			if strings.Contains(record, "127.0.0.1") || strings.Contains(record, "memo closes") {
				t.Errorf("ANY %s shows what the name really has: %s", name, record)
			}
		}
	default:
		if !a.negative() {
			t.Errorf("%s %s: want no data and an SOA, got\n%s", kind, name, a.raw)
		}
	}
}

// digDisguised asks for names that lead to Zoom in other ways: the refusal is
// of the name that was asked for, whatever the type.
func (tn town) digDisguised(t *testing.T) {
	for _, c := range []struct{ kind, name string }{
		{"A", "vanity.rockets.example"},          // CNAME, CNAME, us04web.zoom.us
		{"A", "meet.rockets.example"},            // CNAME, us04web.zoom.us
		{"HTTPS", "alias-form.rockets.example"},  // HTTPS 0 zoom.us
		{"TYPE65", "alias-form.rockets.example"}, // the same by number
		{"HTTPS", "svc-form.rockets.example"},    // HTTPS 1 us04web.zoom.us
		{"HTTPS", "hint.rockets.example"},        // ipv4hint in Zoom's prefixes
		{"A", "bare.rockets.example"},            // an address in Zoom's prefixes
	} {
		direct := dig(t, "dig", loopback(tn.upstream), c.kind, c.name)
		if len(direct.answer) == 0 {
			t.Errorf("%s %s: the upstream has nothing, so this proves nothing", c.kind, c.name)
		}
		a := dig(t, "dig", tn.dns, c.kind, c.name)
		kind := strings.Replace(c.kind, "TYPE65", "HTTPS", 1)
		checkNullMode(t, c.name, kind, &a)
		if a.ede != memoEDE {
			t.Errorf("%s %s: extended error %q, want %q", c.kind, c.name, a.ede, memoEDE)
		}
		if strings.Contains(a.raw, "zoom.us") {
			t.Errorf("%s %s: the refusal tells where the name leads:\n%s", c.kind, c.name, a.raw)
		}
	}
}

// digModes asks for one name a mode, and wants each type refused alike.
func (tn town) digModes(t *testing.T) {
	for _, mode := range []string{"null", "nxdomain", "nodata", "refused", "page"} {
		name := "www." + mode + ".mode.example"
		for _, kind := range []string{"A", "AAAA", "HTTPS", "TXT", "MX"} {
			a := dig(t, "dig", tn.dns, kind, name)
			if a.ede != "15 mode "+mode {
				t.Errorf("%s %s: extended error %q, want %q", kind, name, a.ede, "15 mode "+mode)
			}
			checkMode(t, tn, mode, kind, &a)
		}
	}
}

func checkMode(t *testing.T, tn town, mode, kind string, a *answer) {
	t.Helper()
	wantStatus := map[string]string{"nxdomain": "NXDOMAIN", "refused": "REFUSED"}[mode]
	if wantStatus == "" {
		wantStatus = "NOERROR"
	}
	if a.status != wantStatus {
		t.Errorf("%s mode, %s: status %s, want %s", mode, kind, a.status, wantStatus)
	}
	var wantData []string
	switch {
	case mode == "null" && kind == "A":
		wantData = []string{"0.0.0.0"}
	case mode == "null" && kind == "AAAA":
		wantData = []string{"::"}
	case mode == "page" && kind == "A":
		host, _ := split(t, tn.portal)
		wantData = []string{host}
	}
	if got := a.data(kind); !slices.Equal(got, wantData) {
		t.Errorf("%s mode, %s: data %v, want %v", mode, kind, got, wantData)
	}
	if wantData == nil && mode != "refused" && !a.negative() {
		t.Errorf("%s mode, %s: want no answer and an SOA, got\n%s", mode, kind, a.raw)
	}
}

// digAllowed compares what dig shows through the gateway with what it shows
// from the resolver behind it: the same but for the TTL.
func (tn town) digAllowed(t *testing.T) {
	for _, c := range []struct {
		kind, name string
		flags      []string
	}{
		{"A", "www.rockets.example", nil},
		{"A", "WwW.rOcKeTs.example", nil},
		{"AAAA", "www.rockets.example", nil},
		{"HTTPS", "www.rockets.example", nil},
		{"TXT", "www.rockets.example", nil},
		{"A", "alias.rockets.example", nil},
		{"CNAME", "alias.rockets.example", nil},
		{"MX", "service.rockets.example", nil},
		{"SRV", "_sip._tcp.rockets.example", nil},
		{"NS", ".", nil},
		{"AAAA", "service.rockets.example", nil}, // no data
		{"A", "nothing.rockets.example", nil},    // no such name
		{"A", "a.b.c.nothing.example", nil},      // no such name, deeper
		{"TXT", "long.rockets.example", nil},     // comes back over TCP
		{"TXT", "long.rockets.example", []string{"+tcp"}},
		{"TXT", "long.rockets.example", []string{"+ignore", "+bufsize=512"}}, // stays truncated
		{"A", "www.rockets.example", []string{"+tcp"}},
		{"A", "www.rockets.example", []string{"+noedns"}},
		{"A", "www.rockets.example", []string{"+dnssec"}},
		{"A", "zoomlion.com", nil},
		{"A", "zoom.us.evil.example", nil},
		{"A", "notzoom.us", nil},
		{"A", "ocsp.digicert.com", nil},
		{"A", "teams.microsoft.com", nil},
		{"A", "alias-form.rockets.example", nil}, // its HTTPS record leads to Zoom, its address does not
		{"A", "intranet.rockets.example", nil},
	} {
		direct := dig(t, "dig", loopback(tn.upstream), c.kind, c.name, c.flags...)
		for _, round := range []string{"first", "cached"} {
			through := dig(t, "dig", tn.dns, c.kind, c.name, c.flags...)
			compareAnswers(t, strings.Join(append([]string{round, c.kind, c.name}, c.flags...), " "), &direct, &through)
		}
	}
}

func compareAnswers(t *testing.T, what string, direct, through *answer) {
	t.Helper()
	if through.status != direct.status || through.tcp != direct.tcp || through.ede != direct.ede {
		t.Errorf("%s: status %s, over TCP %v, extended error %q; without the gateway %s, %v, %q",
			what, through.status, through.tcp, through.ede, direct.status, direct.tcp, direct.ede)
	}
	if !slices.Equal(through.answer, direct.answer) {
		t.Errorf("%s: answer\n%s\nwithout the gateway\n%s", what, strings.Join(through.answer, "\n"), strings.Join(direct.answer, "\n"))
	}
	if len(direct.answer) == 0 && !slices.Equal(through.authority, direct.authority) {
		t.Errorf("%s: authority %v, without the gateway %v", what, through.authority, direct.authority)
	}
	for _, ttl := range through.ttls {
		if ttl > 300 {
			t.Errorf("%s: a TTL of %d where the zone says 300 at most", what, ttl)
		}
	}
}

// digOtherGroup asks from an address that the memo is not for.
func (tn town) digOtherGroup(t *testing.T) {
	for range 3 { // the first fills the cache, which belongs to no group
		visitor := dig(t, "dig", tn.dns, "A", "us04web.zoom.us", "-b", "127.9.0.1")
		if got := visitor.data("A"); !slices.Equal(got, []string{"127.0.0.1"}) {
			t.Errorf("a visitor gets %v for us04web.zoom.us, want the real address", got)
		}
		employee := dig(t, "dig", tn.dns, "A", "us04web.zoom.us", "-b", "127.0.4.7")
		if got := employee.data("A"); !slices.Equal(got, []string{"0.0.0.0"}) {
			t.Errorf("an employee gets %v for us04web.zoom.us, want 0.0.0.0", got)
		}
	}
}

// digCanary asks for the names by which programs find out whether they may go
// round this resolver.
func (tn town) digCanary(t *testing.T) {
	for _, name := range []string{"use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"} {
		a := dig(t, "dig", tn.dns, "A", name)
		if a.status != "NXDOMAIN" || !a.negative() {
			t.Errorf("%s: want NXDOMAIN with an SOA, got\n%s", name, a.raw)
		}
	}
}
