package e2e

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestScheduleEdge lets a ban's effective date pass with the process running,
// and the end of another rule with it.
func TestScheduleEdge(t *testing.T) {
	sallyport(t)
	upstream, site := startUnbound(t), startNginx(t)
	policy := `
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
	edge := time.Now().Add(4 * time.Second).Truncate(time.Second)
	g := startGateway(t, setting{Upstream: upstream}, fmt.Sprintf(policy, edge.UTC().Format(time.RFC3339)))
	meeting := openTunnel(t, g, "www.rockets.example", site.https)

	before, err := addressOf(g.dns, "www.rockets.example.")
	if err != nil || before != [4]byte{127, 0, 0, 1} {
		t.Errorf("before the date: %v, %v, want 127.0.0.1", before, err)
	}
	if err := g.refused("zoomlion.com."); err != nil {
		t.Error("before the date:", err)
	}
	reply, err := ask(g.dns, "www.rockets.example.", dnsmessage.TypeA, patience)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(edge); len(reply.Answers) == 0 || time.Duration(reply.Answers[0].Header.TTL)*time.Second > left+time.Second {
		t.Errorf("%v before the date the answer is to be kept longer: %v", left, reply.Answers)
	}
	if time.Now().After(edge) {
		t.Fatal("this machine is too slow: the date has passed before the test asked")
	}

	meeting.wantClosed(t)
	if early := edge.Sub(meeting.at); early > 0 {
		t.Errorf("the tunnel was closed %v before the date", early)
	}
	t.Logf("the tunnel was closed %v after the date", meeting.at.Sub(edge).Round(time.Millisecond))
	eventually(t, "the name is refused from the date on", func() error { return g.refused("www.rockets.example.") })
	eventually(t, "the other name is answered from the date on", func() error {
		address, err := addressOf(g.dns, "zoomlion.com.")
		if err == nil && address != [4]byte{127, 0, 0, 1} {
			err = fmt.Errorf("answered with %v", address)
		}
		return err
	})
}
