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

// pool keeps buffers that nobody uses. Its zero value is ready.
type pool[T any] struct{ free sync.Pool }

func (p *pool[T]) get() *T {
	if b, ok := p.free.Get().(*T); ok {
		return b
	}
	return new(T)
}

func (p *pool[T]) put(b *T) { p.free.Put(b) }
