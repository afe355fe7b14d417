package dnsfilter

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/dnsfilter/localdata"
)

// localData are the settings of what the door knows itself.
func (c *Config) localData() localdata.Config {
	d := localdata.Config{
		Records:          c.Records,
		Hosts:            c.Hosts,
		Designated:       c.designated(),
		PrivateUpstreams: slices.ContainsFunc(c.Upstreams, isPrivate),
	}
	for name := range c.Forward {
		d.Forwarded = append(d.Forwarded, name)
	}
	slices.Sort(d.Forwarded)
	return d
}

// isPrivate reports whether an upstream is given by an address of this network:
// it then knows this network's own zones. One on loopback may be a forwarder to
// anywhere, and is taken to be one of ours too.
func isPrivate(server string) bool {
	if _, rest, found := strings.Cut(server, "://"); found {
		server = rest
	}
	server, _, _ = strings.Cut(server, "#")
	server, _, _ = strings.Cut(server, "/")
	addr, err := netip.ParseAddr(strings.Trim(server, "[]"))
	if err != nil {
		at, err := netip.ParseAddrPort(server)
		if err != nil {
			return false
		}
		addr = at.Addr()
	}
	addr = addr.Unmap()
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()
}

// designated are the encrypted listeners that clients may be told of (RFC
// 9462), the one first that tells nobody on the way what it is.
func (c *Config) designated() localdata.Designated {
	d := localdata.Designated{Name: c.DesignatedName, Addrs: c.DesignatedAddrs}
	if d.Name == "" {
		return d
	}
	add := func(e Endpoint, transport string) {
		for _, port := range ports(e.Listen) {
			one := localdata.Endpoint{Transport: transport, Port: port}
			if transport == localdata.TransportHTTPS {
				one.Path, one.HTTP3 = c.HTTPSPath, c.HTTP3
			}
			d.Endpoints = append(d.Endpoints, one)
		}
	}
	add(c.HTTPS, localdata.TransportHTTPS)
	add(c.TLS, localdata.TransportTLS)
	add(c.QUIC, localdata.TransportQUIC)
	return d
}

// ports are the ports of listen addresses, each once. One that the kernel
// chooses is not known, and so not told.
func ports(listen []string) []uint16 {
	var all []uint16
	for _, address := range listen {
		_, text, err := net.SplitHostPort(address)
		if err != nil {
			continue
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err == nil && port != 0 && !slices.Contains(all, uint16(port)) {
			all = append(all, uint16(port))
		}
	}
	return all
}
