package relay

import "sync"

const (
	// blockBytes is how much is read at a time into memory. More than that
	// waiting is worth a pipe.
	blockBytes = 32 << 10

	// slabBytes is how much is read at a time when there is a lot, and no pipe.
	slabBytes = 128 << 10

	// sipBytes is how much a way holds that waits for a stream: enough for
	// what quiet tunnels say.
	sipBytes = 2 << 10
)

type (
	block [blockBytes]byte
	slab  [slabBytes]byte
	sip   [sipBytes]byte
)

// pool keeps what nobody uses. Its zero value is ready.
type pool[T any] struct{ free sync.Pool }

func (p *pool[T]) get() *T {
	if b, ok := p.free.Get().(*T); ok {
		return b
	}
	return new(T)
}

func (p *pool[T]) put(b *T) { p.free.Put(b) }

// cargo is what has been fetched and not been written, and in what: piece,
// which is in a buffer, or held bytes in the pipe. Buffer and pipe are taken
// when there is something to fetch, and given back when there is nothing more.
type cargo struct {
	piece []byte
	block *block
	slab  *slab
	sip   *sip
	pipe  *pipe
	held  int
}

func (c *cargo) empty() bool { return len(c.piece) == 0 && c.held == 0 }

// release gives back what a cargo is in. The cargo is lost.
func (r *Relay) release(c *cargo) {
	if c.block != nil {
		r.blocks.put(c.block)
	}
	if c.slab != nil {
		r.slabs.put(c.slab)
	}
	if c.sip != nil {
		r.sips.put(c.sip)
	}
	if c.pipe != nil {
		r.pipes.put(c.pipe, c.held == 0)
	}
	*c = cargo{}
}

// unload gives back a cargo that was parked, too.
func (r *Relay) unload(c *cargo) {
	r.release(c)
	r.loads.put(c)
}
