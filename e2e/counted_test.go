package e2e

import "testing"

// counted compares what clients did with what Prometheus would see of it: each
// decision once, under the labels of the contract.
func (tn town) counted(t *testing.T) {
	total := func(labels ...string) float64 { return tn.metric(t, "sallyport_decisions_total", labels...) }
	memo := []string{`action="block"`, `app="zoom"`, `rule="zoom-memo"`, `group="employees"`}
	dns, proxy := append([]string{`door="dns"`}, memo...), append([]string{`door="proxy"`}, memo...)
	open := []string{`door="proxy"`, `action="allow"`, `app="none"`, `rule="default"`}
	beforeDNS, beforeProxy, beforeOpen, beforeAll := total(dns...), total(proxy...), total(open...), total()
	refusals := []string{`method="connect"`, `code="403"`}
	refusedBefore := tn.metric(t, "sallyport_proxy_requests_total", refusals...)

	for range 3 {
		dig(t, "dig", tn.dns, "A", "zoom.us")
	}
	for range 2 {
		tn.through(t, tn.origin.url("https", "zoom.us", "/"))
	}
	tn.through(t, tn.origin.url("https", "www.rockets.example", "/"))

	// What a client has seen is counted a moment later: wait, and see that no more
	// is counted than there was.
	for _, c := range []struct {
		what   string
		name   string
		labels []string
		want   float64
	}{
		{"decisions of the memo at the DNS door", "sallyport_decisions_total", dns, beforeDNS + 3},
		{"decisions of the memo at the proxy door", "sallyport_decisions_total", proxy, beforeProxy + 2},
		{"decisions by default at the proxy door", "sallyport_decisions_total", open, beforeOpen + 1},
		{"decisions in all", "sallyport_decisions_total", nil, beforeAll + 6},
		{"CONNECTs answered 403", "sallyport_proxy_requests_total", refusals, refusedBefore + 2},
	} {
		t.Log(c.what)
		tn.wantMetric(t, c.want, c.name, c.labels...)
	}
}
