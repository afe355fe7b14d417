package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"
)

func certificateOf(t testing.TB, p Pair) *x509.Certificate {
	t.Helper()
	c, err := parseCertificate(p.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCreate(t *testing.T) {
	o := options("zoom.us", "us04web.zoom.us", "Teams.Example.", "xn--mnchen-3ya.example", "_x.example.org")
	c := certificateOf(t, mustCreate(t, o))
	if k, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() || c.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		t.Errorf("a key %T, signed with %v", c.PublicKey, c.SignatureAlgorithm)
	}
	if !c.IsCA || !c.BasicConstraintsValid || c.MaxPathLen != 0 || !c.MaxPathLenZero {
		t.Errorf("authority %v, path length %d (%v)", c.IsCA, c.MaxPathLen, c.MaxPathLenZero)
	}
	if c.KeyUsage != x509.KeyUsageCertSign || fmt.Sprint(c.ExtKeyUsage) != fmt.Sprint([]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("usage %b, %v", c.KeyUsage, c.ExtKeyUsage)
	}
	if got, want := fmt.Sprint(c.PermittedDNSDomains), "[_x.example.org teams.example xn--mnchen-3ya.example zoom.us]"; got != want {
		t.Errorf("permitted %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(c.ExcludedIPRanges), "[0.0.0.0/0 ::/0]"; got != want || !c.PermittedDNSDomainsCritical {
		t.Errorf("excluded %s, want %s; critical %v", got, want, c.PermittedDNSDomainsCritical)
	}
	if c.SerialNumber.BitLen() < 64 || len(c.SubjectKeyId) == 0 || c.Subject.Organization[0] != "Example Rockets" {
		t.Errorf("serial %v, subject %v", c.SerialNumber, c.Subject)
	}
	if !strings.HasPrefix(c.Subject.CommonName, "Block pages of Example Rockets (20") {
		t.Errorf("common name %q", c.Subject.CommonName)
	}
	if !c.NotBefore.Equal(o.NotBefore.Truncate(time.Second)) || !c.NotAfter.Equal(o.NotAfter.Truncate(time.Second)) {
		t.Errorf("from %v to %v", c.NotBefore, c.NotAfter)
	}
	if again := certificateOf(t, mustCreate(t, o)); again.SerialNumber.Cmp(c.SerialNumber) == 0 || again.Equal(c) {
		t.Error("two authorities are alike")
	}
}

func TestCreateForAddresses(t *testing.T) {
	c := certificateOf(t, mustCreate(t, options("zoom.us", "192.0.2.7", "2001:db8::/32")))
	if got, want := fmt.Sprint(c.PermittedIPRanges), "[192.0.2.7/32 2001:db8::/32]"; got != want || len(c.ExcludedIPRanges) != 0 {
		t.Errorf("permitted %s, want %s; excluded %v", got, want, c.ExcludedIPRanges)
	}
}

func TestCreateRefuses(t *testing.T) {
	many := make([]string, maxPermitted+1)
	for i := range many {
		many[i] = fmt.Sprintf("n%d.example", i)
	}
	for _, test := range []struct {
		name string
		edit func(*Options)
		want string
	}{
		{"nothing said", func(o *Options) { *o = Options{} }, `organisation ""`},
		{"nothing permitted", func(o *Options) { o.Permit = nil }, "needs names"},
		{"both", func(o *Options) { o.Unconstrained = true }, "either unconstrained or"},
		{"long organisation", func(o *Options) { o.Organisation = strings.Repeat("ö", 65) }, "1 to 64 characters"},
		{"ends before it begins", func(o *Options) { o.NotAfter = o.NotBefore }, "ends before it begins"},
		{"lives for ever", func(o *Options) { o.NotAfter = o.NotBefore.AddDate(31, 0, 0) }, "more than 30 years"},
		{"wildcard", func(o *Options) { o.Permit = []string{"*.zoom.us"} }, `permit "*.zoom.us": write a DNS name`},
		{"no name", func(o *Options) { o.Permit = []string{"zoom us"} }, `permit "zoom us"`},
		{"empty name", func(o *Options) { o.Permit = []string{""} }, `permit ""`},
		{"host bits", func(o *Options) { o.Permit = []string{"zoom.us", "10.1.2.3/8"} }, `permit "10.1.2.3/8"`},
		{"addresses only", func(o *Options) { o.Permit = []string{"192.0.2.7"} }, "leave all names open"},
		{"too many", func(o *Options) { o.Permit = many }, "at most 1000 fit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options("zoom.us")
			test.edit(&o)
			if _, err := Create(o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	o := options(many[:maxPermitted]...)
	if c := certificateOf(t, mustCreate(t, o)); len(c.Raw) > 60<<10 {
		t.Errorf("%d names make a certificate of %d bytes", maxPermitted, len(c.Raw))
	}
}

func TestCommonNameFits(t *testing.T) {
	o := options()
	o.Organisation = strings.Repeat("ö", 60)
	if c := certificateOf(t, mustCreate(t, o)); !strings.HasPrefix(c.Subject.CommonName, "Block pages (20") {
		t.Errorf("common name %q", c.Subject.CommonName)
	}
}

// TestTerritory asks the constraints and crypto/x509, which must agree.
func TestTerritory(t *testing.T) {
	for _, test := range []struct {
		permit []string
		in     []string
		out    []string
	}{
		{[]string{"zoom.us"}, []string{"zoom.us", "us04web.zoom.us", "a.b.zoom.us"}, []string{"us", "zoom.us.evil.example", "xzoom.us", "zoom.com", "192.0.2.7", "2001:db8::1"}},
		{[]string{"zoom.us", "zoom.com"}, []string{"zoom.us", "zoom.com"}, []string{"zoom.example"}},
		{[]string{"us"}, []string{"zoom.us", "us"}, []string{"zoom.com"}},
		{nil, []string{"zoom.us", "intranet"}, []string{"192.0.2.7", "2001:db8::1"}},
		{[]string{"zoom.us", "192.0.2.0/24"}, []string{"zoom.us", "192.0.2.7"}, []string{"192.0.3.1", "2001:db8::1", "zoom.com"}},
	} {
		a, _ := loaded(t, test.permit...)
		for _, name := range append(test.in, test.out...) {
			want := false
			for _, in := range test.in {
				want = want || in == name
			}
			if got := a.Covers(name); got != want {
				t.Errorf("permitted %v: %s is covered: %v", test.permit, name, got)
			}
			if got := verifies(t, a, name) == nil; got != want {
				t.Errorf("permitted %v: crypto/x509 takes a leaf for %s: %v", test.permit, name, got)
			}
		}
	}
}

// TestForeignTerritory reads constraints that other tools write.
func TestForeignTerritory(t *testing.T) {
	for _, test := range []struct {
		permitted, excluded string
		name                string
		want                bool
	}{
		{".zoom.us", "", "us04web.zoom.us", true},
		{".zoom.us", "", "zoom.us", false},
		{".zoom.us zoom.us", "", "zoom.us", true},
		{"zoom.us .zoom.us", "", "zoom.us", true},
		{"ZOOM.us", "", "www.zoom.us", true},
		{"", "bank.example", "www.bank.example", false},
		{"", "bank.example", "zoom.us", true},
		{"example", "bank.example", "bank.example", false},
		{"example", "bank.example", "shop.example", true},
	} {
		territory := territoryOf(&x509.Certificate{
			PermittedDNSDomains: strings.Fields(test.permitted),
			ExcludedDNSDomains:  strings.Fields(test.excluded),
		})
		if got := territory.holds(mustHost(t, test.name)); got != test.want {
			t.Errorf("permitted %q, excluded %q: %s is held: %v", test.permitted, test.excluded, test.name, got)
		}
	}
	everything := territoryOf(&x509.Certificate{ExcludedDNSDomains: []string{""}})
	if everything.holds(mustHost(t, "zoom.us")) {
		t.Error("all names are excluded, and one is held")
	}
}
