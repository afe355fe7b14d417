package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// readAuthorities reads the PEM file that certificates are verified with; nil:
// the system's authorities.
func readAuthorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the authorities of upstream certificates: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q holds no certificate: use a PEM file of authorities", path)
	}
	return authorities, nil
}

// onlyPlain refuses bootstrap resolvers that would have to prove a name: they
// are there to find names.
func onlyPlain(g *group) error {
	var problems []error
	for _, r := range g.resolvers {
		if r.server.encrypted() {
			problems = append(problems, fmt.Errorf("bootstrap %q: use udp:// or tcp://", r.server.name))
		}
	}
	return errors.Join(problems...)
}

// believe marks the resolvers whose AD counts though nothing proves it.
func (p *Pool) believe(names []string) error {
	var problems []error
	for _, s := range names {
		parsed, err := parseServer(s)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		r := p.byName[parsed.name]
		if r == nil {
			problems = append(problems, fmt.Errorf("trusted upstream %q is none of the upstreams: write it as it is there", s))
			continue
		}
		r.trusted = true
	}
	return errors.Join(problems...)
}

// builder turns settings into resolvers.
type builder struct {
	pool        *Pool
	authorities *x509.CertPool
	watch       *watch
}

// group reads a list of servers. One that was mentioned before is shared, with
// its connections and its health.
func (b *builder) group(servers []string, s Strategy) (*group, error) {
	g := &group{strategy: s, total: b.pool.config.Total, now: b.pool.deps.Now, crew: &b.pool.crew, pool: b.pool.ctx}
	var problems []error
	for _, text := range servers {
		r, err := b.resolver(text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if !slices.Contains(g.resolvers, r) {
			g.resolvers = append(g.resolvers, r)
		}
	}
	if len(servers) > maxServers {
		problems = append(problems, fmt.Errorf("%d upstreams: at most %d are asked for one name", len(servers), maxServers))
	}
	return g, errors.Join(problems...)
}

func (b *builder) resolver(text string) (*resolver, error) {
	s, err := parseServer(text)
	if err != nil {
		return nil, err
	}
	if known := b.pool.byName[s.name]; known != nil {
		return known, nil
	}
	if s.host != "" && b.pool.names == nil {
		return nil, fmt.Errorf("upstream %q: its name cannot be looked up without bootstrap resolvers: name one by its address, or write this one's address", text)
	}
	r := &resolver{
		server: s, watch: b.watch, transport: b.transport(s),
		trusted: s.encrypted() || s.addr.IsLoopback(),
	}
	b.pool.byName[s.name] = r
	b.pool.resolvers = append(b.pool.resolvers, r)
	return r, nil
}

func (b *builder) transport(s server) transport {
	p := b.pool
	to := &endpoint{server: s, names: p.names, own: &p.own}
	overTCP := &streams{to: to, crew: &p.crew, calls: &p.calls, ctx: p.ctx, now: p.deps.Now}
	switch s.scheme {
	case "tcp":
		return overTCP
	case "tls":
		overTCP.secure = b.secure(s, tls.VersionTLS12)
		return overTCP
	case "https":
		return newResource(to, b.secure(s, tls.VersionTLS12), p)
	case "quic":
		return &sessionQUIC{to: to, secure: b.secure(s, tls.VersionTLS13, protocolQUIC), crew: &p.crew, calls: &p.calls, ctx: p.ctx}
	default:
		return &datagrams{
			to: to, over: overTCP, crew: &p.crew, calls: &p.calls,
			life: socketLife, now: p.deps.Now, open: make(map[*socket]struct{}),
		}
	}
}

// sessions is how many TLS sessions are kept for one server to resume: one for
// each connection.
const sessions = maxStreams

// secure is how a server proves who it is (RFC 8310 §8.1): by a certificate
// for its name or address. There is no opportunistic mode.
func (b *builder) secure(s server, version uint16, protocols ...string) *tls.Config {
	return &tls.Config{
		ServerName: s.verify, RootCAs: b.authorities, MinVersion: version, NextProtos: protocols,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
}

// zones reads the zones with servers of their own.
func (b *builder) zones(zones []Zone) error {
	var problems []error
	for _, z := range zones {
		name, err := dnswire.WireName(z.Name)
		if err != nil || name == "\x00" {
			problems = append(problems, fmt.Errorf("forward zone %q: use a domain such as corp.example or 10.in-addr.arpa", z.Name))
			continue
		}
		if b.pool.zones[name] != nil {
			problems = append(problems, fmt.Errorf("forward zone %q is there twice: name all its upstreams in one", z.Name))
			continue
		}
		if len(z.Servers) == 0 {
			problems = append(problems, fmt.Errorf("forward zone %q has no upstream resolver: name at least one", z.Name))
			continue
		}
		g, err := b.group(z.Servers, b.pool.config.Strategy)
		problems = append(problems, err)
		b.pool.zones[name] = g
	}
	return errors.Join(problems...)
}
