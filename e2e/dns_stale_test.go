package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestServeStale kills the resolver behind the gateway while clients ask, lets
// the answers grow old, and starts it again: clients get an answer to every
// query, a stale one says so (RFC 8767, RFC 8914 §4.4), and when the resolver is
// back it is asked.
func TestServeStale(t *testing.T) {
	sallyport(t)
	need(t, "kdig")
	upstream := startResolver(t, "brief.rockets.example. 1 A 127.0.0.1\nlater.rockets.example. 1 A 127.0.0.1\n")
	g := startDoor(t, t.TempDir(), upstreamLine(upstream.port)+"timeouts: {upstream: 300ms, query: 1s}\n")
	for _, name := range []string{"brief.rockets.example.", "later.rockets.example."} {
		if err := g.answered(name); err != nil {
			t.Fatal(err)
		}
	}
	clients := []*load{startLoad(t, g.dns, "brief.rockets.example."), startLoad(t, g.dns, "www.rockets.example.")}

	upstream.kill(t)
	eventually(t, "an answer is stale", func() error {
		return wantEDE(dig(t, "kdig", g.dns, "A", "brief.rockets.example", "+edns"), "3")
	})
	stale := dig(t, "kdig", g.dns, "A", "brief.rockets.example", "+edns")
	if len(stale.ttls) != 1 || stale.ttls[0] > 30 || stale.ttls[0] == 0 {
		t.Errorf("a stale answer lives for %v, want 30 s at most (RFC 8767 §5.2):\n%s", stale.ttls, stale.raw)
	}
	unknown := dig(t, "kdig", g.dns, "A", "service.rockets.example", "+edns")
	if unknown.status != "SERVFAIL" || !strings.HasPrefix(unknown.ede, "22") && !strings.HasPrefix(unknown.ede, "23") {
		t.Errorf("a name that nobody asked for before: %s, extended error %q, want SERVFAIL and 22 or 23", unknown.status, unknown.ede)
	}
	g.wantRefused(t, "zoom.us.")
	before := clients[0].asked.Load()
	eventually(t, "clients go on", func() error {
		if n := clients[0].asked.Load() - before; n < 20 {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})

	upstream.again(t)
	// One that has grown old too, but that nobody has asked for since: the
	// others are not looked up again for half a minute (RFC 8767 §5).
	eventually(t, "an answer is fresh again", func() error {
		return wantEDE(dig(t, "kdig", g.dns, "A", "later.rockets.example", "+edns"), "")
	})
	eventually(t, "a name that failed is answered", func() error { return g.answered("service.rockets.example.") })
	for _, c := range clients {
		c.stop(t)
	}
}

// wantEDE wants an answer with an extended error of that number; "" for none.
func wantEDE(a answer, number string) error {
	got, _, _ := strings.Cut(a.ede, " ")
	if a.status != "NOERROR" || len(a.answer) != 1 || got != number {
		return fmt.Errorf("%s, %v, extended error %q", a.status, a.answer, a.ede)
	}
	return nil
}
