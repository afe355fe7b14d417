package gateway

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/strictyaml"
)

// ProxyLimitsConfig is what one client, or one group, may have of the proxy
// door.
type ProxyLimitsConfig struct {
	ClientConns   int // connections of one client; 0: a quarter of all
	ClientTunnels int // tunnels of one client; 0: a quarter of all
	Rate          int // requests of one client in a second; 0: no limit
	RateExempt    []netip.Prefix
	Body          int64 // bytes of a plain request's body; 0: no limit
	BodyRate      int   // bytes a second that must come of it; 0: however slow
	BodyGrace     time.Duration
	Silent        time.Duration // how long a tunnel is kept in which nothing ever moved
	Bandwidth     []GroupBandwidth
}

// GroupBandwidth is what the clients of a group may move together.
type GroupBandwidth struct {
	Group    string
	Rate     int64 // bytes a second, each way
	Position policy.Position
}

// defaultProxyLimits are limits that no person with a browser comes near: a
// page asks for some hundred things in its busiest second.
func defaultProxyLimits() ProxyLimitsConfig {
	return ProxyLimitsConfig{
		Rate: 500,
		// A load balancer or a parent on this machine is one address for
		// everybody behind it.
		RateExempt: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.0/8"),
			netip.MustParsePrefix("::1/128"),
		},
		BodyRate:  500,
		BodyGrace: 20 * time.Second,
		Silent:    5 * time.Minute,
	}
}

// apply writes the limits into the door's settings.
func (l *ProxyLimitsConfig) apply(c proxy.Config) proxy.Config {
	c.MaxConnsPerClient, c.MaxTunnelsPerClient = l.ClientConns, l.ClientTunnels
	c.Rate, c.RateExempt = l.Rate, l.RateExempt
	c.MaxBody, c.MinBodyRate = l.Body, l.BodyRate
	c.Timeouts.Body, c.Timeouts.Silent = l.BodyGrace, l.Silent
	c.Bandwidth = make(map[string]int64, len(l.Bandwidth))
	for _, b := range l.Bandwidth {
		c.Bandwidth[b.Group] = b.Rate
	}
	return c
}

func (f *configFile) proxyLimits(v strictyaml.Value) {
	p := &f.config.Proxy
	l := &p.Limits
	section("proxy.limits", fields{
		"connections":            number(&p.MaxConns, 1, 1<<24),
		"connections_per_client": number(&l.ClientConns, 0, 1<<24),
		"tunnels":                number(&p.MaxTunnels, 1, 1<<24),
		"tunnels_per_client":     number(&l.ClientTunnels, 0, 1<<24),
		"requests_per_second":    number(&l.Rate, 0, 1_000_000),
		"rate_exempt":            prefixes(&l.RateExempt),
		"body":                   size(&l.Body, 0, 1<<50),
		"body_rate":              number(&l.BodyRate, 0, 1<<30),
		"bandwidth":              f.bandwidth,
	})(v)
}

// bandwidth reads the rates of groups.
func (f *configFile) bandwidth(v strictyaml.Value) {
	l := &f.config.Proxy.Limits
	v.Entries(func(key, value strictyaml.Value) {
		name, named := key.Line()
		text, ok := value.Line()
		if !named || !ok {
			return
		}
		rate, ok := parseByteRate(text)
		switch {
		case !ok:
			value.Errorf("%q is not a rate: write bytes or bits a second, such as 50MB/s or 400Mbit/s", text)
		case rate < leastByteRate || rate > mostByteRate:
			value.Errorf("rate %q is out of bounds: write one from 1kB/s to 1000GB/s", text)
		default:
			l.Bandwidth = append(l.Bandwidth, GroupBandwidth{Group: name, Rate: rate, Position: key.Position()})
		}
	})
}

// Bounds of a group's rate, in bytes a second.
const (
	leastByteRate = 1_000
	mostByteRate  = 1_000_000_000_000
)

// byteUnits are the units of a rate, in bits. Those that end alike come longest
// first.
var byteUnits = []struct {
	name string
	bits float64
}{
	{"kbit/s", 1e3}, {"Mbit/s", 1e6}, {"Gbit/s", 1e9}, {"bit/s", 1},
	{"KiB/s", 8 << 10}, {"MiB/s", 8 << 20}, {"GiB/s", 8 << 30},
	{"kB/s", 8e3}, {"KB/s", 8e3}, {"MB/s", 8e6}, {"GB/s", 8e9}, {"B/s", 8},
}

// parseByteRate reads a rate, in bytes a second.
func parseByteRate(text string) (int64, bool) {
	for _, unit := range byteUnits {
		digits, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		digits = strings.TrimSpace(digits)
		if strings.Trim(digits, "0123456789.") != "" {
			return 0, false // no sign, no exponent, no infinity
		}
		n, err := strconv.ParseFloat(digits, 64)
		if err != nil || n > 1e15 {
			return 0, false
		}
		return int64(n * unit.bits / 8), true
	}
	return 0, false
}

// bandwidthWarnings are the groups whose bandwidth is limited and that the
// policy does not have.
func (c *Config) bandwidthWarnings(p *policy.Program) policy.Problems {
	known := map[string]bool{policy.NoGroup: true}
	for _, name := range p.GroupNames() {
		known[name] = true
	}
	var problems policy.Problems
	for _, b := range c.Proxy.Limits.Bandwidth {
		if !known[b.Group] {
			problems.Warnf(b.Position, "proxy.limits.bandwidth names group %q, and the policy has none of that name: nobody is limited by it; write a group of the policy, or %s for clients of none",
				b.Group, policy.NoGroup)
		}
	}
	return problems
}
