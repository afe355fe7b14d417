package gateway

import (
	"strings"
	"testing"
)

// TestAdminAddress: what has no passwords is warned of where strangers reach it, and
// not where a container's network decides.
func TestAdminAddress(t *testing.T) {
	for address, warned := range map[string]bool{
		"": false, ":9180": false, "0.0.0.0:9180": false, "[::]:9180": false, "localhost:9180": false, "127.0.0.1:9180": false,
		"10.4.0.1:9180": false, "100.64.3.1:9180": false, "[fd00::1]:9180": false, "[fe80::1%eth0]:9180": false,
		"198.51.100.7:9180": true, "[2001:db8::7]:9180": true, "[::ffff:198.51.100.7]:9180": true, "[::ffff:10.4.0.1]:9180": false,
	} {
		_, problems := parseConfig("f.yaml", []byte("admin: {listen: \""+address+"\"}"))
		got := len(problems) == 1 && !problems.HasErrors() && strings.Contains(problems[0].String(), "f.yaml:1:17: warning: admin.listen")
		if got != warned || !warned && len(problems) > 0 {
			t.Errorf("%q: %v", address, problems)
		}
	}
}
