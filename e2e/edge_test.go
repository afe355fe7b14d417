package e2e

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// edgePolicy turns over at one instant.
const edgePolicy = `
version: 1
rules:
  - name: opens
    what: {domains: [zoomlion.com]}
    when: {until: %[1]s}
    action: block
  - name: shuts
    what: {domains: [www.rockets.example]}
    when: {from: %[1]s}
    action: block
default: allow
`

// TestScheduleEdge lets a ban's effective date pass with the process running,
// and the end of another rule with it.
func TestScheduleEdge(t *testing.T) {
	sallyport(t)
	upstream, site := startUnbound(t), startNginx(t)
	// A machine that is too slow to ask before the date gets a later one.
	for _, lead := range []time.Duration{4 * time.Second, 12 * time.Second, 36 * time.Second} {
		edge := time.Now().Add(lead).Truncate(time.Second)
		g := startGateway(t, setting{Upstream: upstream}, fmt.Sprintf(edgePolicy, edge.UTC().Format(time.RFC3339)))
		meeting, problems := beforeEdge(t, g, site, edge)
		if !time.Now().Before(edge) {
			continue
		}
		for _, problem := range problems {
			t.Error("before the date:", problem)
		}
		afterEdge(t, g, meeting, edge)
		return
	}
	t.Fatal("this machine is too slow to ask before the date")
}

// beforeEdge opens a tunnel and asks the DNS door. What it finds means
// something only where the date has not passed meanwhile.
func beforeEdge(t *testing.T, g *gateway, site *origin, edge time.Time) (*tunnel, []error) {
	t.Helper()
	if !time.Now().Before(edge) {
		return nil, nil
	}
	meeting := tryTunnel(t, g, "www.rockets.example", site.https)
	var problems []error
	if meeting == nil {
		problems = append(problems, fmt.Errorf("no tunnel to www.rockets.example"))
	}
	if err := g.refused("zoomlion.com."); err != nil {
		problems = append(problems, err)
	}
	if err := g.answered("www.rockets.example."); err != nil {
		problems = append(problems, err)
	}
	left := time.Until(edge)
	reply, err := ask(g.dns, "www.rockets.example.", dnsmessage.TypeA, patience)
	switch {
	case err != nil:
		problems = append(problems, err)
	case len(reply.Answers) == 0 || time.Duration(reply.Answers[0].Header.TTL)*time.Second > left:
		problems = append(problems, fmt.Errorf("the answer may be kept past the date, which is in %v: %v", left, reply.Answers))
	}
	return meeting, problems
}

func afterEdge(t *testing.T, g *gateway, meeting *tunnel, edge time.Time) {
	t.Helper()
	if meeting == nil {
		return // told already
	}
	meeting.wantClosed(t)
	if early := edge.Sub(meeting.at); early > 0 {
		t.Errorf("the tunnel was closed %v before the date", early)
	}
	t.Logf("the tunnel was closed %v after the date", meeting.at.Sub(edge).Round(100*time.Microsecond))
	eventually(t, "the name is refused from the date on", func() error { return g.refused("www.rockets.example.") })
	eventually(t, "the other name is answered from the date on", func() error { return g.answered("zoomlion.com.") })
}
