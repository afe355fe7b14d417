package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/authority"
	"github.com/sallyport/sallyport/dnsfilter"
	"github.com/sallyport/sallyport/handover"
	"github.com/sallyport/sallyport/identity"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/privacy"
	"github.com/sallyport/sallyport/proxy"
)

// Build says what is running.
type Build struct {
	Version string
	Commit  string // of the source
	Go      string // version; empty: this program's
}

// Dependencies is what a Gateway needs of its process. The zero value works.
type Dependencies struct {
	Log    *zap.Logger      // nil: silent
	Stdout io.Writer        // addresses, "ready", and the decision log where it has no file; nil: os.Stdout
	Hangup <-chan os.Signal // SIGHUP: reload, and open the logs' files again; nil: none
	Now    func() time.Time // what decisions take for the time; nil: time.Now
	Build  Build

	// Sockets is where listeners get their sockets from, and whom they are
	// handed on by; nil: every socket is opened anew.
	Sockets *handover.Sockets

	// Reloading is called when SIGHUP is about to be dealt with, and again when
	// it has been. nil: nobody is told.
	Reloading func(begun bool)

	// Interrupt ends, when it is closed, what New waits for: lists by URL that
	// are fetched for the first time. nil: New waits for as long as that may take.
	Interrupt <-chan struct{}

	// Settle is called, by one goroutine at a time, once a policy is in force
	// whose lists took memory to read: a process may give back what deciding
	// does not need. nil: nothing is done.
	Settle func()
}

// Address is one bound listener.
type Address struct {
	Name string // what listens, "dns udp"
	Addr string // host:port
}

// Gateway is one running sallyport: both doors, one engine, the console, and
// the goroutines that keep the policy current. Its methods are safe for
// concurrent use; Start and Shutdown are called once each.
type Gateway struct {
	config   *Config
	deps     Dependencies
	registry *prometheus.Registry
	metrics  *metrics
	engine   *policy.Engine
	audit    *audit.Log
	access   accessLogs
	mask     *privacy.Mask
	identity *identity.Resolver
	dns      *dnsfilter.Server
	proxy    *proxy.Server
	admin    *webServer // nil: off
	portal   *webServer // nil: off
	watched  *configWatch
	users    *usersFile
	lists    *listFetcher
	reloader *reloader
	edges    *edges
	coach    *coach // nil: nobody can continue past a warning

	state         atomic.Pointer[policyState]
	restartNeeded atomic.Bool
	stopping      atomic.Bool
	bound         atomic.Pointer[[]Address]
	self          atomic.Pointer[[]netip.AddrPort]
	links         atomic.Pointer[string] // portalBase, once it is known
	started       time.Time
	lookups       chan struct{} // a place for each that the portal has under way

	authority *authority.Authority // nil: refusals are not shown over HTTPS

	stop    context.CancelFunc // of the goroutines below
	running sync.WaitGroup
}

// PolicyError is why a policy cannot be put in force.
type PolicyError struct{ Problems policy.Problems }

// Error lists every problem, one a line, each with its place.
func (e *PolicyError) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	lines = append(lines, "the policy cannot be loaded, and without one the gateway does not start:")
	for _, p := range e.Problems {
		if p.Severity == policy.SeverityError {
			lines = append(lines, p.String())
		}
	}
	return strings.Join(lines, "\n")
}

// New assembles a gateway and loads its policy; it binds nothing yet. A policy
// that cannot be put in force is a *PolicyError: without a good policy there is
// no gateway. Lists by URL that were never fetched are fetched here, which may
// take minutes where much comes, and half a minute where nothing does. The caller calls Shutdown, whether or not it called Start.
func New(config *Config, deps Dependencies) (*Gateway, error) {
	deps = deps.withDefaults()
	source, err := newPolicySource(config.Policy, config.stateFolder(), deps.Log.Named("lists"))
	if err != nil {
		return nil, err
	}
	source.named = config.policyPlace()
	source.warnings = config.policyWarnings
	g := &Gateway{
		config:   config,
		deps:     deps,
		registry: prometheus.NewRegistry(),
		started:  deps.Now(),
		lookups:  make(chan struct{}, refusalLookups),
	}
	g.metrics = newMetrics(g.registry, deps.Build)
	registerUpgrades(g.registry, deps.Sockets)
	g.newLists(source)
	loaded, err := g.firstPolicy(source)
	if err != nil {
		return nil, err
	}
	g.engine = policy.NewEngine(loaded.Program)
	g.state.Store(&policyState{inForce: loaded})
	g.bound.Store(&[]Address{})
	g.self.Store(&[]netip.AddrPort{})
	g.identity = identity.New(identity.Config{Remember: config.Users.Remember}, g.engine)
	g.users = &usersFile{
		path:    config.Proxy.UsersFile,
		config:  config.Path,
		set:     g.identity.SetUsers,
		recheck: g.recheck,
		log:     deps.Log.Named("users"),
	}
	if problems := g.users.load(); problems.HasErrors() {
		return nil, problems.Err()
	}
	if g.mask, err = g.newMask(); err != nil {
		return nil, err
	}
	if g.audit, err = g.newAudit(); err != nil {
		return nil, err
	}
	if g.access, err = g.newAccessLogs(); err != nil {
		return nil, errors.Join(err, g.audit.Close())
	}
	if g.coach, err = g.newCoach(); err == nil {
		err = g.newDoors()
	}
	if err != nil {
		return nil, errors.Join(err, g.audit.Close(), g.access.close())
	}
	g.newConsole()
	g.watched = newConfigWatch(config.Path, deps.Log, g.configChanged)
	g.edges = newEdges(deps.Now, g.nextEdge, func(reason string) { g.recheck(reason) })
	g.reloader = newReloader(reloadConfig{poll: config.Reload.Poll}, g.reloadDeps(source), loaded)
	g.metrics.good(loaded.Program.Revision(), loaded.modified, deps.Now())
	g.registry.MustRegister(newPolicyCollector(config.Policy, g.engine.Program, deps.Now), newSourceCollector(g.identitySources))
	return g, nil
}

func (d Dependencies) withDefaults() Dependencies {
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	if d.Stdout == nil {
		d.Stdout = os.Stdout
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Settle == nil {
		d.Settle = func() {}
	}
	if d.Reloading == nil {
		d.Reloading = func(bool) {}
	}
	if d.Build.Go == "" {
		d.Build.Go = runtime.Version()
	}
	// The decision log and Start write to the same place.
	d.Stdout = &lockedWriter{to: d.Stdout}
	return d
}

// lockedWriter lets two writers share one destination, a Write at a time.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

func (g *Gateway) newAudit() (*audit.Log, error) {
	allows, err := audit.ParseExtent(g.config.Audit.Allows)
	if err != nil {
		return nil, fmt.Errorf("audit.allows: %w", err)
	}
	refusals, err := audit.ParseExtent(g.config.Audit.Refusals)
	if err != nil {
		return nil, fmt.Errorf("audit.refusals: %w", err)
	}
	log, err := audit.New(audit.Config{
		File:   g.config.Audit.File,
		Tenant: g.config.Tenant,
		Allows: allows, Refusals: refusals,
	}, audit.Dependencies{
		Registerer: g.registry,
		Log:        g.deps.Log.Named("audit"),
		Now:        g.deps.Now,
		Stdout:     g.deps.Stdout,
		Mask:       g.mask,
	})
	if err != nil {
		return nil, auditError(err)
	}
	return log, nil
}

// auditError adds what the administrator can do where the file is what failed.
func auditError(err error) error {
	var file *fs.PathError
	switch {
	case !errors.As(err, &file):
		return fmt.Errorf("start the decision log: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("audit.file: %w: make the folder, writable for the user that the gateway runs as, or name another file", err)
	default:
		return fmt.Errorf("audit.file: %w: make the folder writable for the user that the gateway runs as, or name another file", err)
	}
}

func (g *Gateway) reloadDeps(source *policySource) reloadDeps {
	return reloadDeps{
		source:  source,
		engine:  g.engine,
		recheck: g.recheck,
		swapped: g.edges.wake,
		lists:   g.lists,
		users:   g.users,
		reopen:  g.reopenLogs,
		hungup:  g.deps.Reloading,
		config:  g.watched,
		hangup:  g.deps.Hangup,
		metrics: g.metrics,
		log:     g.deps.Log.Named("reload"),
		now:     g.deps.Now,
		settle:  g.deps.Settle,
		publish: func(s policyState) { g.state.Store(&s) },
	}
}

// Start binds every listener, prints where each one listens and then "ready" on
// standard output, and returns with everything running. ctx bounds the binding
// only. Where one listener cannot be bound, Shutdown closes those that were.
func (g *Gateway) Start(ctx context.Context) error {
	if err := g.listen(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	g.stop = stop
	w, err := openWatch(g.deps.Log)
	if err != nil {
		g.deps.Log.Warn("no notification of file changes: edits are noticed by the poll",
			zap.Duration("poll", g.config.Reload.Poll), zap.Error(err))
	}
	g.running.Go(func() {
		g.reloader.run(running, w)
		if w != nil {
			w.close()
		}
	})
	g.running.Go(func() { g.edges.run(running) })
	g.running.Go(func() { g.lists.run(running) })
	g.coach.start(running, &g.running)
	g.logSwitchedOn()
	g.deps.Log.Info("ready",
		zap.String("version", g.deps.Build.Version),
		zap.String("policy", g.config.Policy),
		zap.String("revision", g.engine.Program().Revision()),
		zap.Int("rules", len(g.engine.Program().Document().Rules)))
	if problems := g.state.Load().inForce.Problems; len(problems) > 0 {
		g.deps.Log.Warn("policy in force has warnings", problemField(problems))
	}
	return g.announce()
}

// announce prints the addresses in one piece, so that decisions written to the
// same place cannot fall in between.
func (g *Gateway) announce() error {
	var b strings.Builder
	for _, a := range g.Addrs() {
		fmt.Fprintf(&b, "%s %s\n", a.Name, a.Addr)
	}
	b.WriteString("ready\n")
	if _, err := io.WriteString(g.deps.Stdout, b.String()); err != nil {
		return fmt.Errorf("print the addresses: %w", err)
	}
	return nil
}

// Addrs lists what is bound: the doors, then the console. Empty before Start.
func (g *Gateway) Addrs() []Address { return *g.bound.Load() }

// Shutdown stops the gateway: listeners close first, then tunnels in which
// something moves may finish for as long as proxy.drain allows, or until ctx
// ends, whichever is first. Tunnels cut short are logged, and are no error. While tunnels drain, edits
// and schedules still hold for them, metrics can still be read, and /readyz
// answers 503.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.stopping.Store(true) // first, so that whoever balances load sends nobody to a door that closes
	drain, cancel := context.WithTimeout(ctx, g.config.Proxy.Drain)
	defer cancel()
	var doors sync.WaitGroup
	var errDNS, errProxy error
	doors.Go(func() { errDNS = g.dns.Shutdown(drain) })
	doors.Go(func() { errProxy = g.proxy.Drain(drain) })
	doors.Go(func() { g.portal.shutdown(drain); g.coach.stopKeeping() })
	doors.Wait()
	return g.stopped(ctx, errDNS, errProxy)
}

// stopped ends what is left once the doors are closed.
func (g *Gateway) stopped(ctx context.Context, errDNS, errProxy error) error {
	for _, err := range []error{errDNS, errProxy} {
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return errors.Join(err, g.release(ctx))
		}
		if err != nil {
			g.deps.Log.Warn("stopped before everything had finished", zap.Error(err))
		}
	}
	return g.release(ctx)
}

// release ends what the doors leaned on.
func (g *Gateway) release(ctx context.Context) error {
	if g.stop != nil {
		g.stop()
	}
	g.running.Wait()
	g.admin.shutdown(ctx)
	if err := errors.Join(g.audit.Close(), g.access.close()); err != nil {
		return fmt.Errorf("close the logs: %w", err)
	}
	return nil
}
