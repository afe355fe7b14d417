package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/coaching"
	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/keyfile"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/privacy"
)

// Names in the state folder.
const (
	coachingKeyFile = "coaching.key"
	grantsFile      = "coaching.grants"
)

// sourceLink is the identity source of a client that is known by the signed
// link that it follows.
const sourceLink = "link"

// transportPortal stands in entries of grants that were given at the portal.
const transportPortal = "portal"

// coach lets people past warnings: it signs their links, asks the policy again
// when they follow one, and keeps what they were granted. A nil *coach is what
// a gateway without a portal has: nobody can continue.
type coach struct {
	key      *coaching.Key
	store    *coaching.Store
	engine   *policy.Engine
	identify func(netip.Addr) policy.Subject
	record   func(*audit.Grant)
	mask     *privacy.Mask
	recheck  func(reason string) (checked, closed int)
	base     func() string // of links; "" while the portal is not bound
	now      func() time.Time
	log      *zap.Logger
	metrics  *coachingMetrics
	ends     *edges // of grants

	release func()             // lets the next process write the journal
	leave   context.CancelFunc // has the journal end; nil before start
	left    chan struct{}      // closed when it has
}

// grantsHeld is what the journal is called between two processes, one of which
// takes over from the other.
const grantsHeld = "grants"

// newCoach reads or makes the key, and what was granted before a restart. It
// is to be called before the engine is shared.
func (g *Gateway) newCoach() (*coach, error) {
	if g.config.Portal.Listen == "" {
		return nil, nil
	}
	log := g.deps.Log.Named("coaching")
	key, err := g.coachingKey(log)
	if err != nil {
		return nil, err
	}
	store, err := coaching.Open(coaching.Config{
		File: filepath.Join(g.config.stateFolder(), grantsFile),
		Turn: g.deps.Sockets.Left(grantsHeld),
	}, g.deps.Now(), log)
	if err != nil {
		return nil, err
	}
	c := &coach{
		key:      key,
		store:    store,
		engine:   g.engine,
		identify: g.identity.ByAddr,
		record:   g.audit.RecordGrant,
		mask:     g.mask,
		recheck:  g.recheck,
		base:     g.portalBase,
		now:      g.deps.Now,
		log:      log,
		metrics:  newCoachingMetrics(g.registry, store.Len),
		release:  g.deps.Sockets.Hold(grantsHeld),
		left:     make(chan struct{}),
	}
	c.ends = newEdges(g.deps.Now, func(time.Time) time.Time { return store.Next() }, func(string) { c.sweep() })
	g.engine.SetGrants(store)
	return c, nil
}

// coachingKey is the key that is configured, which must be there, or the
// gateway's own, which it makes. Where it cannot, links hold until it stops.
func (g *Gateway) coachingKey(log *zap.Logger) (*coaching.Key, error) {
	if file := g.config.Coaching.Key; file != "" {
		key, err := coaching.ReadKey(file)
		if err != nil {
			return nil, fmt.Errorf("coaching.key: %w", err)
		}
		return key, nil
	}
	path := filepath.Join(g.config.stateFolder(), coachingKeyFile)
	key, err := coaching.MakeKey(path)
	if errors.Is(err, keyfile.ErrNotMade) {
		log.Warn("links past a warning will be void after a restart: let the gateway write to its state folder, or name a key in coaching.key",
			zap.String("file", path), zap.Error(err))
		return coaching.NewKey(), nil
	}
	return key, err
}

// start begins to keep the journal and to watch for the ends of grants, until
// ctx ends.
func (c *coach) start(ctx context.Context, running *sync.WaitGroup) {
	if c == nil {
		return
	}
	keeping, leave := context.WithCancel(ctx)
	c.leave = leave
	running.Go(func() {
		defer close(c.left)
		c.store.Run(keeping)
		c.release()
	})
	running.Go(func() { c.ends.run(ctx) })
}

// stopKeeping writes what is left of the journal, and leaves it to the process
// that takes over. Grants hold, and end, for the tunnels that are left.
func (c *coach) stopKeeping() {
	if c == nil || c.leave == nil {
		return
	}
	c.leave()
	<-c.left
}

// sweep tells of the grants that have ended, and has open tunnels judged again.
func (c *coach) sweep() {
	for _, g := range c.store.Sweep(c.now()) {
		c.recordEnd(&g, g.Until, audit.EndedByTime)
	}
	c.recheck("grant")
}

// recordEnd writes that a grant is over. Who holds it is looked up anew, since
// the policy may have other groups by now.
func (c *coach) recordEnd(g *coaching.Grant, at time.Time, by string) {
	id := policy.Identity{User: g.Key.User, Addr: g.From, Source: sourceLink}
	verdict := policy.Verdict{Action: policy.ActionWarn, Rule: &policy.Rule{Name: g.Key.Rule}, Revision: c.engine.Program().Revision()}
	if g.Key.App != "" {
		verdict.App = &policy.App{ID: g.Key.App}
	}
	host, _ := policy.ParseHost(g.Host) // which it was when the grant was given
	c.record(&audit.Grant{
		Decision: &policy.Decision{ID: g.Decision, Door: g.Door, Client: g.From, Subject: c.engine.Subject(id), Host: host, Verdict: verdict},
		Time:     at,
		Given:    g.Given,
		ID:       g.ID,
		Until:    g.Until,
		EndedBy:  by,

		Justification: g.Justification,
	})
}

// trouble says why grants would not outlive a restart.
func (c *coach) trouble() string {
	if c == nil {
		return ""
	}
	return c.store.Trouble()
}

// grants are what the admin listener shows and ends.
func (c *coach) grants() console.GrantFacts {
	if c == nil {
		return console.GrantFacts{}
	}
	return console.GrantFacts{List: c.list, Revoke: c.revoke}
}

func (c *coach) list() []console.Grant {
	held := c.store.List()
	now := c.now()
	shown := make([]console.Grant, 0, len(held))
	for i := range held {
		if held[i].Until.After(now) {
			shown = append(shown, shownGrant(&held[i]))
		}
	}
	return shown
}

// shownGrant is a grant as the admin listener shows it.
func shownGrant(g *coaching.Grant) console.Grant {
	return console.Grant{
		ID:            g.ID,
		User:          g.Key.User,
		Client:        addrText(g.Key.Client),
		Rule:          g.Key.Rule,
		App:           g.Key.App,
		Host:          g.Host,
		Door:          g.Door.String(),
		From:          addrText(g.From),
		Given:         g.Given,
		Until:         g.Until,
		Justification: g.Justification,
		Decision:      g.Decision,
	}
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// revoke ends a grant, and the tunnels that were open by it.
func (c *coach) revoke(ctx context.Context, id string) (console.Grant, error) {
	g, err := c.store.Revoke(ctx, id)
	if errors.Is(err, coaching.ErrNoSuch) {
		return console.Grant{}, fmt.Errorf("%w: %w", console.ErrNoGrant, err)
	}
	c.recordEnd(&g, c.now(), audit.EndedByRevocation)
	c.recheck("grant revoked")
	return shownGrant(&g), err
}

// coachingMetrics count what becomes of warnings.
type coachingMetrics struct {
	grants  *prometheus.CounterVec
	refused *prometheus.CounterVec
}

// Why an attempt to continue is refused, beside console's own reasons.
const (
	refusedToken         = "token"
	refusedExpired       = "expired"
	refusedClient        = "client"
	refusedPolicy        = "policy"
	refusedJustification = "justification"
	refusedFull          = "full"
)

func newCoachingMetrics(reg prometheus.Registerer, held func() int) *coachingMetrics {
	m := &coachingMetrics{
		grants: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_coaching_grants_total",
			Help: "Grants given to people who continued past a warning, by the rule that warned.",
		}, []string{"rule"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_coaching_refused_total",
			Help: "Attempts to continue past a warning that were refused.",
		}, []string{"reason"}),
	}
	reg.MustRegister(m.grants, m.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_coaching_grants",
		Help: "Grants held now.",
	}, func() float64 { return float64(held()) }))
	for _, reason := range []string{
		refusedToken, refusedExpired, refusedClient, refusedPolicy, refusedJustification, refusedFull,
		console.RefusedOrigin, console.RefusedRequest,
	} {
		m.refused.WithLabelValues(reason) // there from the start, so that a rate has a zero to begin with
	}
	return m
}

func (m *coachingMetrics) refuse(reason string) { m.refused.WithLabelValues(reason).Inc() }
