package gateway

import (
	"io"
	"net"
	"strings"
	"testing"
)

// TestProxyTellsWhatANameLacks: a name without an address, and one that no
// resolver could look up, are different troubles, with different remedies.
func TestProxyTellsWhatANameLacks(t *testing.T) {
	g := start(t, memo, func(c *Config, _ *Dependencies) {
		c.DNS.Records = []string{"corp.example. 300 IN MX 10 mail.corp.example."}
		c.DNS.Upstreams = []string{"udp://" + silentPort(t)}
	})
	for target, want := range map[string]string{
		"corp.example:443":  "corp.example: there is no such name, or it has no address; look at how it is written\n",
		"other.example:443": "other.example: no resolver could look the name up; try again later\n",
	} {
		conn, err := net.Dial("tcp", g.addr("proxy http"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := sendConnect(conn, target, "")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = conn.Close()
		if want += "Questions? Ask it-help@corp.example\n"; err != nil || string(body) != want || !strings.Contains(response.Header.Get("Proxy-Status"), "dns_error") {
			t.Errorf("%s: %s %v %q, %v", target, response.Status, response.Header, body, err)
		}
	}
}

// silentPort is a port of this machine on which nobody listens.
func silentPort(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}
