package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/coaching"
	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/policy"
)

// benchCoach is a coach with nothing around it.
func benchCoach(b *testing.B) (*coach, *policy.Decision) {
	b.Helper()
	doc, problems := policy.Parse([]policy.File{{Name: "policy.yaml", Data: []byte(strings.ReplaceAll(coached, "apps: [zoom, jitsi]", "domains: [zoom.us]") + "\n")}})
	if problems.HasErrors() {
		b.Fatal(problems)
	}
	doc.Rules = doc.Rules[2:] // no app without a catalogue
	program, problems := policy.Compile(doc, policy.Sources{})
	if program == nil {
		b.Fatal(problems)
	}
	store, err := coaching.Open(coaching.Config{}, time.Now(), nil)
	if err != nil {
		b.Fatal(err)
	}
	engine := policy.NewEngine(program)
	engine.SetGrants(store)
	client := netip.MustParseAddr("192.0.2.1")
	subject := engine.Subject(policy.Identity{Addr: client})
	c := &coach{
		key: coaching.NewKey(), store: store, engine: engine, now: time.Now, log: zap.NewNop(),
		identify: func(netip.Addr) policy.Subject { return subject },
		base:     func() string { return "http://gate.corp.example:8080" },
		record:   func(*audit.Grant) {},
	}
	d := &policy.Decision{ID: "k3f9x2ab-1a", Door: policy.DoorProxy, Client: client, Subject: subject, Host: policy.HostFromCanonicalName("zoom.us"), Port: 443}
	d.Verdict = engine.Decide(&policy.Request{Subject: subject, Door: d.Door, At: time.Now(), Port: d.Port, Host: d.Host})
	return c, d
}

// BenchmarkCoaching is what a warning costs: the link in a refusal, the refusal
// with it, and the page that the link leads to.
func BenchmarkCoaching(b *testing.B) {
	c, d := benchCoach(b)
	link := c.link(d, "https://zoom.us/j/123")
	if link == "" {
		b.Fatal("no link")
	}
	b.Run("link", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.link(d, "https://zoom.us/j/123")
		}
	})
	b.Run("refusal", func(b *testing.B) {
		r := httptest.NewRequest(http.MethodGet, "http://zoom.us/j/123", nil)
		r.Header.Set("Accept", "text/html")
		b.ReportAllocs()
		for b.Loop() {
			refusal := blockpage.FromVerdict(&d.Verdict, d.Host, d.ID, time.Now())
			refusal.Offer.URL = c.link(d, "https://zoom.us/j/123")
			blockpage.Write(httptest.NewRecorder(), r, http.StatusForbidden, refusal)
		}
	})
	b.Run("page", func(b *testing.B) {
		portal := console.NewPortal(console.PortalConfig{}, console.PortalFacts{Coaching: console.Coaching{Offer: c.offer, Accept: c.accept, Refused: func(string) {}}})
		r := httptest.NewRequest(http.MethodGet, link, nil)
		r.Host, r.RemoteAddr = "192.0.2.9", "192.0.2.1:40000"
		r.Header.Set("Accept", "text/html")
		b.ReportAllocs()
		for b.Loop() {
			w := httptest.NewRecorder()
			portal.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Fatal(w.Body)
			}
		}
	})
}
