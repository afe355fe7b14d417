package authority

import (
	"container/list"
	"crypto/tls"
	"sync"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// Bounds of the leaves that are kept, and of those that are made.
const (
	maxLeaves = 4096 // some 2 KB each

	// A company asks for a few hundred names a week. A client that makes names
	// up gets this many signatures, which are a fiftieth of one processor.
	leavesPerSecond = 100
	leavesAtOnce    = 400
)

// leaf is a certificate that was signed, and until when it may be used again.
type leaf struct {
	certificate *tls.Certificate
	until       time.Time
}

// shelf keeps the leaves that were used last, and has each signed once however
// many ask for it at a time. Safe for concurrent use.
type shelf struct {
	limit int

	mu      sync.Mutex
	leaves  map[policy.Host]*list.Element // of placed
	order   *list.List                    // of placed; the one used last is in front
	flights map[policy.Host]*flight
	bucket  bucket
}

// placed is a leaf on the shelf.
type placed struct {
	host policy.Host
	leaf *leaf
}

// flight is a signature under way.
type flight struct {
	done chan struct{} // closed when the rest is set
	leaf *leaf
	err  error
}

func newShelf(limit int, b bucket) *shelf {
	return &shelf{
		limit:   limit,
		leaves:  make(map[policy.Host]*list.Element),
		order:   list.New(),
		flights: make(map[policy.Host]*flight),
		bucket:  b,
	}
}

// get returns the leaf for a host, and has sign make it where there is none.
// The error is ErrBusy or sign's.
func (s *shelf) get(host policy.Host, now time.Time, sign func() (*leaf, error)) (*tls.Certificate, error) {
	s.mu.Lock()
	if element, ok := s.leaves[host]; ok {
		if kept := element.Value.(*placed).leaf; now.Before(kept.until) {
			s.order.MoveToFront(element)
			s.mu.Unlock()
			return kept.certificate, nil
		}
	}
	if f, ok := s.flights[host]; ok {
		s.mu.Unlock()
		<-f.done // it is a signature away
		return f.result()
	}
	if !s.bucket.take(now) {
		s.mu.Unlock()
		return nil, ErrBusy
	}
	f := &flight{done: make(chan struct{})}
	s.flights[host] = f
	s.mu.Unlock()

	f.leaf, f.err = sign()

	s.mu.Lock()
	delete(s.flights, host)
	if f.err == nil {
		s.put(host, f.leaf)
	}
	s.mu.Unlock()
	close(f.done)
	return f.result()
}

func (f *flight) result() (*tls.Certificate, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.leaf.certificate, nil
}

// put places a leaf in front, in place of an older one for the same host or of
// the one that was not used for the longest time.
func (s *shelf) put(host policy.Host, l *leaf) {
	if element, ok := s.leaves[host]; ok {
		element.Value.(*placed).leaf = l
		s.order.MoveToFront(element)
		return
	}
	s.leaves[host] = s.order.PushFront(&placed{host: host, leaf: l})
	if s.order.Len() > s.limit {
		last := s.order.Remove(s.order.Back()).(*placed)
		delete(s.leaves, last.host)
	}
}

// size is the number of leaves that are kept.
func (s *shelf) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order.Len()
}
