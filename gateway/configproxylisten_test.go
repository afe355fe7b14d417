package gateway

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestProxyListenerSettings(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, test := range []struct {
		yaml    string
		want    ProxyConfig // of the ways in alone
		warning string      // empty: none
	}{
		{"{}", ProxyConfig{}, ""},
		{"{socks: {}, tls: {}, proxy_protocol: []}", ProxyConfig{}, ""},
		{"{socks: {listen: []}, tls: {listen: [], certificate: '', key: '', client_ca: ''}}", ProxyConfig{}, ""},
		{"{socks: {listen: ''}, tls: {listen: ''}}", ProxyConfig{}, ""},
		{"{socks: {listen: [':1080', '[::1]:1081']}}", ProxyConfig{SOCKS: []string{":1080", "[::1]:1081"}}, ""},
		{"{tls: {listen: [':3129'], certificate: gw.crt, key: /etc/gw.key, client_ca: ca.crt}}",
			ProxyConfig{TLS: EndpointConfig{Listen: []string{":3129"}, Certificate: in("gw.crt"), Key: "/etc/gw.key", ClientCA: in("ca.crt")}}, ""},
		{"{proxy_protocol: [10.0.0.9, 'fd00::/64']}",
			ProxyConfig{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/32"), netip.MustParsePrefix("fd00::/64")}}, ""},
		{"{proxy_protocol: [0.0.0.0/0]}", ProxyConfig{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
			"any client could then say that it is another"},
		{"{tls: {certificate: gw.crt, key: gw.key}}",
			ProxyConfig{TLS: EndpointConfig{Certificate: in("gw.crt"), Key: in("gw.key")}}, "proxy.tls has a certificate, and is off"},
	} {
		c, problems := parseConfig(in("f.yaml"), []byte("proxy: "+test.yaml))
		if problems.HasErrors() {
			t.Errorf("%s: %v", test.yaml, problems)
			continue
		}
		got := ProxyConfig{SOCKS: c.Proxy.SOCKS, TLS: c.Proxy.TLS, ProxyFrom: c.Proxy.ProxyFrom}
		if len(got.SOCKS)+len(test.want.SOCKS) == 0 {
			got.SOCKS = nil
		}
		if len(got.TLS.Listen)+len(test.want.TLS.Listen) == 0 {
			got.TLS.Listen = nil
		}
		if len(got.ProxyFrom)+len(test.want.ProxyFrom) == 0 {
			got.ProxyFrom = nil
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.yaml, got, test.want)
		}
		if len(problems) > 0 != (test.warning != "") || len(problems) > 0 && !strings.Contains(problems[0].Message, test.warning) {
			t.Errorf("%s: got %v, want %q", test.yaml, problems, test.warning)
		}
	}
}

// TestCheckProxyCertificate looks at the certificate as at those of the DNS door,
// whose name it need not bear.
func TestCheckProxyCertificate(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	later := time.Now().Add(60 * 24 * time.Hour)
	writeCertificate(t, in("dns.crt"), in("dns.key"), later, "dns.corp.example")
	writeCertificate(t, in("proxy.crt"), in("proxy.key"), later, "proxy.corp.example")
	writeCertificate(t, in("old.crt"), in("old.key"), time.Now().Add(-time.Hour), "proxy.corp.example")
	const dns = "dns: {tls: {listen: [':853'], certificate: dns.crt, key: dns.key}, designated: {name: dns.corp.example}}\n"
	for _, test := range []struct{ tls, want string }{
		{"{listen: [':3129'], certificate: proxy.crt, key: proxy.key}", ""},
		{"{listen: [':3129'], certificate: none.crt, key: proxy.key}", `f.yaml:2:47: proxy.tls.certificate: there is no file "` + in("none.crt")},
		{"{listen: [':3129'], certificate: proxy.crt, key: dns.key}", `proxy.tls.key "` + in("dns.key") + `" cannot be used together`},
		{"{listen: [':3129'], certificate: old.crt, key: old.key}", `warning: certificate "` + in("old.crt") + `" has expired on `},
		{"{listen: [':3129'], certificate: proxy.crt, key: proxy.key, client_ca: proxy.key}", `proxy.tls.client_ca: "` + in("proxy.key") + `" holds no certificate`},
	} {
		writeFile(t, in("f.yaml"), dns+"proxy: {tls: "+test.tls+"}\n")
		_, problems := CheckConfig(in("f.yaml"))
		text := ""
		for _, p := range problems {
			text += p.String() + "\n"
		}
		if test.want == "" && text != "" || !strings.Contains(text, test.want) {
			t.Errorf("%s: got %q, want %q", test.tls, text, test.want)
		}
	}
}
