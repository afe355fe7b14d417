package gateway

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy"
)

func TestMismatchSettings(t *testing.T) {
	const allow, report, block = proxy.MismatchAllow, proxy.MismatchReport, proxy.MismatchBlock
	for yaml, want := range map[string]proxy.Mismatch{
		"{}":     {},
		"report": {ServerName: report, Host: report, Address: report, ECH: report, Protocol: report},
		"block":  {ServerName: block, Host: block, Address: block, ECH: block, Protocol: block},
		"{sni: block, host: allow, address: report, ech: block, protocol: allow, tls_ports: [443, 8443]}": {
			ServerName: block, Host: allow, Address: report, ECH: block, Protocol: allow, TLSPorts: []uint16{443, 8443}},
		"{tls_ports: []}":   {TLSPorts: []uint16{}},
		"{tls_ports: 8443}": {TLSPorts: []uint16{8443}},
	} {
		c, problems := parseConfig("/etc/sallyport.yaml", []byte("proxy: {mismatch: "+yaml+"}\n"))
		if len(problems) > 0 {
			t.Errorf("%s: %v", yaml, problems)
			continue
		}
		if !reflect.DeepEqual(c.Proxy.Mismatch, want) {
			t.Errorf("%s: got %+v", yaml, c.Proxy.Mismatch)
		}
	}
	for yaml, want := range map[string]string{
		"deny":               "report",
		"{sni: yes}":         "sni",
		"{snl: block}":       "snl",
		"{tls_ports: [0]}":   "1",
		"{ech: [block]}":     "ech",
		"[block]":            "mismatch",
		"{tls_ports: [tls]}": "tls_ports",
	} {
		_, problems := parseConfig("/etc/sallyport.yaml", []byte("proxy: {mismatch: "+yaml+"}\n"))
		if !problems.HasErrors() || !strings.Contains(fmt.Sprint(problems), want) || problems[0].Position.Line != 1 {
			t.Errorf("%s: %v, want something about %s", yaml, problems, want)
		}
	}
}
