package gateway

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/sallyport/sallyport/dnsfilter"
	"github.com/sallyport/sallyport/identity"
	"github.com/sallyport/sallyport/policy"
)

// newDNSDoor makes the DNS door around the one engine. It opens in listen.
func (g *Gateway) newDNSDoor() (*dnsfilter.Server, error) {
	settings, err := g.dnsSettings()
	if err != nil {
		return nil, err
	}
	device, err := deviceOf(g.config.DNS.DeviceKey)
	if err != nil {
		return nil, err
	}
	return dnsfilter.New(settings, dnsfilter.Dependencies{
		Decider:  g.engine,
		Prepare:  g.engine.Prepare,
		Identify: g.identifyPeer,
		Device:   device,
		Record:   g.audit.Record,
		Sockets: dnsfilter.Sockets{
			TCP:  g.deps.Sockets.Listen,
			UDP:  g.deps.Sockets.ListenPackets,
			QUIC: g.deps.Sockets.ListenAlone,

			ResetKey: g.deps.Sockets.Secret(),
		},
		Registerer: g.registry,
		Log:        g.deps.Log.Named("dns"),
		Now:        g.deps.Now,
	})
}

// dnsSettings are the DNS door's settings as sallyport.yaml has them.
func (g *Gateway) dnsSettings() (dnsfilter.Config, error) {
	c := g.config.DNS
	strip, err := dnsfilter.ParseStripMode(c.StripECH)
	if err != nil {
		return dnsfilter.Config{}, fmt.Errorf("dns.strip_ech: %w", err)
	}
	forward := make(map[string][]string, len(c.Forward))
	for _, zone := range c.Forward {
		forward[zone.Name] = zone.Servers
	}
	return dnsfilter.Config{
		Listen:           c.Listen,
		TLS:              endpointOf(c.TLS),
		HTTPS:            endpointOf(c.HTTPS),
		QUIC:             endpointOf(c.QUIC),
		HTTPSPath:        c.HTTPSPath,
		HTTP3:            c.HTTP3,
		ProxyFrom:        c.ProxyFrom,
		SubnetFrom:       c.SubnetFrom,
		Clients:          c.Clients,
		Upstreams:        g.upstreams(resolvConf),
		Strategy:         c.Strategy,
		Bootstrap:        c.Bootstrap,
		UpstreamCA:       c.UpstreamCA,
		TrustAD:          c.TrustAD,
		Forward:          forward,
		Hosts:            c.Hosts,
		Records:          c.Records,
		DesignatedName:   c.Designated.Name,
		DesignatedAddrs:  c.Designated.Addrs,
		StripECH:         strip,
		Answer:           c.Answer,
		TTL:              c.TTL,
		PageAddrs:        pageAddresses(g.config.Portal, net.InterfaceAddrs),
		CacheBytes:       c.CacheBytes,
		ServeStale:       c.ServeStale,
		Prefetch:         c.Prefetch,
		MinTTL:           c.MinTTL,
		MaxTTL:           c.MaxTTL,
		MaxNegativeTTL:   c.MaxNegativeTTL,
		CookieSecretFile: c.CookieSecret,
		RequireCookies:   c.RequireCookies,
		Rate:             c.Rate,
		Burst:            c.Burst,
		RateExempt:       c.RateExempt,
		UpstreamTimeout:  c.UpstreamTimeout,
		QueryTimeout:     c.QueryTimeout,
		MaxQueries:       c.MaxQueries,
		MaxConns:         c.MaxConns,
		MaxClientConns:   c.MaxClientConns,
	}, nil
}

func endpointOf(c EndpointConfig) dnsfilter.Endpoint {
	return dnsfilter.Endpoint{Listen: c.Listen, Certificate: c.Certificate, Key: c.Key, ClientCA: c.ClientCA}
}

// identifyPeer is who is at an address and has proven to be peer, if anything.
func (g *Gateway) identifyPeer(addr netip.Addr, peer *dnsfilter.Peer) policy.Subject {
	if peer == nil {
		return g.identity.ByAddr(addr)
	}
	return g.identity.ByPeer(addr, identity.Peer{User: peer.User, Devices: peer.Devices, Source: peer.Source})
}

// deviceOf makes the func that tells whose device path an id is, with the keys
// in a file; nil where there is no file, and every id is unknown.
func deviceOf(file string) (func(id string) (*dnsfilter.Peer, bool), error) {
	if file == "" {
		return nil, nil
	}
	keys, err := identity.LoadDeviceKeys(file)
	if err != nil {
		return nil, fmt.Errorf("dns.https.device_key: %w", err)
	}
	return func(id string) (*dnsfilter.Peer, bool) {
		device, ok := keys.Verify(id)
		if !ok {
			return nil, false
		}
		return &dnsfilter.Peer{Devices: []string{device}, Source: identity.SourcePath}, true
	}, nil
}
