package gateway

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/dnsfilter/localdata"
	"github.com/sallyport/sallyport/dnsfilter/upstream"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/strictyaml"
)

// Where names are resolved. What a resolver or a record looks like is the DNS
// door's to say: its own readers are asked here, so that what check takes
// serve takes too, and each mistake is shown at its place.

// someUpstream stands where a reader wants a resolver and it is not about one.
const someUpstream = "192.0.2.1"

// placed is a line of the file that is judged when the rest is known.
type placed struct {
	text string
	at   strictyaml.Value
}

// lines reads a list of lines with their places.
func lines(v strictyaml.Value) []placed {
	all := []placed{}
	v.Items(func(item strictyaml.Value) {
		if text, ok := item.Line(); ok {
			all = append(all, placed{text, item})
		}
	})
	return all
}

func (f *configFile) bootstrap(v strictyaml.Value) {
	for _, server := range lines(v) {
		if !server.wrong(upstream.Config{Servers: []string{someUpstream}, Bootstrap: []string{server.text}}) {
			f.config.DNS.Bootstrap = append(f.config.DNS.Bootstrap, server.text)
		}
	}
}

func (f *configFile) upstreams(v strictyaml.Value) {
	all := lines(v)
	f.later = append(f.later, func() { f.config.DNS.Upstreams = f.servers(v, all) })
}

// servers are those of a list that the DNS door would take.
func (f *configFile) servers(list strictyaml.Value, all []placed) []string {
	var good []string
	for _, server := range all {
		c := upstream.Config{Servers: []string{server.text}, Bootstrap: f.config.DNS.Bootstrap}
		if !server.wrong(c) && !server.isSelf(c, f.config.DNS.sockets()) {
			good = append(good, server.text)
		}
	}
	if len(good) > 0 {
		placed{at: list}.wrong(upstream.Config{Servers: good, Bootstrap: f.config.DNS.Bootstrap})
	}
	return good
}

// forward reads zones with resolvers of their own.
func (f *configFile) forward(v strictyaml.Value) {
	v.Entries(func(key, value strictyaml.Value) {
		text, ok := key.Line()
		if !ok {
			return
		}
		if text == "." {
			key.Errorf("zone %q is every name: write its resolvers in dns.upstreams", text)
			return
		}
		host, err := policy.ParseHost(text)
		if err != nil || host.IsAddr() {
			key.Errorf("%q is not a zone: write a DNS name such as corp.example or 10.in-addr.arpa", text)
			return
		}
		same := func(z ForwardZone) bool { return z.Name == host.Name() }
		if slices.ContainsFunc(f.config.DNS.Forward, same) {
			key.Errorf("zone %q is written twice", host.Name())
			return
		}
		if _, err := localdata.New(localdata.Config{Forwarded: []string{host.Name()}}); err != nil {
			key.Errorf("%s; take the line out", err)
			return
		}
		all := lines(value)
		if value.IsList() && value.Len() == 0 {
			value.Errorf("zone %q has no resolver, and no name in it could be looked up: write one such as 10.0.0.53", host.Name())
		}
		place := len(f.config.DNS.Forward)
		f.config.DNS.Forward = append(f.config.DNS.Forward, ForwardZone{Name: host.Name()})
		f.later = append(f.later, func() { f.config.DNS.Forward[place].Servers = f.servers(value, all) })
	})
}

// trustAD reads which of the upstreams are believed.
func (f *configFile) trustAD(v strictyaml.Value) {
	all := lines(v)
	f.atLast = append(f.atLast, func() {
		d := &f.config.DNS
		known := upstream.Config{Servers: d.Upstreams, Bootstrap: d.Bootstrap}
		if len(known.Servers) == 0 {
			known.Servers = []string{someUpstream}
		}
		for _, zone := range d.Forward {
			known.Servers = append(slices.Clip(known.Servers), zone.Servers...)
		}
		for _, server := range all {
			known.TrustAD = []string{server.text}
			if !server.wrong(known) {
				d.TrustAD = append(d.TrustAD, server.text)
			}
		}
	})
}

// wrong says what the DNS door has against a line, at its place.
func (p placed) wrong(c upstream.Config) bool {
	pool, err := upstream.New(c, upstream.Dependencies{})
	for _, one := range each(err) {
		p.at.Errorf("%s", one)
	}
	if err == nil {
		err = pool.Close() // it has opened nothing yet
	}
	return err != nil
}

// isSelf says that a line names one of the door's own listeners, at its place.
func (p placed) isSelf(c upstream.Config, own []netip.AddrPort) bool {
	pool, err := upstream.New(c, upstream.Dependencies{})
	if err != nil {
		return false // which was said already
	}
	err = pool.RefuseSelf(own)
	for _, one := range each(err) {
		p.at.Errorf("%s", one)
	}
	_ = pool.Close() // it has opened nothing
	return err != nil
}

// sockets are where the door will listen, as far as the file tells: a port 0
// is any that is free.
func (d *DNSConfig) sockets() []netip.AddrPort {
	var all []netip.AddrPort
	for _, address := range slices.Concat(d.Listen, d.TLS.Listen, d.HTTPS.Listen, d.QUIC.Listen) {
		if strings.HasPrefix(address, ":") {
			address = "[::]" + address // every address, of both families
		}
		at, err := netip.ParseAddrPort(address)
		if err == nil && at.Port() != 0 {
			all = append(all, at)
		}
	}
	return all
}

// records reads local records, and has them judged together.
func (f *configFile) records(v strictyaml.Value) {
	all := lines(v)
	for _, r := range all {
		f.config.DNS.Records = append(f.config.DNS.Records, r.text)
	}
	_, err := localdata.New(localdata.Config{Records: f.config.DNS.Records})
	for _, one := range each(err) {
		var record *localdata.RecordError
		if errors.As(one, &record) {
			all[record.Index].at.Errorf("record %q: %s", record.Text, record.Err)
		} else {
			v.Errorf("%s", one)
		}
	}
}

// each takes joined errors apart.
func each(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, each(one)...)
	}
	return all
}
