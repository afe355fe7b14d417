package gateway

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/privacy"
	"github.com/sallyport/sallyport/proxy/outbound"
)

// TestSwitchedOn: the log of a start says what is on, and keeps quiet about the
// rest.
func TestSwitchedOn(t *testing.T) {
	said := func(g *running) string {
		var all []string
		for _, message := range []string{
			"refusals over HTTPS are shown as pages", "destinations are reached by way of parent proxies",
			"redirected connections are taken in", "people are hidden in the logs",
		} {
			for _, entry := range g.log.FilterMessage(message).All() {
				all = append(all, fmt.Sprint(entry.Level, " ", entry.Message, " ", entry.ContextMap()))
			}
		}
		return strings.Join(all, "\n")
	}
	if got := said(start(t, memo, nil)); got != "" {
		t.Errorf("nothing is on, and it is said that\n%s", got)
	}
	dir := t.TempDir()
	writeAuthority(t, dir, 365*24*time.Hour)
	got := said(start(t, memo, func(c *Config, _ *Dependencies) {
		c.Proxy.Interception.CA, c.Proxy.Interception.Key = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
		c.Proxy.Parents = []outbound.Parent{{Name: "site", Endpoint: outbound.Endpoint{Scheme: outbound.SchemeHTTP, Host: "127.0.0.1", Port: 9}}}
		c.Proxy.Routes = []outbound.Route{{Via: []string{"site"}}}
		c.Proxy.Transparent.Listen = []string{"127.0.0.1:0"}
		c.Audit.Privacy.User = privacy.None
	}))
	for _, want := range []string{
		"info refusals over HTTPS are shown as pages map[authority:" + filepath.Join(dir, "ca.crt") + " clients:browsers not_after:",
		"info destinations are reached by way of parent proxies map[parents:[site] routes:1]",
		"info redirected connections are taken in map[listen:[127.0.0.1:0] mode:redirect]",
		"info people are hidden in the logs map[client:full device:full user:none]",
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("not said once: %s\nsaid:\n%s", want, got)
		}
	}
}
