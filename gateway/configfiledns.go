package gateway

import (
	"maps"
	"path"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/strictyaml"
)

// dns reads the DNS door's section.
func (f *configFile) dns(v strictyaml.Value) {
	d := &f.config.DNS
	section("dns", fields{
		"listen": f.listens("dns.listen", &d.Listen),
		"tls":    f.endpoint("dns.tls", &d.TLS, nil),
		"https": f.endpoint("dns.https", &d.HTTPS, fields{
			"path":       urlPath(&d.HTTPSPath),
			"http3":      f.http3,
			"device_key": f.named("dns.https.device_key", f.optionalFile(&d.DeviceKey)),
		}),
		"quic":       f.endpoint("dns.quic", &d.QUIC, nil),
		"designated": f.designated,

		"clients":        f.clients,
		"proxy_protocol": believedFrom(&d.ProxyFrom),
		"client_subnet":  believedFrom(&d.SubnetFrom),

		"upstreams":   f.upstreams,
		"strategy":    oneOf(&d.Strategy, "failover", "fastest", "parallel"),
		"bootstrap":   f.bootstrap,
		"upstream_ca": f.named("dns.upstream_ca", f.optionalFile(&d.UpstreamCA)),
		"trust_ad":    f.trustAD,
		"forward":     f.forward,

		"hosts":     f.hosts,
		"records":   f.records,
		"strip_ech": oneOf(&d.StripECH, "judged", "all", "never"),

		"block": section("dns.block", fields{"answer": f.blockAnswer, "ttl": duration(&d.TTL, 0, 24*time.Hour)}),
		"cache": f.cache,
		"cookies": section("dns.cookies", fields{
			"secret":  f.named("dns.cookies.secret", f.optionalFile(&d.CookieSecret)),
			"require": boolean(&d.RequireCookies),
		}),
		"timeouts": f.timeouts(section("dns.timeouts", fields{
			"upstream": duration(&d.UpstreamTimeout, 50*time.Millisecond, 30*time.Second),
			"query":    duration(&d.QueryTimeout, 100*time.Millisecond, time.Minute),
		})),
		"limits": section("dns.limits", fields{
			"queries":            number(&d.MaxQueries, 1, 1<<20),
			"tcp_connections":    number(&d.MaxConns, 1, 1<<20),
			"client_connections": number(&d.MaxClientConns, 0, 1<<20),
			"rate":               number(&d.Rate, 0, 10_000_000),
			"burst":              number(&d.Burst, 0, 10_000_000),
			"rate_exempt":        prefixes(&d.RateExempt),
		}),
	})(v)
}

func (f *configFile) blockAnswer(v strictyaml.Value) {
	f.at["dns.block.answer"] = v.Position()
	answerMode(&f.config.DNS.Answer)(v)
}

// endpoint reads an encrypted listener, and what else its section may hold.
func (f *configFile) endpoint(noun string, into *EndpointConfig, more fields) func(strictyaml.Value) {
	all := fields{
		"listen":      f.optionalListens(noun+".listen", &into.Listen),
		"certificate": f.named(noun+".certificate", f.optionalFile(&into.Certificate)),
		"key":         f.named(noun+".key", f.optionalFile(&into.Key)),
		"client_ca":   f.named(noun+".client_ca", f.optionalFile(&into.ClientCA)),
	}
	maps.Copy(all, more)
	return func(v strictyaml.Value) {
		before := len(*f.problems)
		section(noun, all)(v)
		switch {
		case len(into.Listen) > 0 && into.Certificate == "" && into.Key == "":
			v.Errorf("%s listens without a certificate: name the files of one in certificate and key, or leave listen empty", noun)
		case into.Certificate != "" && into.Key == "":
			v.Errorf("%s has a certificate without its key: name the key's file too", noun)
		case into.Certificate == "" && into.Key != "":
			v.Errorf("%s has a key without its certificate: name the certificate's file too", noun)
		case into.Certificate != "" && len(into.Listen) == 0 && len(*f.problems) == before:
			v.Warnf("%s has a certificate, and is off, since it listens nowhere: write an address in listen, or take the certificate out", noun)
		}
	}
}

func (f *configFile) http3(v strictyaml.Value) {
	d := &f.config.DNS
	boolean(&d.HTTP3)(v)
	f.later = append(f.later, func() {
		if d.HTTP3 && len(d.HTTPS.Listen) == 0 {
			v.Errorf("dns.https.http3 takes the ports of dns.https.listen, and there are none: fill listen, or turn it off")
		}
	})
}

// designated reads what clients that look for encrypted listeners are told.
func (f *configFile) designated(v strictyaml.Value) {
	d := &f.config.DNS
	section("dns.designated", fields{
		"name":      optionalName(&d.Designated.Name),
		"addresses": addresses(&d.Designated.Addrs),
	})(v)
	if d.Designated.Name == "" && len(d.Designated.Addrs) > 0 {
		v.Errorf("dns.designated has addresses without a name: write the name that the certificates are for")
	}
	f.at["dns.designated"] = v.Position()
	f.later = append(f.later, func() {
		if d.Designated.Name != "" && len(d.TLS.Listen)+len(d.HTTPS.Listen)+len(d.QUIC.Listen) == 0 {
			v.Warnf("dns.designated names %q, and there is no encrypted listener: fill dns.tls, dns.https or dns.quic", d.Designated.Name)
		}
	})
}

func (f *configFile) cache(v strictyaml.Value) {
	d := &f.config.DNS
	section("dns.cache", fields{
		"size":             size(&d.CacheBytes, 0, 64<<30),
		"serve_stale":      duration(&d.ServeStale, 0, 7*24*time.Hour),
		"min_ttl":          duration(&d.MinTTL, 0, 24*time.Hour),
		"max_ttl":          duration(&d.MaxTTL, time.Second, 24*time.Hour),
		"max_negative_ttl": duration(&d.MaxNegativeTTL, time.Second, 24*time.Hour),
		"prefetch":         boolean(&d.Prefetch),
	})(v)
	if d.MinTTL > d.MaxTTL {
		v.Errorf("min_ttl %v is more than max_ttl %v: an answer cannot be kept for at least the one and at most the other", d.MinTTL, d.MaxTTL)
	}
}

// hosts reads the paths of hosts files.
func (f *configFile) hosts(v strictyaml.Value) {
	v.Items(func(item strictyaml.Value) {
		if text, ok := item.Line(); ok {
			path := f.resolve(text)
			f.config.DNS.Hosts = append(f.config.DNS.Hosts, path)
			f.hostsAt = append(f.hostsAt, item.Position())
		}
	})
}

// urlPath reads the path of a URL in which nothing need be escaped.
func urlPath(into *string) func(strictyaml.Value) {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/-._~", r)
	}
	return func(v strictyaml.Value) {
		text, ok := v.Line()
		if !ok {
			return
		}
		if len(text) < 2 || len(text) > 256 || text[0] != '/' || path.Clean(text) != text || strings.ContainsFunc(text, odd) {
			v.Errorf("%q is not a path that clients can be given: write one such as /dns-query, with letters, digits, hyphens, dots and underscores", text)
			return
		}
		*into = text
	}
}

// optionalName reads a DNS name, or nothing.
func optionalName(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		text, ok := v.OptionalLine()
		if !ok || text == "" {
			return
		}
		host, err := policy.ParseHost(text)
		if err != nil || host.IsAddr() {
			v.Errorf("%q is not a name: write the DNS name that the certificates are for", text)
			return
		}
		*into = host.Name()
	}
}
