package e2e

import (
	"slices"
	"testing"
)

// parity asks both doors about the same names for the same clients, with dig
// and with curl, and wants one opinion: no name may be open at one door and
// shut at the other.
func (tn town) parity(t *testing.T) {
	for _, client := range []string{"127.0.0.1", "127.0.200.9", "127.9.0.1"} {
		for _, c := range []struct{ kind, name string }{
			{"A", "www.rockets.example"}, {"A", "zoom.us"}, {"A", "us04web.zoom.us"}, {"A", "vanity.rockets.example"},
			{"HTTPS", "alias-form.rockets.example"}, {"HTTPS", "svc-form.rockets.example"}, {"HTTPS", "hint.rockets.example"},
			{"A", "zoomlion.com"}, {"A", "zoom.us.evil.example"}, {"A", "notzoom.us"}, {"A", "ocsp.digicert.com"},
			{"A", "teams.microsoft.com"}, {"A", "meet.google.com"}, {"A", "cloudflare-dns.com"},
		} {
			answer := dig(t, "dig", tn.dns, c.kind, c.name, "-b", client)
			direct := dig(t, "dig", loopback(tn.upstream), c.kind, c.name)
			refusedByName := !slices.Equal(answer.answer, direct.answer)
			f := tn.through(t, tn.origin.url("https", c.name, "/"), "--interface", client)
			refusedByConnection := f.connect == 403
			if refusedByName != refusedByConnection {
				t.Errorf("%s for %s: refused by the DNS door %v (%v), by the proxy door %v (CONNECT answered %d)",
					c.name, client, refusedByName, answer.answer, refusedByConnection, f.connect)
			}
			if !refusedByConnection && f.status != 200 {
				t.Errorf("%s for %s: allowed, and yet CONNECT answered %d, the origin %d: %s", c.name, client, f.connect, f.status, f.stderr)
			}
		}
	}
}
