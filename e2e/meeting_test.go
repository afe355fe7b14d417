package e2e

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
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
	if open := g.metric(t, "sallyport_proxy_tunnels"); open != meetings+others {
		t.Errorf("%v tunnels are counted, want %d", open, meetings+others)
	}

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
	if cut := g.metric(t, "sallyport_proxy_tunnels_closed_total", `reason="policy"`); cut != meetings {
		t.Errorf("%v tunnels are counted as closed by policy, want %d", cut, meetings)
	}
	g.logged(t, "a closing entry by policy", func(e entry) bool { return e.ClosedBy == "policy" && e.Host == "us04web.zoom.us" })
}

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

// TestDeadUpstream leaves the gateway without a resolver: what is forbidden is
// refused all the same, and the rest fails soon and says why.
func TestDeadUpstream(t *testing.T) {
	sallyport(t)
	g := startGateway(t, setting{Upstream: freePort(t)}, readFile(t, "testdata/policy.yaml"))
	refused := dig(t, "dig", g.dns, "A", "zoom.us")
	checkNullMode(t, "zoom.us", "A", &refused)
	failed := dig(t, "dig", g.dns, "A", "www.rockets.example")
	if failed.status != "SERVFAIL" || !(strings.HasPrefix(failed.ede, "22") || strings.HasPrefix(failed.ede, "23")) {
		t.Errorf("without a resolver: status %s, extended error %q, want SERVFAIL and 22 or 23", failed.status, failed.ede)
	}
}

// load asks the DNS door without a pause, from one socket.
type load struct {
	quit  chan struct{}
	done  chan error
	asked atomic.Int64
}

func startLoad(t *testing.T, server, name string) *load {
	t.Helper()
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	l := &load{quit: make(chan struct{}), done: make(chan error, 1)}
	go func() {
		defer conn.Close()
		l.done <- l.run(conn, name)
	}()
	eventually(t, "queries are under way", func() error {
		if l.asked.Load() < 10 {
			return errors.New("few answers yet")
		}
		return nil
	})
	return l
}

func (l *load) run(conn net.Conn, name string) error {
	for id := uint16(0); ; id++ {
		select {
		case <-l.quit:
			return nil
		default:
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		reply, err := askOn(conn, id, name, dnsmessage.TypeA)
		if err != nil {
			return fmt.Errorf("query %d was lost: %w", l.asked.Load(), err)
		}
		if reply.RCode != dnsmessage.RCodeSuccess || len(reply.Answers) != 1 {
			return fmt.Errorf("query %d: %v with %d answers", l.asked.Load(), reply.RCode, len(reply.Answers))
		}
		l.asked.Add(1)
	}
}

func (l *load) stop(t *testing.T) {
	t.Helper()
	close(l.quit)
	if err := <-l.done; err != nil {
		t.Error(err)
	}
	t.Logf("%d DNS queries, all answered", l.asked.Load())
}
