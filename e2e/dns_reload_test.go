package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	perfLost      = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	perfCompleted = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	perfSucceeded = regexp.MustCompile(`Response codes:\s+NOERROR (\d+)`)
	perfCodes     = regexp.MustCompile(`Response codes:\s+(.*)`)
)

// TestReloadedUnderFullLoad lets dnsperf ask as fast as it can while the policy
// is edited twenty times: no query is lost, and none is answered wrongly.
func TestReloadedUnderFullLoad(t *testing.T) {
	sallyport(t)
	perf := need(t, "dnsperf")
	upstream := startUnbound(t)
	g := startDoor(t, t.TempDir(), upstreamLine(upstream))
	var questions strings.Builder
	for range 100 {
		questions.WriteString("www.rockets.example A\nus04web.zoom.us A\nservice.rockets.example A\nnotzoom.us A\n")
	}
	file := t.TempDir() + "/questions"
	writeFile(t, file, []byte(questions.String()))
	host, port := split(t, g.dns)
	// Runs until it is told to stop: the edits decide how long.
	load := spawn(t, t.TempDir(), perf, "-s", host, "-p", strconv.Itoa(port), "-d", file, "-c", "10", "-q", "100", "-l", "300", "-t", "5")
	eventually(t, "queries are under way", func() error { return atLeast(g.metric(t, "sallyport_dns_queries_total"), 10_000) })

	for i := range 20 {
		name := fmt.Sprintf("edited-%d.rockets.example", i)
		g.rewrite(t, strings.Replace(doorPolicy, "default:", "  - {name: edited, what: {domains: ["+name+"]}, action: block}\ndefault:", 1))
		eventually(t, "edit "+strconv.Itoa(i)+" is enforced", func() error { return g.refused(name + ".") })
	}
	// A policy is enforced a moment before its reload is counted.
	eventually(t, "20 reloads are counted", func() error {
		return atLeast(g.metric(t, "sallyport_policy_reloads_total", `result="success"`), 20)
	})

	load.signal(t, os.Interrupt)
	load.wait(t)
	report := load.stdout.String()
	lost, completed := number(t, perfLost, report), number(t, perfCompleted, report)
	codes := perfCodes.FindStringSubmatch(report)
	if lost != 0 || completed == 0 || codes == nil || !strings.HasPrefix(codes[1], "NOERROR") || strings.Contains(codes[1], ",") {
		t.Errorf("queries were lost or failed:\n%s", report)
	}
	if shed := g.metric(t, "sallyport_dns_shed_total"); shed != 0 {
		t.Errorf("%v queries were shed", shed)
	}
	t.Logf("%d queries over 20 edits, none lost", completed)
}

func number(t *testing.T, pattern *regexp.Regexp, text string) int {
	t.Helper()
	match := pattern.FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("no %v in:\n%s", pattern, text)
	}
	n, err := strconv.Atoi(match[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func atLeast(got, want float64) error {
	if got < want {
		return fmt.Errorf("%v, want %v", got, want)
	}
	return nil
}
