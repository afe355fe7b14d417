package relay

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Config is how a relay behaves. A zero takes the default.
type Config struct {
	// Quiet parks a direction of a flow in which nothing has moved for this
	// long. Default 1 s; negative: nothing is parked.
	Quiet time.Duration

	// Idle ends a flow in which nothing has moved either way for this long.
	// Default 1 h; negative: never.
	Idle time.Duration

	// Pipes bounds the pipes for splice(2); each has two descriptors and room
	// for 1 MiB where the system grants it. An unprivileged user has room in 64
	// such pipes, in all its processes together. Default 32; negative: none,
	// everything is copied.
	Pipes int
}

// Defaults of Config.
const (
	defaultQuiet = time.Second
	defaultIdle  = time.Hour
	defaultPipes = 32

	longestTick  = 250 * time.Millisecond
	shortestTick = time.Millisecond
)

// ErrClosed is what Start returns once Close has been called.
var ErrClosed = errors.New("the relay is closed")

// Relay carries flows. Make it with New; its methods are safe for concurrent
// use.
type Relay struct {
	config Config
	tick   time.Duration // between sweeps
	now    func() time.Duration
	clock  atomic.Int64 // of the last sweep, nanoseconds

	blocks  pool[block]
	slabs   pool[slab]
	sips    pool[sip]
	pipes   *pipes
	parking *parking
	movers  sync.Pool

	running sync.WaitGroup // flows, and goroutines that work for them
	service sync.WaitGroup // waker and sweeper
	stop    chan struct{}

	closing sync.Once
	failure error // of Close

	mu     sync.Mutex
	closed bool
	active roll // flows with a direction that is not parked
	parked roll // flows of which each direction is parked or over
	sweeps sweepState
}

// New makes a Relay. Close must follow. It fails where the system grants no
// epoll set.
func New(config Config) (*Relay, error) {
	r := newRelay(config)
	if err := r.open(); err != nil {
		return nil, err
	}
	r.service.Go(func() {
		ticker := time.NewTicker(r.tick)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				r.sweep()
			case <-r.stop:
				return
			}
		}
	})
	return r, nil
}

// newRelay makes a relay that nobody sweeps and nobody wakes yet.
func newRelay(config Config) *Relay {
	config = config.complete()
	began := time.Now()
	r := &Relay{
		config: config,
		tick:   config.tick(),
		now:    func() time.Duration { return time.Since(began) },
		pipes:  newPipes(config.Pipes),
		stop:   make(chan struct{}),
	}
	r.movers.New = func() any { return newMover(r) }
	return r
}

// open begins to wait for parked flows.
func (r *Relay) open() error {
	p, err := newParking()
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	r.parking = p
	r.service.Go(p.run)
	return nil
}

func (c Config) complete() Config {
	if c.Quiet == 0 {
		c.Quiet = defaultQuiet
	}
	if c.Idle == 0 {
		c.Idle = defaultIdle
	}
	if c.Pipes == 0 {
		c.Pipes = defaultPipes
	}
	return c
}

// tick is how often to sweep: often enough for the shorter limit.
func (c Config) tick() time.Duration {
	tick := longestTick
	for _, limit := range []time.Duration{c.Quiet, c.Idle} {
		if limit > 0 {
			tick = min(tick, limit/4)
		}
	}
	return max(tick, shortestTick)
}

// Start carries bytes between two ends, which belong to the flow from now on,
// and tells the handler. The early bytes are what has been read of the client
// already; they must not be changed until Greet has seen them. Start does not
// wait for anything. It fails once the relay is closed; the ends are then the
// caller's, and the handler hears nothing.
func (r *Relay) Start(ends Ends, early []byte, handler Handler) (*Flow, error) {
	f := newFlow(r, ends, early, handler)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, ErrClosed
	}
	r.running.Add(1) // until finish
	r.active.add(f)
	r.mu.Unlock()
	f.begin()
	return f, nil
}

// Close ends the flows that are left, and waits until their handlers know and
// every goroutine of the relay is done. It may be called again.
func (r *Relay) Close() error {
	r.closing.Do(func() {
		for _, f := range r.shut() {
			f.End()
		}
		r.running.Wait()
		close(r.stop)
		r.failure = r.parking.close()
		r.service.Wait()
		r.pipes.close()
	})
	return r.failure
}

// shut lets no more flows start, and lists those that there are.
func (r *Relay) shut() []*Flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return append(r.active.all(), r.parked.all()...)
}
