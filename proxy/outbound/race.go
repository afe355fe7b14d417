package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// race connects to the first of several addresses that answers (RFC 8305 §5).
// The first attempt belongs to the goroutine that runs the race. As long as
// attempts succeed or fail at once, there is nothing else; only where one has
// to wait, waited gives the race a context, and a timer that begins the next
// attempt beside it.
type race struct {
	parent    context.Context
	deadline  time.Time
	headStart time.Duration
	targets   []netip.AddrPort // in the order in which they are tried
	silent    *silence

	mu      sync.Mutex
	ended   sync.Cond          // tells that running or due has become less; nil L until waited
	ctx     context.Context    // of all attempts; nil until one has to wait
	cancel  context.CancelFunc // of ctx
	timer   *time.Timer        // starts another; nil until one has to wait
	due     int                // calls of another that will come
	running int                // those that have come
	next    int                // of targets
	over    bool               // nothing is begun any more
	winner  *net.TCPConn
	errs    []error
}

// run returns the first connection, when no attempt is under way any more.
func (r *race) run() (*net.TCPConn, error) {
	r.attempts()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.timer != nil {
		if r.timer.Stop() {
			r.due--
		}
		for r.running+r.due > 0 {
			r.ended.Wait()
		}
		r.cancel()
	}
	if r.winner == nil {
		return nil, errors.Join(r.errs...)
	}
	return r.winner, nil
}

// another begins an attempt beside those that wait. The timer calls it.
func (r *race) another() {
	r.mu.Lock()
	r.due--
	r.running++
	r.mu.Unlock()
	r.attempts()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	r.ended.Signal()
}

// attempts tries addresses one after the other, until one answers or there is
// nothing left to try.
func (r *race) attempts() {
	for {
		to, ok := r.take()
		if !ok {
			return
		}
		began := time.Now()
		conn, err := r.attempt(to)
		if err == nil {
			r.connected(to, conn)
			return
		}
		r.failed(to, err, time.Since(began))
	}
}

// take gives the next address, if it is to be tried.
func (r *race) take() (netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.winner != nil || r.next == len(r.targets) || r.ctx != nil && r.ctx.Err() != nil {
		return netip.AddrPort{}, false
	}
	to := r.targets[r.next]
	r.next++
	if r.timer != nil && !r.timer.Reset(r.headStart) { // it has the whole head start, too
		r.due++
	}
	return to, true
}

// waited is called once an attempt has to wait for its answer, and gives the
// context to wait with.
func (r *race) waited() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil {
		r.ended.L = &r.mu
		r.ctx, r.cancel = context.WithDeadline(r.parent, r.deadline)
		r.due++
		r.timer = time.AfterFunc(r.headStart, r.another)
	}
	return r.ctx
}

// connected takes a connection for the winner, or closes it where it came in
// second.
func (r *race) connected(to netip.AddrPort, conn *net.TCPConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.winner != nil {
		_ = conn.Close()
		return
	}
	r.winner = conn
	if r.cancel != nil {
		r.cancel()
	}
	if len(r.targets) > 1 {
		r.silent.remove(to)
	}
}

// failed notes why an attempt came to nothing, and remembers an address that
// had its chance.
func (r *race) failed(to netip.AddrPort, err error, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.winner == nil {
		r.errs = append(r.errs, err)
	}
	if len(r.targets) > 1 && (!errors.Is(err, context.Canceled) || took >= r.headStart) {
		r.silent.add(to)
	}
}
