package upstream

import (
	"context"
	"time"
)

// outcome is how asking one resolver ended.
type outcome struct {
	answer Answer
	err    error
}

// race asks first, and second as well as soon as first takes unusually long or
// fails. The answer that comes first counts; the other query is given up.
func (g *group) race(ctx context.Context, q Query, first, second *resolver, deadline time.Time) (Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	runnerUp := make(chan outcome, 1)
	hedge := time.AfterFunc(first.health.patience(), func() {
		if !g.crew.enter() {
			runnerUp <- outcome{err: ErrClosed}
			return
		}
		defer g.crew.leave()
		var o outcome
		g.crew.guard(func() { o.answer, o.err = second.answer(ctx, q, deadline) }, func(err error) { o.err = err })
		runnerUp <- o
		if o.err == nil {
			cancel() // first has lost
		}
	})
	answer, err := first.answer(ctx, q, deadline)
	if err == nil {
		hedge.Stop()
		return answer, nil
	}
	if hedge.Stop() { // first failed before second was asked
		other, otherErr := second.answer(ctx, q, deadline)
		return better(outcome{other, otherErr}, err)
	}
	return better(<-runnerUp, err)
}

func better(o outcome, err error) (Answer, error) {
	if o.err == nil {
		return o.answer, nil
	}
	return Answer{}, worse(asError(o.err), asError(err))
}
