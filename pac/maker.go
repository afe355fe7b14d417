package pac

import (
	"net/netip"
	"sync"

	"github.com/sallyport/sallyport/policy"
)

// maxKept bounds the memory of a Maker for plans, in bytes.
const maxKept = 16 << 20

// Maker makes scripts, and writes a plan once for all clients for whom the same
// rules are. Safe for concurrent use. It starts no goroutines.
type Maker struct {
	settings   Settings
	signIn     bool
	program    func() *policy.Program
	everywhere func(revision string, plan *Plan)
	stranger   *Plan

	writing sync.Mutex // one plan at a time is written
	mu      sync.Mutex
	kept    keptPlans
}

// keptPlans are the plans of one revision.
type keptPlans struct {
	revision string
	plans    map[string]*Plan // by the key of their scope
	size     int
}

// MakerConfig is what a Maker is made of. Every field is needed, but Settings
// and SignIn may be zero.
type MakerConfig struct {
	Settings Settings
	SignIn   bool                   // people can sign in at the proxy
	Program  func() *policy.Program // in force

	// Everywhere is told, once for each plan that is written, that everything
	// goes to the proxy although only what is judged was to.
	Everywhere func(revision string, plan *Plan)
}

// NewMaker makes a Maker.
func NewMaker(c MakerConfig) *Maker {
	return &Maker{
		settings:   c.Settings,
		signIn:     c.SignIn,
		program:    c.Program,
		everywhere: c.Everywhere,
		stranger:   EverythingPlan(&c.Settings),
	}
}

// Plan is the plan for a client: for whoever may sit there. Nobody who signed in
// there before counts, since a script stays with the machine.
func (m *Maker) Plan(client netip.Addr) *Plan {
	program := m.program()
	subject := program.Subject(policy.Identity{Addr: client.Unmap().WithZone("")})
	scope := program.Scope(&subject, policy.DoorProxy, m.signIn)
	revision, key := program.Revision(), scope.Key()
	if plan := m.find(revision, key); plan != nil {
		return plan
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	if plan := m.find(revision, key); plan != nil {
		return plan
	}
	plan := NewPlan(&m.settings, scope)
	m.keep(revision, key, plan)
	if plan.Whole != policy.WholeNot {
		m.everywhere(revision, plan)
	}
	return plan
}

// StrangerPlan tells nothing of the policy, and sends everything to the proxy.
func (m *Maker) StrangerPlan() *Plan { return m.stranger }

func (m *Maker) find(revision, key string) *Plan {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept.revision != revision {
		return nil
	}
	return m.kept.plans[key]
}

// keep forgets what other revisions and, where there is no room, other clients
// had.
func (m *Maker) keep(revision, key string, plan *Plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := len(plan.body) + len(key)
	if m.kept.revision != revision || m.kept.size+size > maxKept {
		m.kept = keptPlans{revision: revision, plans: map[string]*Plan{}}
	}
	m.kept.plans[key] = plan
	m.kept.size += size
}
