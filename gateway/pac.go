package gateway

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/pac"
	"github.com/sallyport/sallyport/policy"
)

// errNoProxy is why there is no auto-configuration file.
var errNoProxy = errors.New("this gateway runs no proxy that a browser could be told of")

// autoConfiguration writes the files that the portal serves.
type autoConfiguration struct {
	maker   *pac.Maker
	names   map[string]bool // by which the portal alone is meant
	proxies []pac.Proxy
	address string // host:port that stands for the HTTP listener; empty: where it listens
	bound   func() []Address
	strange func(host string) // told of the first foreign name that the portal was reached by
}

func (g *Gateway) newAutoConfiguration() *autoConfiguration {
	c := g.config
	log := g.deps.Log.Named("pac")
	a := &autoConfiguration{
		names:   portalNames(c),
		proxies: c.Portal.PAC.Proxies,
		address: c.Proxy.Advertise,
		bound:   g.Addrs,
	}
	var once sync.Once
	a.strange = func(host string) {
		if c.Portal.PAC.Judged {
			once.Do(func() {
				log.Warn("a proxy auto-configuration file was asked for under a name that may be somebody else's, so it sends everything to the proxy: add the name to portal.hosts if it is the portal's",
					zap.String("host", host))
			})
		}
	}
	a.maker = pac.NewMaker(pac.MakerConfig{
		Settings: pacSettings(c, pageAddresses(c.Portal, net.InterfaceAddrs)),
		SignIn:   c.Proxy.UsersFile != "",
		Program:  g.engine.Program,
		Everywhere: func(revision string, plan *pac.Plan) {
			log.Warn("portal.pac.mode is judged, and some clients are told to send everything to the proxy",
				zap.String("revision", revision), zap.Stringer("because", plan.Whole), zap.String("rule", plan.Cause))
		},
	})
	return a
}

// pacSettings are the settings of the files. Where the proxy dials no private
// addresses, browsers are not to ask it to.
func pacSettings(c *Config, portal []netip.Addr) pac.Settings {
	p := &c.Portal.PAC
	s := pac.Settings{
		Judged:        p.Judged,
		Direct:        p.Direct,
		PrivateDirect: !c.Proxy.DenyNone && len(c.Proxy.DenyNetworks) == 0,
		Fallback:      p.Fallback,
	}
	for _, network := range p.Networks {
		s.DirectNetworks = append(s.DirectNetworks, network.Prefix)
	}
	for _, name := range c.Portal.names() {
		s.Portal = append(s.Portal, policy.HostFromCanonicalName(name))
	}
	if host, _ := c.Portal.urlHost(); host.IsAddr() {
		s.Portal = append(s.Portal, host)
	}
	for _, addr := range portal {
		s.Portal = append(s.Portal, policy.HostFromAddr(addr))
	}
	return s
}

// portalNames are the names by which the portal alone is meant: those that the
// configuration gives it, and those under wpad that dns.records gives an
// address. Any other name may be one that its owner has led here for a moment,
// so that a web page of his can read what the portal says (DNS rebinding); a
// file with names of the policy in it is not served under such a name.
func portalNames(c *Config) map[string]bool {
	names := map[string]bool{"localhost": true, "wpad": true}
	for _, name := range c.Portal.names() {
		names[name] = true
	}
	for _, record := range c.DNS.Records {
		fields := strings.Fields(record)
		if len(fields) == 0 {
			continue
		}
		owner, err := policy.ParseHost(fields[0])
		if err == nil && strings.HasPrefix(owner.Name(), "wpad.") {
			names[owner.Name()] = true
		}
	}
	return names
}

// file is the auto-configuration file for a client that reached the portal
// under a host.
func (a *autoConfiguration) file(client netip.Addr, reached policy.Host) (console.AutoConfiguration, error) {
	var proxies []pac.Proxy
	bound := a.bound()
	for _, p := range a.proxies {
		if p.Host.IsZero() {
			p = a.own(p.Scheme, bound, reached)
		}
		if p.Port != 0 {
			proxies = append(proxies, p)
		}
	}
	if len(proxies) == 0 {
		return console.AutoConfiguration{}, errNoProxy
	}
	plan := a.maker.StrangerPlan()
	if reached.IsAddr() || a.names[reached.Name()] {
		plan = a.maker.Plan(client)
	} else {
		a.strange(reached.Name())
	}
	script := plan.Script(proxies, reached)
	return console.AutoConfiguration{Parts: script.Parts, ETag: script.ETag}, nil
}

// own is the gateway's own listener of a scheme, as a client can reach it that
// reached the portal; port 0 where there is none. Where it listens on every
// address, that is under the same name.
func (a *autoConfiguration) own(scheme pac.Scheme, bound []Address, reached policy.Host) pac.Proxy {
	none := pac.Proxy{Scheme: scheme}
	address := a.address
	if scheme != pac.HTTP || address == "" {
		address = reachable(bound, ownListener(scheme).name, reached)
	}
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return none
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return none
	}
	host, err := policy.ParseHost(name)
	if err != nil || host.Addr().IsValid() && host.Addr().IsUnspecified() {
		host = reached
	}
	return pac.Proxy{Scheme: scheme, Host: host, Port: uint16(n)}
}

// reachable is which of the addresses of a listener a client is told: the one
// under which it reached the portal, or else one that other machines reach too,
// unless the client is on this one. Empty where nothing of that name listens.
func reachable(bound []Address, name string, reached policy.Host) string {
	var first, open string
	for _, b := range bound {
		ap, err := netip.ParseAddrPort(b.Addr)
		if b.Name != name || err != nil {
			continue
		}
		addr := ap.Addr().Unmap()
		if addr == reached.Addr() {
			return b.Addr
		}
		if first == "" {
			first = b.Addr
		}
		if open == "" && !addr.IsLoopback() {
			open = b.Addr
		}
	}
	if open == "" || reached.Addr().IsLoopback() || reached.Name() == "localhost" {
		return first
	}
	return open
}
