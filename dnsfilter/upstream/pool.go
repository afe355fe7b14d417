package upstream

import (
	"context"
	"errors"
	"fmt"
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
	p.crew.alarm = &alarm{log: p.deps.Log, now: p.deps.Now}
	problems := []error{p.config.check()}
	authorities, err := readAuthorities(p.config.CA)
	problems = append(problems, err)

	b := builder{pool: p, authorities: authorities, watch: &watch{try: p.config.Try, deps: p.deps, ctx: p.ctx, alarm: p.crew.alarm}}
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
	answer, err := p.groupOf(q.Name).ask(ctx, q)
	if err != nil && p.ctx.Err() != nil {
		return Answer{}, ErrClosed
	}
	return answer, err
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
