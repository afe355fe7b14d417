package upstream

import (
	"context"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
)

// transport carries queries to one server. Safe for concurrent use.
type transport interface {
	// exchange asks q once and returns a response that answers it without
	// error, by deadline and no later than ctx ends.
	exchange(ctx context.Context, q Query, deadline time.Time) (*dns.Msg, error)

	// hangUp ends every exchange under way; there are no new ones.
	hangUp()

	// cleanUp ends what remains once no exchange is under way.
	cleanUp()
}

// resolver is a server with the transport to it, and how it fares.
type resolver struct {
	server    server
	transport transport
	trusted   bool // its AD may be believed
	health    health
	news      news
	watch     *watch
}

// watch is what all resolvers of a Pool are judged with.
type watch struct {
	try   time.Duration
	deps  Dependencies
	ctx   context.Context // ends with the Pool
	alarm *alarm
}

// ask makes one try and takes note of how it went.
func (r *resolver) ask(ctx context.Context, q Query, deadline time.Time) (*dns.Msg, error) {
	start := time.Now()
	end := start.Add(r.watch.try)
	if deadline.Before(end) {
		end = deadline
	}
	hurried := end.Sub(start) < r.watch.try/2 // others have used the time up
	response, err := r.exchange(ctx, q, end)
	took := time.Since(start)
	if err == nil {
		r.answered(resultOK, took)
		return response, nil
	}
	failure := asError(err)
	switch {
	case failure.Kind == Refused:
		r.answered(failure.Kind.String(), took)
	case r.watch.ctx.Err() != nil: // the Pool's doing
	case ctx.Err() != nil: // nobody waits any more: no fault of the resolver's
		r.health.tookLonger(took)
	case hurried && failure.Kind == Timeout:
		r.watch.deps.Observe(r.server.name, failure.Kind.String(), took)
	default:
		r.failed(failure, took)
	}
	return nil, failure
}

// exchange is the transport's, where a panic is an answer that cannot be read.
func (r *resolver) exchange(ctx context.Context, q Query, deadline time.Time) (response *dns.Msg, err error) {
	defer r.watch.alarm.catch(&err)
	return r.transport.exchange(ctx, q, deadline)
}

func (r *resolver) answered(result string, took time.Duration) {
	r.watch.deps.Observe(r.server.name, result, took)
	r.health.took(took)
	if r.health.answered() {
		r.watch.deps.State(r.server.name, true)
	}
	if r.news.due(false, r.watch.deps.Now) {
		r.watch.deps.Log.Info("upstream resolver answers again", zap.String("upstream", r.server.name))
	}
}

func (r *resolver) failed(failure *Error, took time.Duration) {
	r.watch.deps.Observe(r.server.name, failure.Kind.String(), took)
	if r.health.failed(r.watch.deps.Now()) {
		r.watch.deps.State(r.server.name, false)
	}
	if r.health.calledDown() && r.news.due(true, r.watch.deps.Now) {
		r.watch.deps.Log.Warn("upstream resolver does not answer", zap.String("upstream", r.server.name),
			zap.String("problem", failure.Text), zap.NamedError("cause", failure.cause))
	}
}
