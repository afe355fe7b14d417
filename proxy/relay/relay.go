package relay

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config is how a relay behaves. A zero takes the default.
type Config struct {
	// Idle ends a flow in which nothing has moved either way for this long.
	// Default 1 h; negative: never.
	Idle time.Duration

	// Pipes bounds the pipes for splice(2); each has two descriptors and room
	// for 1 MiB where the system grants it. An unprivileged user has room in 64
	// such pipes, in all its processes together. Default 32; negative: none,
	// everything is copied.
	Pipes int
}

// Defaults and bounds.
const (
	defaultIdle  = time.Hour
	defaultPipes = 32

	longestTick  = 100 * time.Millisecond
	shortestTick = time.Millisecond

	maxParkings = 16
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

	blocks pool[block]
	slabs  pool[slab]
	sips   pool[sip]
	loads  pool[cargo]
	pipes  *pipes
	movers sync.Pool // of *mover

	parkings []*parking // each flow has its own one of them
	next     atomic.Uint32

	running sync.WaitGroup // flows, and goroutines that work for them
	service sync.WaitGroup // wakers and sweeper
	stop    chan struct{}

	closing sync.Once
	failure error // of Close

	mu      sync.Mutex
	closed  bool
	flows   roll
	watched roll // those that the sweeper looks after

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

// newRelay makes a relay that nobody sweeps, and that cannot wait yet.
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
	r.flows.place = func(f *Flow) *int { return &f.place }
	r.watched.place = func(f *Flow) *int { return &f.watchPlace }
	return r
}

// open begins to wait for events: with a goroutine for each core.
func (r *Relay) open() error {
	for range min(runtime.GOMAXPROCS(0), maxParkings) {
		p, err := newParking()
		if err != nil {
			_ = r.closeParkings()
			return fmt.Errorf("relay: %w", err)
		}
		r.parkings = append(r.parkings, p)
		r.service.Go(p.run)
	}
	return nil
}

func (r *Relay) closeParkings() error {
	var errs []error
	for _, p := range r.parkings {
		errs = append(errs, p.close())
	}
	r.service.Wait()
	return errors.Join(errs...)
}

func (c Config) complete() Config {
	if c.Idle == 0 {
		c.Idle = defaultIdle
	}
	if c.Pipes == 0 {
		c.Pipes = defaultPipes
	}
	return c
}

// tick is how often to sweep.
func (c Config) tick() time.Duration {
	if c.Idle < 0 {
		return longestTick
	}
	return max(min(longestTick, c.Idle/4), shortestTick)
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
	r.flows.add(f)
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
		r.failure = r.closeParkings()
		r.pipes.close()
	})
	return r.failure
}

// shut lets no more flows start, and lists those that there are.
func (r *Relay) shut() []*Flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.flows.all()
}
