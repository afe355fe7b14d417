package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestMeetingsEnd forbids an app while people use it: tunnels to it are
// closed, no other one is, and no DNS query is lost meanwhile.
func TestMeetingsEnd(t *testing.T) {
	const meetings, others = 20, 80
	sallyport(t)
	upstream, site := startUnbound(t), startNginx(t)
	memo := readFile(t, "testdata/policy.yaml")
	dayBefore := changed(t, memo, "from: 2020-03-28T00:00", "from: 2099-03-28T00:00")
	dayBefore = changed(t, dayBefore, "what: {categories: [conferencing]}\n    action: warn", "what: {categories: [conferencing]}\n    action: monitor")
	dayBefore = dayBefore[:strings.Index(dayBefore, "\ntests:")]
	g := startGateway(t, setting{Upstream: upstream}, dayBefore)

	var inMeeting, elsewhere []*tunnel
	for range meetings {
		inMeeting = append(inMeeting, openTunnel(t, g, "us04web.zoom.us", site.https))
	}
	for range others {
		elsewhere = append(elsewhere, openTunnel(t, g, "www.rockets.example", site.https))
	}
	// A tunnel is counted a moment after its client has been told.
	eventually(t, "every tunnel is counted", func() error {
		if open := g.metric(t, "sallyport_proxy_tunnels"); open != meetings+others {
			return fmt.Errorf("%v tunnels are counted, want %d", open, meetings+others)
		}
		return nil
	})

	load := startLoad(t, g.dns, "www.rockets.example.")
	began := time.Now()
	g.rewrite(t, memo)
	var last time.Time
	for _, m := range inMeeting {
		m.wantClosed(t)
		if m.at.After(last) {
			last = m.at
		}
	}
	t.Logf("%d of %d tunnels closed within %v of the write", meetings, meetings+others, last.Sub(began).Round(time.Millisecond))
	eventually(t, "the DNS door enforces the edit", func() error { return g.refused("us04web.zoom.us.") })
	load.stop(t)

	for i, tn := range elsewhere {
		if !tn.open() {
			t.Errorf("tunnel %d, which the memo says nothing of, was closed", i)
		}
	}
	eventually(t, "the tunnels that are left are counted", func() error {
		if open := g.metric(t, "sallyport_proxy_tunnels"); open != others {
			return fmt.Errorf("%v tunnels are counted, want %d", open, others)
		}
		return nil
	})
	g.wantMetric(t, meetings, "sallyport_proxy_tunnels_closed_total", `reason="policy"`)
	g.logged(t, "a closing entry by policy", func(e entry) bool { return e.ClosedBy == "policy" && e.Host == "us04web.zoom.us" })
}
