package gateway

import (
	"net"
	"net/netip"

	"github.com/sallyport/sallyport/strictyaml"
)

// Settings of the DNS door that are allowed, and that an administrator who
// writes them seldom means: each is a warning, with what to write instead.

// clients reads who may ask.
func (f *configFile) clients(v strictyaml.Value) {
	d := &f.config.DNS
	prefixes(&d.Clients)(v)
	f.later = append(f.later, func() {
		reached, ok := reachedByOthers(d.Listen)
		if !ok || d.RequireCookies {
			return
		}
		for _, p := range d.Clients {
			if p.Bits() == 0 {
				v.Warnf("%q holds %s, and dns.listen %s is reached from other machines: that is an open resolver, which strangers can use to flood others; write your own networks, or set dns.cookies.require to true",
					v.Name(), p, reached)
				return
			}
		}
	})
}

// reachedByOthers is the first address that not only this machine reaches.
func reachedByOthers(listen []string) (address string, ok bool) {
	for _, address := range listen {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			continue // which was said already
		}
		addr, err := netip.ParseAddr(host)
		if err != nil || !addr.Unmap().IsLoopback() { // no host is every address
			return address, true
		}
	}
	return "", false
}

// timeouts reads how long upstreams may take.
func (f *configFile) timeouts(read func(strictyaml.Value)) func(strictyaml.Value) {
	d := &f.config.DNS
	return func(v strictyaml.Value) {
		read(v)
		if d.UpstreamTimeout > d.QueryTimeout {
			v.Warnf("dns.timeouts.upstream %v is more than dns.timeouts.query %v, which ends the query first: no second upstream is asked after one that is silent; let query be a few times upstream",
				d.UpstreamTimeout, d.QueryTimeout)
		}
	}
}
