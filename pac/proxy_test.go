package pac

import (
	"strings"
	"testing"
)

func TestParseProxy(t *testing.T) {
	for in, want := range map[string]string{
		"http": "http", "https": "https", "socks5": "socks5",
		"proxy.corp.example:3128":         "http://proxy.corp.example:3128",
		"http://Proxy.Corp.Example:3128/": "http://proxy.corp.example:3128",
		"https://[2001:db8::1]:3129":      "https://[2001:db8::1]:3129",
		"socks5://192.0.2.1:1080":         "socks5://192.0.2.1:1080",
	} {
		p, err := ParseProxy(in)
		if err != nil || p.String() != want {
			t.Errorf("%q: %v, %v; want %s", in, p, err, want)
			continue
		}
		if again, err := ParseProxy(p.String()); err != nil || again != p {
			t.Errorf("%s read again: %v, %v", p, again, err)
		}
	}
	for in, want := range map[string]string{
		"": "write host:port", "proxy.corp.example": "write host:port", "ftp://p.example:21": "no kind of proxy", "SOCKS5://p.example:1": "no kind of proxy",
		"p.example:0": "port", "p.example:65536": "port", "p.example:http": "port", "https://u:p@p.example:1": "user name", "a b:1": "neither a name",
		"p.example:1;DIRECT": "port", "p;DIRECT:1": "neither a name", "https://p.example:1/x": "port", ":3128": "neither a name",
	} {
		if p, err := ParseProxy(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", in, p, err, want)
		}
	}
}
