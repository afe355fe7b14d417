package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// newLists makes what fetches the lists of a source's policy. It works from New
// on, by prefetch, and by itself once run is started.
func (g *Gateway) newLists(source *policySource) {
	limits := defaultListLimits()
	dialer := newListDialer(limits.dial, g.lookupByDoor, lookupAt(g.config.DNS.Upstreams), lookupAt(nil))
	g.lists = newListFetcher(listFetchDeps{
		store:   source.lists.store,
		parser:  source.lists.parser,
		metrics: newListMetrics(g.registry),
		log:     g.deps.Log.Named("lists"),
		now:     g.deps.Now,
		get:     newListClient(dialer.dial, nil, g.deps.Build.Version, limits).get,
		try:     g.tryList,
		random:  randomBelow,
	}, limits)
	source.lists.fetching = g.lists.whyAbsent
}

func randomBelow(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// firstPolicy loads the policy that the gateway starts with. Lists that were
// never fetched are waited for: a gateway that began without them would let
// through what they are there to block.
func (g *Gateway) firstPolicy(source *policySource) (*Loaded, error) {
	loaded := source.load(g.deps.Now())
	if loaded.waits() {
		if problems := g.awaitLists(loaded.awaited); len(problems) > 0 {
			return nil, &PolicyError{Problems: problems}
		}
		loaded = source.load(g.deps.Now())
	}
	if !loaded.OK() {
		return nil, &PolicyError{Problems: loaded.All()}
	}
	g.lists.want(loaded.Document.Lists, nil)
	g.registry.MustRegister(newListCollector(g.listStates))
	return loaded, nil
}

// awaitLists fetches lists until they are there or the start is given up.
func (g *Gateway) awaitLists(sources []policy.ListSource) policy.Problems {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-g.deps.Interrupt:
			cancel(errNobodyWaits)
		case <-over:
		}
	})
	problems := g.lists.prefetch(ctx, sources)
	close(over)
	watching.Wait()
	return problems
}

// listStates is how it stands with the lists in force, what became of the last
// fetch included.
func (g *Gateway) listStates() []ListState {
	var states []ListState
	for _, l := range g.state.Load().inForce.Lists {
		if fetched, ok := g.lists.state(l.key); ok {
			l.Good = fetched.checked
			if l.Trouble == "" {
				l.Trouble = fetched.trouble
			}
		}
		states = append(states, l)
	}
	return states
}

// missing says of lists that are wanted and have no copy why that is so.
func (f *listFetcher) missing() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, s := range f.states {
		if s.absent && s.trouble != "" {
			all = append(all, fmt.Sprintf("list %q could not be fetched yet: %s; it is tried again at %s", s.name, s.trouble, s.next.UTC().Format(time.RFC3339)))
		}
	}
	slices.Sort(all)
	return all
}
