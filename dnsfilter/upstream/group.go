package upstream

import (
	"context"
	"sync/atomic"
	"time"
)

// group is resolvers that know the same names. Safe for concurrent use.
type group struct {
	resolvers []*resolver
	strategy  Strategy
	total     time.Duration
	now       func() time.Time
	crew      *crew
	pool      context.Context // ends with the Pool
	asked     atomic.Uint64
}

const (
	rounds = 2 // through all resolvers: one lost packet loses no answer

	// exploreEvery is of how many queries one is put to a slower resolver as
	// well, to see whether it has become the faster one.
	exploreEvery = 64
)

// ask asks resolvers until one gives a usable answer, and returns within total.
// Its error is the most telling of what went wrong.
func (g *group) ask(ctx context.Context, q Query) (Answer, error) {
	deadline := time.Now().Add(g.total)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	var room [8]*resolver
	list, well := g.order(room[:0])
	g.lookAside(q, list, well)
	worst := timedOut(nil)
	for range rounds {
		for rest := list; len(rest) > 0; {
			var answer Answer
			var err error
			if g.strategy == Parallel && len(rest) > 1 && well > 1 {
				answer, err = g.race(ctx, q, rest[0], rest[1], deadline)
				rest = rest[2:]
			} else {
				answer, err = rest[0].answer(ctx, q, deadline)
				rest = rest[1:]
			}
			if err == nil {
				return answer, nil
			}
			worst = worse(worst, asError(err))
			if ctx.Err() != nil || g.pool.Err() != nil || !time.Now().Before(deadline) {
				return Answer{}, worst
			}
		}
		if worst.Kind >= Garbled {
			break // somebody is there: asking again changes nothing
		}
	}
	return Answer{}, worst
}

func worse(a, b *Error) *Error {
	if b.Kind > a.Kind || a.cause == nil && b.Kind == a.Kind {
		return b
	}
	return a
}

func (r *resolver) answer(ctx context.Context, q Query, deadline time.Time) (Answer, error) {
	response, err := r.ask(ctx, q, deadline)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Msg: response, Trusted: r.trusted, Upstream: r.server.name}, nil
}

// order lists the resolvers in the order to ask them, those that are well
// first: when none is, all are asked nevertheless.
func (g *group) order(list []*resolver) (order []*resolver, well int) {
	for _, r := range g.resolvers {
		if !r.health.sick.Load() {
			list = append(list, r)
		}
	}
	well = len(list)
	if g.strategy != Failover {
		sortByTime(list)
	}
	if well == len(g.resolvers) {
		return list, well
	}
	for _, r := range g.resolvers {
		if !contains(list, r) {
			list = append(list, r)
		}
	}
	return list, well
}

// sortByTime puts the quickest first, and before them those whose time is not
// known yet. Others keep their order.
func sortByTime(list []*resolver) {
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && list[j].health.rtt.Load() < list[j-1].health.rtt.Load(); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

func contains(list []*resolver, r *resolver) bool {
	for _, other := range list {
		if other == r {
			return true
		}
	}
	return false
}

// lookAside puts the query to resolvers that would not be asked, without
// keeping the client waiting: to a sick one whose back-off is over, and now and
// then to a slower one.
func (g *group) lookAside(q Query, list []*resolver, well int) {
	if well == 0 {
		return // all are asked anyway
	}
	for _, r := range list[well:] {
		if r.health.due(g.now()) {
			g.askAside(r, q)
		}
	}
	if g.strategy == Failover || well < 2 {
		return
	}
	if n := g.asked.Add(1); n%exploreEvery == 0 {
		g.askAside(list[1+int(n/exploreEvery)%(well-1)], q)
	}
}

func (g *group) askAside(r *resolver, q Query) {
	g.crew.start(func() {
		_, _ = r.ask(g.pool, q, time.Now().Add(r.watch.try)) // what counts is noted
	}, func(error) {}) // nobody waits
}
