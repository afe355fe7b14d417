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
	refusedBefore := tn.metric(t, "sallyport_proxy_requests_total", `method="connect"`, `code="403"`)

	for range 3 {
		dig(t, "dig", tn.dns, "A", "zoom.us")
	}
	for range 2 {
		tn.through(t, tn.origin.url("https", "zoom.us", "/"))
	}
	tn.through(t, tn.origin.url("https", "www.rockets.example", "/"))

	// Counting comes before the log, and a tunnel is counted when it is decided.
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"decisions of the memo at the DNS door", total(dns...) - beforeDNS, 3},
		{"decisions of the memo at the proxy door", total(proxy...) - beforeProxy, 2},
		{"decisions by default at the proxy door", total(open...) - beforeOpen, 1},
		{"decisions in all", total() - beforeAll, 6},
		{"CONNECTs answered 403", tn.metric(t, "sallyport_proxy_requests_total", `method="connect"`, `code="403"`) - refusedBefore, 2},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v more, want %v", c.what, c.got, c.want)
		}
	}
}
