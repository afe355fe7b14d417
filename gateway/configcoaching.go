package gateway

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/coaching"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/strictyaml"
)

// CoachingConfig is how people continue past a warning.
type CoachingConfig struct {
	// Key is the file of the key that signs their links. Empty: one that the
	// gateway makes in its state folder.
	Key string
}

// coaching reads the section of that name.
func (f *configFile) coaching(v strictyaml.Value) {
	section("coaching", fields{
		"key": f.named("coaching.key", f.optionalFile(&f.config.Coaching.Key)),
	})(v)
}

// portalURL reads the address by which people reach the portal: scheme and
// host, with a port where it is not the usual one, and nothing behind it.
func portalURL(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		text, ok := v.OptionalLine()
		if !ok || text == "" {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			v.Errorf("%q is not the address of the portal: write it as http://gate.corp.example:8080, with nothing behind", text)
			return
		}
		host, err := policy.ParseHost(u.Hostname())
		if err != nil {
			v.Errorf("%q: %s", text, err)
			return
		}
		if port := u.Port(); port != "" {
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				v.Errorf("%q: port %s is not a number from 1 to 65535", text, port)
				return
			}
		}
		*into = u.Scheme + "://" + authorityOf(host, u.Port())
	}
}

// urlHost is the host and the port of the portal's address; zero where none is
// configured.
func (c *PortalConfig) urlHost() (host policy.Host, port string) {
	u, err := url.Parse(c.URL)
	if c.URL == "" || err != nil {
		return policy.Host{}, ""
	}
	host, err = policy.ParseHost(u.Hostname())
	if err != nil {
		return policy.Host{}, ""
	}
	switch port = u.Port(); {
	case port != "":
		return host, port
	case u.Scheme == "https":
		return host, "443"
	default:
		return host, "80"
	}
}

// names are all that the portal is called.
func (c *PortalConfig) names() []string {
	host, _ := c.urlHost()
	if host.Name() == "" {
		return c.Hosts
	}
	return append(c.Hosts[:len(c.Hosts):len(c.Hosts)], host.Name())
}

// checkCoaching looks at the key, where one is named.
func (f *configFile) checkCoaching() {
	if key := f.config.Coaching.Key; key != "" {
		_, err := coaching.ReadKey(key)
		f.fileTrouble("coaching.key", key, "make one with openssl rand -hex 32, and chmod 600; or leave coaching.key empty", err)
	}
}

// coachingWarnings are the rules that nobody could continue past.
func (c *Config) coachingWarnings(doc *policy.Document) policy.Problems {
	if c.Portal.Listen != "" {
		return nil
	}
	var problems policy.Problems
	for i := range doc.Rules {
		rule := &doc.Rules[i]
		if rule.Action == policy.ActionWarn && !rule.ReportOnly && !doc.ReportOnly {
			problems.Warnf(rule.Position, "rule %q warns, and nobody can continue past it, since portal.listen is empty: let the portal listen, or make the rule a block", rule.Name)
		}
	}
	return problems
}
