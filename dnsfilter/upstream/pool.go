package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// Answer is what an upstream said.
type Answer struct {
	// Msg is the response, NOERROR or NXDOMAIN, to exactly the question that was
	// asked. The question's name is in lower case, and so is every owner of an
	// answer that equals it. Nobody else holds it.
	Msg *dns.Msg

	// Trusted says that Msg.AuthenticatedData may be believed: the resolver is
	// on this machine, proved its name, or is listed in Config.TrustAD.
	Trusted bool

	Upstream string // the resolver's name, as in Names
}

// Pool is a set of resolvers to ask. Safe for concurrent use.
type Pool struct {
	config    Config
	deps      Dependencies
	resolvers []*resolver // all of them, in the order of their first mention
	byName    map[string]*resolver
	root      *group
	zones     map[string]*group // by lower-case wire name
	own       ownListeners
	names     *bootstrap // nil: no resolver is named

	calls    calls
	crew     crew
	ctx      context.Context // ends with the Pool
	cancel   context.CancelFunc
	inFlight atomic.Int64
}

// New reads the settings and returns a Pool, or every problem with them at
// once. It opens no socket: that is left to the first query. Whoever calls New
// closes the Pool.
func New(c Config, d Dependencies) (*Pool, error) {
	p := &Pool{
		config: c.withDefaults(), deps: d.withDefaults(),
		byName: make(map[string]*resolver), zones: make(map[string]*group),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	problems := []error{p.config.check()}
	authorities, err := readAuthorities(p.config.CA)
	problems = append(problems, err)

	b := builder{pool: p, authorities: authorities, watch: &watch{try: p.config.Try, deps: p.deps}}
	if len(p.config.Bootstrap) > 0 {
		servers, err := b.group(p.config.Bootstrap, Failover)
		problems = append(problems, err, onlyPlain(servers))
		p.names = newBootstrap(servers, p)
	}
	if len(p.config.Servers) == 0 {
		problems = append(problems, errors.New("no upstream resolver: name at least one, such as udp://192.0.2.1:53"))
	}
	p.root, err = b.group(p.config.Servers, p.config.Strategy)
	problems = append(problems, err, b.zones(p.config.Forward), p.believe(p.config.TrustAD))
	if err := errors.Join(problems...); err != nil {
		p.cancel()
		return nil, err
	}
	return p, nil
}

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

func onlyPlain(g *group) error {
	if g == nil {
		return nil
	}
	var problems []error
	for _, r := range g.resolvers {
		if r.server.host != "" || r.server.encrypted() {
			problems = append(problems, fmt.Errorf("bootstrap %q: use an address, with udp:// or tcp://", r.server.name))
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
	g := &group{strategy: s, total: b.pool.config.Total, now: b.pool.deps.Now, crew: &b.pool.crew, asides: b.pool.ctx}
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

// groupOf returns the resolvers for a name: those of the longest zone that it
// is in.
func (p *Pool) groupOf(name string) *group {
	if len(p.zones) == 0 {
		return p.root
	}
	for at := 0; at < len(name) && name[at] != 0; at += 1 + int(name[at]) {
		if g := p.zones[name[at:]]; g != nil {
			return g
		}
	}
	return p.root
}

// Names are the resolvers' names, as given to Observe and State and in
// Answer.Upstream: bootstrap resolvers first, none twice. A name is the
// server's in one form, with its port.
func (p *Pool) Names() []string {
	names := make([]string, len(p.resolvers))
	for i, r := range p.resolvers {
		names[i] = r.server.name
	}
	return names
}

// Ask asks the resolvers that know q.Name until one gives a usable answer:
// each gets Config.Try, all together Config.Total, and one that answers with an
// error code or with garbage is passed over for the next. It returns when ctx
// ends, if not before. Its error is an *Error, ErrBusy or ErrClosed. Safe for
// concurrent use.
func (p *Pool) Ask(ctx context.Context, q Query) (Answer, error) {
	if !wellFormed(q.Name) {
		return Answer{}, fmt.Errorf("ask upstream: %q is no lower-case name in wire form", q.Name)
	}
	if !p.crew.enter() {
		return Answer{}, ErrClosed
	}
	defer p.crew.leave()
	defer p.inFlight.Add(-1)
	if p.inFlight.Add(1) > int64(p.config.MaxInFlight) {
		return Answer{}, ErrBusy
	}
	return p.groupOf(q.Name).ask(ctx, q)
}

// wellFormed reports whether name is one in lower-case wire form.
func wellFormed(name string) bool {
	for i := range len(name) {
		if 'A' <= name[i] && name[i] <= 'Z' {
			return false
		}
	}
	at := 0
	for at < len(name) && name[at] != 0 && name[at] <= dnswire.MaxLabelBytes {
		at += 1 + int(name[at])
	}
	return at == len(name)-1 && name[at] == 0 && len(name) <= dnswire.MaxNameBytes
}

// Close ends every query under way, closes every connection, and waits for all
// goroutines. A second Close does nothing.
func (p *Pool) Close() error {
	if !p.crew.dismiss() {
		p.crew.wait()
		return nil
	}
	p.cancel()
	for _, r := range p.resolvers {
		r.transport.hangUp()
	}
	p.crew.wait()
	for _, r := range p.resolvers {
		r.transport.cleanUp()
	}
	return nil
}
