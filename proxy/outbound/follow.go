package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// journey goes through the ways of a route, in order. Parents that are left
// alone are passed over; where that is all of them, the first one that may be
// tried all the same is the way.
type journey struct {
	steps  []step
	at     int
	found  bool  // a way was given
	alone  bool  // every way was passed over
	passed error // why the first one was
}

// leg is one way that may be gone now. Its permit must be settled.
type leg struct {
	parent *parent // nil: direct
	permit *permit // nil: direct
	left   int     // ways that may come after it, and itself
}

// settle gives back the leave to use the leg's parent, if it has one.
func (l leg) settle(o outcome, why error) {
	if l.permit != nil {
		l.permit.settle(o, why)
	}
}

// next gives the next way, if there is one.
func (j *journey) next() (leg, bool) {
	for ; j.at < len(j.steps); j.at++ {
		p := j.steps[j.at]
		l := leg{parent: p, left: len(j.steps) - j.at}
		if j.alone {
			l.left = 1
		}
		if p != nil {
			permit, ok := p.health.ask(j.alone)
			if !ok {
				j.pass(p)
				continue
			}
			l.permit = permit
		}
		j.at++
		j.found = true
		return l, true
	}
	if j.found || j.alone {
		return leg{}, false
	}
	j.at, j.alone = 0, true
	return j.next()
}

// pass notes why a parent was passed over.
func (j *journey) pass(p *parent) {
	if j.passed == nil {
		j.passed = fmt.Errorf("left alone for a while: %w", p.health.lastError())
	}
}

// follow reaches a destination by the first way of a route that works.
func (d *Dialer) follow(ctx context.Context, r *route, t Target, deadline time.Time) (Conn, error) {
	j := journey{steps: r.steps}
	var last error
	for {
		l, ok := j.next()
		if !ok {
			if last == nil {
				last = j.passed
			}
			return Conn{}, last
		}
		conn, err := d.take(ctx, l, t, share(deadline, l.left), false)
		if err == nil {
			return conn, nil
		}
		last = err
		if !mayGoOn(ctx, err) {
			return Conn{}, err
		}
	}
}

// take goes one way. Reach is set where the parent itself is to be reached, and
// nothing behind it.
func (d *Dialer) take(ctx context.Context, l leg, t Target, deadline time.Time, reach bool) (Conn, error) {
	p := l.parent
	if p == nil {
		return d.direct(ctx, t, deadline)
	}
	var conn net.Conn
	var remote netip.AddrPort
	var err error
	if reach {
		conn, remote, err = p.reach(ctx, deadline)
	} else {
		conn, remote, err = p.tunnel(ctx, t, deadline)
	}
	l.settle(outcomeOf(ctx, err, reach), err)
	d.metrics.dialled(p.name, Result(err))
	if err != nil {
		return Conn{}, err
	}
	return Conn{Conn: conn, Via: p.name, Remote: remote}, nil
}

// mayGoOn reports whether the next way is to be tried.
func mayGoOn(ctx context.Context, err error) bool {
	var said *ParentError
	return ctx.Err() == nil && !(errors.As(err, &said) && said.final())
}

// outcomeOf is what an attempt says about the parent. Reach is set where nothing
// was asked of it.
func outcomeOf(ctx context.Context, err error, reach bool) outcome {
	var said *ParentError
	switch {
	case err == nil && reach:
		return outcomeReached
	case err == nil:
		return outcomeAnswered
	case errors.As(err, &said) && said.kind != kindBroken:
		return outcomeAnswered
	case ctx.Err() != nil:
		return outcomeUnknown
	case said != nil:
		return outcomeFailed
	case isTimeout(err):
		return outcomeSilent
	default:
		return outcomeUnknown
	}
}
