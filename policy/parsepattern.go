package policy

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// maxRegexp bounds a regular expression, in bytes of its source.
const maxRegexp = 1000

// ParsePattern reads a domain as a policy writes it; its Position is left
// empty. What people write instead (URLs, addresses, stars in the middle) is an
// error that says what to write.
func ParsePattern(text string) (Pattern, error) {
	if strings.HasPrefix(text, "/") {
		return parseRegexpPattern(text)
	}
	pattern := Pattern{Kind: PatternSuffix, Text: text}
	name := text
	if rest, ok := strings.CutPrefix(text, "="); ok {
		pattern.Kind, name = PatternExact, rest
	} else if rest, ok := strings.CutPrefix(text, "*."); ok {
		pattern.Kind, name = PatternBelow, rest
	}
	if err := notADomain(text, name); err != nil {
		return Pattern{}, err
	}
	host, err := ParseHost(name)
	if err != nil {
		return Pattern{}, fmt.Errorf("%q is not a domain: %w", text, err)
	}
	if host.IsAddr() {
		return Pattern{}, addressAsDomain(text, host.Addr())
	}
	pattern.Name = host.Name()
	return pattern, nil
}

// parseRegexpPattern reads /re/.
func parseRegexpPattern(text string) (Pattern, error) {
	source, closed := strings.CutSuffix(text[1:], "/")
	switch {
	case !closed || source == "":
		return Pattern{}, fmt.Errorf("%q is not a regular expression: write it between two slashes, as in /^zoom[0-9]+\\.us$/", text)
	case len(source) > maxRegexp:
		return Pattern{}, fmt.Errorf("a regular expression of %d bytes: at most %d are taken", len(source), maxRegexp)
	}
	re, err := regexp.Compile(source)
	if err != nil {
		return Pattern{}, fmt.Errorf("%q cannot be used: %w", text, err)
	}
	return Pattern{Kind: PatternRegexp, Regexp: re, Text: text}, nil
}

// notADomain recognises what is often written where a domain belongs.
func notADomain(text, name string) error {
	switch {
	case strings.Contains(name, "://"):
		if u, err := url.Parse(name); err == nil && u.Hostname() != "" {
			return fmt.Errorf("%q is a URL: write its host alone, %q", text, u.Hostname())
		}
		return fmt.Errorf("%q is a URL: write its host alone", text)
	case name == "*" || name == "":
		return fmt.Errorf("%q names no domain: leave \"domains\" out where every destination is meant", text)
	case strings.Contains(name, "*"):
		return fmt.Errorf("%q: a star can only stand first, as in *.zoom.us; for more, write a regular expression between slashes", text)
	case strings.HasPrefix(name, "."):
		bare := strings.TrimLeft(name, ".")
		return fmt.Errorf("%q begins with a dot: write %q for the name and everything under it, %q for what is under it only", text, bare, "*."+bare)
	case strings.Contains(name, "@"):
		return fmt.Errorf("%q is a mail address: write the domain alone", text)
	}
	if prefix, err := netip.ParsePrefix(name); err == nil {
		return fmt.Errorf("%q is a network: write %s under \"networks\"", text, prefix.Masked())
	}
	if strings.Contains(name, "/") {
		return fmt.Errorf("%q is not a domain: a path does not belong here", text)
	}
	if bare, port, ok := strings.Cut(name, ":"); ok && !strings.Contains(port, ":") && bare != "" {
		return fmt.Errorf("%q is not a domain: write %q here and %s under \"ports\"", text, bare, port)
	}
	return nil
}

func addressAsDomain(text string, addr netip.Addr) error {
	return fmt.Errorf("%q is an address: write %s under \"networks\"", text, netip.PrefixFrom(addr, addr.BitLen()))
}
