package outbound

import (
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	for text, want := range map[string]string{
		"http://proxy.corp.example:3128":  "http://proxy.corp.example:3128",
		"https://proxy.corp.example:443/": "https://proxy.corp.example:443",
		"socks5://10.0.0.1:1080":          "socks5://10.0.0.1:1080",
		"socks5h://[fd00::1]:1080":        "socks5h://[fd00::1]:1080",
		"HTTP://10.0.0.1:80":              "http://10.0.0.1:80",
	} {
		e, err := ParseEndpoint(text)
		if err != nil || e.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, e, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                                 "http://proxy.corp.example:3128",
		"proxy.corp.example:3128":          "is not a proxy's URL",
		"proxy.corp.example":               "is not a proxy's URL",
		"10.0.0.1:3128":                    "is not a proxy's URL",
		"http://proxy.corp.example":        "no port",
		"http://proxy.corp.example:":       "no port",
		"http://proxy.corp.example:0":      "1 to 65535",
		"http://proxy.corp.example:70000":  "1 to 65535",
		"http://proxy.corp.example:80/x":   "ends with the port",
		"http://proxy.corp.example:80?x=y": "ends with the port",
		"http://proxy.corp.example:80?":    "ends with the port",
		"http://proxy.corp.example:80#x":   "ends with the port",
		"socks4://10.0.0.1:1080":           "use http, https, socks5 or socks5h",
		"ftp://10.0.0.1:1080":              "use http, https, socks5 or socks5h",
		"http://:3128":                     "neither a name nor an address",
		"http://]:3128":                    "neither a name nor an address",
		"http://a b:3128":                  "not a proxy's URL",
		"http://[fe80::1%25eth0]:3128":     "neither a name nor an address",
		"http://alex:apogee@10.0.0.1:3128": "credentials",
		"http://alex:apogee@[::1:3128":     "credentials",
	} {
		_, err := ParseEndpoint(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "apogee") {
			t.Errorf("%q: the password is in the error: %v", text, err)
		}
	}
}
