package proxy

import (
	"net/netip"
	"sync"

	"github.com/sallyport/sallyport/gate"
	"github.com/sallyport/sallyport/policy"
)

// registry holds every tunnel and WebSocket that is open or being opened.
type registry struct {
	limit int
	each  int       // limit of one client
	open  gate.Gate // one entry a tunnel, left when its last goroutine is done

	mu      sync.Mutex
	tunnels map[*tunnel]struct{}
	clients map[netip.Addr]int // of whom they are, by clientKey
}

func newRegistry(limit, each int) *registry {
	return &registry{limit: limit, each: each, tunnels: make(map[*tunnel]struct{}), clients: make(map[netip.Addr]int)}
}

// add registers a tunnel, unless there are too many or the server is stopping:
// then it says which of the limits that is. remove must follow.
func (r *registry) add(t *tunnel) (shed string, ok bool) {
	key := clientKey(t.client)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.tunnels) >= r.limit:
		return shedTunnels, false
	case r.clients[key] >= r.each:
		return shedClientTunnels, false
	case !r.open.Enter():
		return shedTunnels, false
	}
	r.tunnels[t] = struct{}{}
	r.clients[key]++
	return "", true
}

func (r *registry) remove(t *tunnel) {
	key := clientKey(t.client)
	r.mu.Lock()
	delete(r.tunnels, t)
	if r.clients[key]--; r.clients[key] <= 0 {
		delete(r.clients, key)
	}
	r.mu.Unlock()
	t.pacer.leave()
	r.open.Leave()
}

// size is how many places are taken.
func (r *registry) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tunnels)
}

// all lists the tunnels of this moment.
func (r *registry) all() []*tunnel {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*tunnel, 0, len(r.tunnels))
	for t := range r.tunnels {
		list = append(list, t)
	}
	return list
}

// endAll closes every tunnel for the same reason.
func (r *registry) endAll(reason string) {
	for _, t := range r.all() {
		t.end(reason, "")
	}
}

// RecheckResult is what Recheck did.
type RecheckResult struct {
	Checked int // tunnels and WebSockets that were judged again
	Closed  int // of these, the ones that are no longer allowed
}

// Recheck judges every open tunnel and WebSocket by the policy in force and
// the time of now, and closes those that are refused. It is to be called after
// a policy has been put in force and whenever a schedule of it changes.
//
// A tunnel that is being opened meanwhile does not slip through: it is
// registered before its last decision is taken. Either Recheck finds it here,
// or it was registered after the list was made, and then its last decision is
// taken by the policy that Recheck was called for.
func (s *Server) Recheck() RecheckResult {
	var result RecheckResult
	var request policy.Request // one for all of them: it escapes to the heap
	now := s.dependencies.Now()
	for _, t := range s.tunnels.all() {
		result.Checked++
		request = t.snapshot()
		request.At = now
		verdict := s.dependencies.Decider.Decide(&request)
		if verdict.Action.Refuses() && t.end(closedByPolicy, verdict.RuleName()) {
			result.Closed++
			continue
		}
		t.pacer.follow(s.bandwidth.group(&verdict))
	}
	return result
}

// claim adds names that the client has claimed to the tunnel's request, and
// judges it again. The names are added first, for the same reason for which a
// tunnel is registered first: a Recheck that runs now judges them, or its
// policy does here.
func (s *Server) claim(t *tunnel, names []policy.Host) policy.Verdict {
	request := t.addClaimed(names)
	request.At = s.dependencies.Now()
	verdict := s.dependencies.Decider.Decide(&request)
	if verdict.NeedsUser && s.config.CanAuthenticate && request.Subject.User == "" && !verdict.Action.Refuses() {
		return needsSignIn(verdict, names[0])
	}
	return verdict
}
